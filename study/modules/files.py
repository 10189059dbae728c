"""The files of a torch module's export: `modules/NAME/` among the artifacts. No torch here."""

from dataclasses import dataclass
from pathlib import Path

from study.artifacts import Artifacts, read_record, sha256
from study.errors import StudyError
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
        StudyError: the ONNX file is missing or another one; the message names the file and what to run.
    """
    remedy = f"export {files.name} again"
    record = read_record(files.record, ModuleRecord, remedy)
    for path, digest in ((files.onnx, record.onnx_sha256), (files.data, record.data_sha256)):
        if digest is None:
            continue
        if not path.is_file():
            raise StudyError(f"{path} is missing; {remedy}")
        if sha256(path) != digest:
            raise StudyError(f"{path} is not the file that {files.record} describes; {remedy}")
    return record
