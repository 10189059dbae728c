"""One torch module that was exported and not trained here, read from its files and checked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis.weights.layers import Layer, read
from study.modules.files import ModuleFiles, changed, current_module
from study.records.module import ModuleRecord


@dataclass(frozen=True)
class Module:
    """The proof of its export, and its fully-connected layers."""

    files: ModuleFiles
    record: ModuleRecord
    layers: tuple[Layer, ...]

    @property
    def model(self) -> str:
        """Its name, as tables have it."""
        return self.files.name

    @property
    def seed(self) -> None:
        """That of a training, which it has none of."""
        return

    @property
    def onnx_sha256(self) -> str:
        return self.record.onnx_sha256


def read_module(files: ModuleFiles) -> Module:
    """The module in this folder.

    Raises:
        StudyError: a file is missing, damaged or another one.
    """
    record = current_module(files)
    return Module(files, record, tuple(read(files.onnx).layers))


def remarks(modules: Iterable[Module]) -> Iterator[str]:
    """What a reader must know first, such as that weights are random: once for all modules that it is true of."""
    named: dict[str, list[str]] = {}
    for module in modules:
        for note in (*module.record.notes, *since_export(module.record)):
            named.setdefault(note, []).append(module.model)
    return (f"{', '.join(names)}: {note}" for note, names in named.items())


def since_export(record: ModuleRecord) -> Iterator[str]:
    """A note for each file of a module's code and weights that is another one now, or that this machine lacks."""
    others, missing = changed(record)
    for path in others:
        yield f"{Path(path).name} has changed since the export, which is of the file as it was"
    for path in missing:
        yield f"{Path(path).name} is missing here, so that nothing tells whether it has changed since the export"
