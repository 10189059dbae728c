"""What the removal of dead units and sparse storage write: a file beside the new one, and a part of export.json."""

from study.records.base import AtLeastOne, Count, Environment, NotNegative, Record, Sha256
from study.variants import Variant


class RemovedUnits(Record):
    """The units of one layer: outputs of a fully-connected one, channels of a convolution."""

    layer: str
    before: Count
    after: Count
    constant: Count
    """Removed because all weights that lead to them are zero; their constants are in the biases behind them."""
    unused: Count
    """Removed because all weights that lead away from them are zero."""


class SparseTensor(Record):
    """One weight that is stored as its nonzero values and their positions."""

    tensor: str
    elements: Count
    nonzero: Count
    dense_bytes: Count
    sparse_bytes: Count
    """Values, and an int64 for the position of each."""


class CompactRecord(Record, tag_field="schema", tag="compact/2"):
    """An ONNX file made from another one that computes the same, or, quantised, nearly the same."""

    source: str
    """Name of the file that it was made from."""
    source_sha256: Sha256
    onnx_sha256: Sha256
    """SHA-256 of the file; where it differs, this record is not about it."""
    variant: Variant
    """What was asked for: `remove_dead`, `sparse`, `int8`."""
    source_bytes: AtLeastOne
    bytes: AtLeastOne
    removed: tuple[RemovedUnits, ...]
    sparse: tuple[SparseTensor, ...]
    calls: Count
    """Seeded inputs on which both files were run in ONNX Runtime."""
    max_rel_difference: NotNegative
    """Largest difference of an output / its largest magnitude."""
    environment: Environment
    notes: tuple[str, ...] = ()
    """What a reader must know of it: what was asked for and did not apply, outputs that prove little."""
