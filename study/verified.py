"""Checkpoints and modules whose bytes are those that their records describe; each file is hashed once a process."""

from functools import cache
from pathlib import Path

from study.artifacts import RunFiles
from study.files import sha256, verify
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
    return _checkpoint(files, *_stamps(files.record, files.checkpoint))


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


def _stamps(*paths: Path) -> list[tuple[int, int]]:
    """Sizes and times of those files that are there."""
    return [(stat.st_size, stat.st_mtime_ns) for path in paths if path.is_file() and (stat := path.stat())]


@cache
def _checkpoint(files: RunFiles, *stamps: tuple[int, int]) -> Path:
    remedy = remedy_for(files)
    record = read_record(files.record, RunRecord, remedy)
    verify(files.checkpoint, record.checkpoint_sha256, files.record.name, remedy)
    return files.checkpoint


def verified_module(files: ModuleFiles) -> ModuleRecord:
    """The record of a module whose ONNX file and weights are those that it describes. It does not import torch.

    Raises:
        StudyError: as `study.modules.files.current_module`.
    """
    return _module(files, *_stamps(files.record, files.onnx, files.data))


@cache
def _module(files: ModuleFiles, *stamps: tuple[int, int]) -> ModuleRecord:
    return current_module(files)
