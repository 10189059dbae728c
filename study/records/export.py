"""What export writes: export.json of each ONNX file, and portability.json of the conformance run."""

from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from study.records.base import AtLeastOne, Count, Environment, NotNegative, Parity, Record, Seed, Sha256, Share
from study.records.compact import RemovedUnits, SparseTensor
from study.variants import STANDARD, Variant


class ExportRecord(Record, tag_field="schema", tag="export/2", omit_defaults=True):
    """One exported ONNX file and the proof that it computes the same as PyTorch."""

    model: str
    seed: Seed
    onnx_sha256: Sha256
    """SHA-256 of the ONNX file; where it differs, the export is stale."""
    checkpoint_sha256: Sha256
    """SHA-256 of the checkpoint it was made from; where it differs, the export is stale."""
    opset: AtLeastOne
    """Read back from the file."""
    ir_version: AtLeastOne
    bytes: AtLeastOne
    parity: Parity
    """The probabilities of PyTorch against those of ONNX Runtime, over the first test images: all 10,000, or of a large
    network as many as PyTorch computes with 20 billion multiply-accumulates, at least 256. For an int8 variant it is
    the cost of the quantisation: the file before it is proven, and at most 5 % of the classes may differ after it."""
    test_error_onnxruntime: Share | None
    """Error in ONNX Runtime on the 10,000 test images; null where they need more than 50 billion multiply-accumulates,
    unless quantised."""
    environment: Environment
    variant: Variant = STANDARD
    """What was asked of `python -m export`; not in the file of the standard variant."""
    same: Parity | None = None
    """The file before dead units were removed or zeros stored sparsely against that after, on the images of the proof:
    they may differ by 1e-6. Null for other variants."""
    removed: tuple[RemovedUnits, ...] = ()
    """Units of each layer before and after `--remove-dead`."""
    sparse: tuple[SparseTensor, ...] = ()
    """The weights that `--sparse` looked at."""

    def __post_init__(self) -> None:
        if self.variant == STANDARD:
            force_setattr(self, "variant", STANDARD)  # defaults are omitted by identity


class RuntimeRecord(Record):
    """One runtime of the conformance run."""

    name: str
    """As `--runtimes` takes it."""
    title: str
    version: str | None
    largest_difference: NotNegative
    """Largest difference that it is allowed."""
    because: str | None
    """Why, where that is more than 1e-5."""
    reason: str | None
    """Why it could not be run here; null if it could."""


class CellRecord(Record):
    """One runtime with one ONNX file at one batch size."""

    runtime: str
    model: str
    variant: str
    """Variant of the export, such as "int8-static"; "standard" for the standard one."""
    seed: Seed
    """Seed of the first finished run of the model."""
    onnx_sha256: Sha256
    batch: AtLeastOne
    """Images a call; the last call takes what remains."""
    verdict: Literal["passed", "failed", "not run", "not compared"]
    """not run: not installed, not there, or interrupted."""
    shape: tuple[Count, ...] | None
    """Shape of the result; null where none can be read."""
    finite: bool | None
    """Whether the result is finite; null where there is none or it has another shape."""
    row_sum_error: NotNegative | None
    """Largest difference of a row's sum from 1; null also where the result is not finite, as are the next two."""
    max_abs_difference: NotNegative | None
    """Largest difference from PyTorch's probabilities; of an int8 variant from ONNX Runtime's."""
    argmax_mismatches: Count | None
    """Images of another class; of an int8 variant one in a hundred may be."""
    allowed: NotNegative
    """The larger one of what the runtime and the model's entry in the catalogue are allowed; 0.05 of int8 variants."""
    seconds: NotNegative | None
    """Time of the whole process: start, loading (with ncnn converting, with C++ not compiling) and all batches."""
    reason: str | None
    """Why it failed or was not run, in one line."""


class PortabilityRecord(Record, tag_field="schema", tag="portability/3"):
    """The programs of docs/portability.md, run on the exported models."""

    environment: Environment
    images: AtLeastOne
    """Test images, the first ones."""
    batches: Annotated[tuple[AtLeastOne, ...], Meta(min_length=1)]
    """Images a call."""
    runtimes: tuple[RuntimeRecord, ...]
    cells: tuple[CellRecord, ...]
    """One for each runtime, model, variant and batch."""
