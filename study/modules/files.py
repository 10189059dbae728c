"""The files of a torch module's export: `modules/NAME/` among the artifacts. No torch here."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from study.artifacts import DEFAULT_ROOT, Artifacts
from study.errors import StudyError
from study.files import sha256, verify
from study.record_files import read_record
from study.records.module import ModuleRecord


@dataclass(frozen=True)
class ModuleFiles:
    """The folder of one module, by its name."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def data(self) -> Path:
        """The weights of a large model, which lie beside it."""
        return self.folder / "model.onnx.data"

    @property
    def card(self) -> Path:
        return self.folder / "model.md"

    @property
    def record(self) -> Path:
        return self.folder / "module.json"


def module_files(artifacts: Artifacts, name: str) -> ModuleFiles:
    return ModuleFiles(artifacts.root / "modules" / name)


def exported_modules(artifacts: Artifacts) -> list[ModuleFiles]:
    """Those that have been exported, by name."""
    return [ModuleFiles(path.parent) for path in sorted((artifacts.root / "modules").glob("*/module.json"))]


def current_module(files: ModuleFiles) -> ModuleRecord:
    """The content of module.json, once the ONNX file is the one that it describes.

    Raises:
        StudyError: the module has not been exported, or the ONNX file is missing or another one; the message names
            the file and what to run.
    """
    if not os.path.lexists(files.record):
        command = f"python -m export {shlex.quote(files.name)} --catalogue FILE"
        raise StudyError(f"{files.name} has not been exported ({files.record} is missing); run `{command}`")
    remedy = f"export {files.name} again"
    record = read_record(files.record, ModuleRecord, remedy)
    for path, digest in ((files.onnx, record.onnx_sha256), (files.data, record.data_sha256)):
        if digest is not None:
            verify(path, digest, files.record.name, remedy)
    return record


def changed(record: ModuleRecord) -> tuple[list[str], list[str]]:
    """The files of a module's code and weights that have changed since its export, and those that are missing here."""
    known = dict(record.sources)
    if record.weights and record.weights_sha256:
        known[record.weights] = record.weights_sha256
    there = {path: digest for path, digest in known.items() if Path(path).is_file()}
    return [path for path, digest in there.items() if sha256(Path(path)) != digest], sorted(known.keys() - there)


def refuse_changed(files: ModuleFiles, record: ModuleRecord) -> None:
    """
    Raises:
        StudyError: a file of a module's code or weights has changed since its export; one that is missing may be that
            of another machine.
    """
    others, _ = changed(record)
    if others:
        root = files.folder.parent.parent
        options = [] if root == DEFAULT_ROOT else [f"--artifacts={root}"]
        command = shlex.join(["python", "-m", "export", record.name, *options])
        raise StudyError(f"{others[0]} has changed since {record.name} was exported; run `{command}` again")
