"""What is packed: an exported model or module, and all that pack.json says of it but its tensors. No torch here."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from msgspec.structs import replace

from export.pack.files import DATA, MODEL, opened
from study.artifacts import Artifacts, RunFiles, current_export
from study.entry import Entry
from study.environment import environment
from study.errors import StudyError
from study.modules.files import current_module, module_files, refuse_changed
from study.parity import CALLS
from study.record_files import read_record
from study.records.module import ModuleRecord
from study.records.pack import PackedOutput, PackRecord
from study.records.training import RunRecord

IMAGES = 64
"""Test images of a pack, the first ones."""


@dataclass(frozen=True)
class Packed:
    """An exported ONNX file that is to be packed."""

    entry: Entry
    source: RunFiles | ModuleRecord
    onnx: Path
    data: Path | None
    """The weights beside it."""
    record: PackRecord
    """Of its files it has the ONNX file and the weights alone."""

    def is_in(self, folder: Path) -> bool:
        """Whether the folder is the pack that would be made now."""
        try:
            record = opened(folder)
        except (StudyError, OSError):
            return False
        exported = {path: digest for path, digest in record.files.items() if path in (MODEL, DATA)}
        return replace(record, files=exported, environment=self.record.environment) == self.record


def trained(entry: Entry, files: RunFiles) -> Packed:
    """The standard export of a run.

    Raises:
        StudyError: it is missing or stale.
    """
    exported = current_export(files)
    run = read_record(files.record, RunRecord, f"run `python -m train {entry.name}`")
    inputs, outputs = _names(files.onnx)
    record = PackRecord(
        model=entry.name,
        expected=f"the probabilities of PyTorch, from checkpoint.pt of seed {files.seed}",
        weights_sha256=exported.checkpoint_sha256,
        seed=files.seed,
        given=f"the first {IMAGES} test images of {run.dataset.name}, in 0..1: each pixel / 255",
        dataset=run.dataset,
        images=IMAGES,
        inputs=inputs,
        outputs=tuple(PackedOutput(name=name, limit_abs=entry.largest_difference, limit_rel=0.0) for name in outputs),
        files={MODEL: exported.onnx_sha256},
        environment=environment(),
    )
    return Packed(entry, files, files.onnx, None, record)


def module(entry: Entry, artifacts: Artifacts) -> Packed:
    """The export of a torch module.

    Raises:
        StudyError: it is missing, or its code, its weights or its file have changed.
    """
    files = module_files(artifacts, entry.name)
    exported = current_module(files)
    refuse_changed(files, exported)
    inputs, _ = _names(files.onnx)
    weights = "its file of weights" if exported.weights else f"the weights it makes itself, of seed {exported.seed}"
    batches = ", ".join(map(str, exported.batches))
    record = PackRecord(
        model=entry.name,
        expected=f"the outputs of the torch module {Path(exported.factory).name} with {weights}",
        weights_sha256=exported.weights_sha256,
        seed=exported.seed,
        given=f"seeded, for {' '.join(exported.inputs)}: {CALLS} calls of each batch size ({batches})",
        dataset=None,
        images=None,
        inputs=inputs,
        outputs=tuple(
            PackedOutput(name=one.name, limit_abs=one.limit_abs, limit_rel=one.limit_rel) for one in exported.parity
        ),
        files={MODEL: exported.onnx_sha256} | ({DATA: exported.data_sha256} if exported.data_sha256 else {}),
        environment=environment(),
    )
    return Packed(entry, exported, files.onnx, files.data if exported.data_sha256 else None, record)


def _names(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the inputs and of the outputs of a file of ours, which has no weights among its inputs."""
    graph = onnx.load(path, load_external_data=False).graph
    return tuple(value.name for value in graph.input), tuple(value.name for value in graph.output)
