"""Checkpoints and modules whose bytes are those that their records describe; each file is hashed once a process."""

from functools import cache
from pathlib import Path

from study.artifacts import RunFiles
from study.errors import StudyError
from study.files import sha256
from study.modules.files import ModuleFiles, current_module
from study.record_files import read_record
from study.records.module import ModuleRecord
from study.records.training import RunRecord


def remedy_for(files: RunFiles) -> str:
    """The command that makes the files of a run again."""
    return f"run `python -m train {files.model} --seeds {files.seed} --fresh`"


def verified_checkpoint(files: RunFiles) -> Path:
    """The checkpoint of a finished run. It does not import torch.

    Raises:
        StudyError: the run is not finished, or the file is not the one its run.json describes.
    """
    remedy = remedy_for(files)
    if not files.record.is_file() or not files.checkpoint.is_file():
        read_record(files.record, RunRecord, remedy)
        raise StudyError(f"{files.checkpoint} is missing; {remedy}")
    stamps = [(stat.st_size, stat.st_mtime_ns) for stat in (files.record.stat(), files.checkpoint.stat())]
    expected, actual = _digests(files, *stamps)
    if actual != expected:
        raise StudyError(
            f"{files.checkpoint}: expected sha256 {expected[:16]}... as in run.json, found {actual[:16]}...; {remedy}"
        )
    return files.checkpoint


def damaged_file(files: RunFiles, record: RunRecord) -> Path | None:
    """The first file of a run that is missing, or is not the one that its run.json describes."""
    for path, digest in (
        (files.checkpoint, record.checkpoint_sha256),
        (files.history, record.history_sha256),
        (files.predictions, record.predictions_sha256),
    ):
        if not path.is_file() or sha256(path) != digest:
            return path
    return None


@cache
def _digests(files: RunFiles, *stamps: tuple[int, int]) -> tuple[str, str]:
    """The checkpoint's SHA-256 in run.json, and its own; of files of these sizes and times."""
    return read_record(files.record, RunRecord, remedy_for(files)).checkpoint_sha256, sha256(files.checkpoint)


def verified_module(files: ModuleFiles) -> ModuleRecord:
    """The record of a module whose ONNX file and weights are those that it describes. It does not import torch.

    Raises:
        StudyError: as `study.modules.files.current_module`.
    """
    paths = (files.record, files.onnx, files.data)
    stamps = [(stat.st_size, stat.st_mtime_ns) for path in paths if path.is_file() and (stat := path.stat())]
    return _module(files, *stamps)


@cache
def _module(files: ModuleFiles, *stamps: tuple[int, int]) -> ModuleRecord:
    return current_module(files)
