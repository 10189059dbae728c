"""The forms of one model whose latency and size say what its zeros are worth: dense, sparse, compact, quantised."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from analysis.inputs.modules import Module
from analysis.inputs.runs import Run
from analysis.inputs.study import Study
from study.artifacts import Artifacts
from study.errors import StudyError
from study.files import sha256
from study.onnx_data import beside
from study.onnx_graph import NO_MODEL, tensors
from study.record_files import read_record
from study.records.compact import CompactRecord, RemovedUnits
from study.variants import Variant

DENSE = "dense"


@dataclass(frozen=True)
class Form:
    """One ONNX file; `name` is "dense" or that of the variant."""

    name: str
    path: Path
    onnx_sha256: str
    removed: tuple[RemovedUnits, ...] = ()

    def files(self) -> Iterator[Path]:
        """The file, and those that its weights lie in.

        Raises:
            StudyError: it is no ONNX model, or a file is missing.
        """
        yield self.path
        try:
            model = onnx.load(self.path, format="protobuf", load_external_data=False)
        except DecodeError:
            raise StudyError(f"{self.path}: {NO_MODEL}") from None
        external = (one for tensor in tensors(model) for one in tensor.external_data if one.key == "location")
        yield from (beside(self.path, location).path for location in dict.fromkeys(one.value for one in external))


@dataclass(frozen=True)
class Subject:
    """A model and its forms, the dense one first."""

    model: str
    seed: int | None
    command: str
    """What `python -m bench zeros` takes to measure it."""
    forms: tuple[Form, ...]


def of_study(study: Study) -> list[Subject]:
    """The first exported run of each model, and each module, in the order of the models."""
    found: dict[str, Subject] = {}
    for one in study.files:
        if one.model not in found and one.layers:
            found[one.model] = _of_run(one) if isinstance(one, Run) else _of_module(one)
    return list(found.values())


def of_file(path: Path, artifacts: Artifacts) -> Subject:
    """An ONNX file with the forms that `python -m bench zeros` made of it.

    Raises:
        StudyError: a record of such a form is damaged.
    """
    dense = Form(DENSE, path, sha256(path))
    return Subject(path.stem, None, str(path), (dense, *_made_of(dense, artifacts.zeros(path.stem))))


def _of_run(run: Run) -> Subject:
    forms = [
        Form(DENSE if export is run.export else export.variant.name, files.onnx, export.onnx_sha256, export.removed)
        for export in run.exports
        if export is run.export or counts(export.variant)
        for files in [run.files.of(export.variant)]
    ]
    return Subject(run.model, run.seed, run.model, tuple(forms))


def _of_module(module: Module) -> Subject:
    dense = Form(DENSE, module.files.onnx, module.onnx_sha256)
    folder = Artifacts(module.files.folder.parent.parent).zeros(module.model)
    return Subject(module.model, None, module.model, (dense, *_made_of(dense, folder)))


def counts(variant: Variant) -> bool:
    """Whether a variant is one that zeros matter to: not, say, one of another opset alone."""
    return variant.remove_dead or variant.sparse or variant.int8 is not None


def _made_of(dense: Form, folder: Path) -> Iterator[Form]:
    """The files in `folder` that were made from this one, and are still those that their records describe."""
    for path in sorted(folder.glob("*.json")):
        record = read_record(path, CompactRecord, "delete it")
        target = path.with_suffix(".onnx")
        if record.source_sha256 != dense.onnx_sha256:
            continue
        if not target.is_file() or sha256(target) != record.onnx_sha256:
            raise StudyError(f"{path}: expected {target.name} as it describes it, found another; delete both")
        yield Form(record.variant.name, target, record.onnx_sha256, record.removed)
