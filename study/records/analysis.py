"""What the analysis writes as JSON: pruning.json of each run, tables, and the layers of any ONNX file."""

from typing import Annotated, Literal

from msgspec import Meta

from study.records.base import AtLeastOne, Count, Environment, NotNegative, Record, Scalar, Seed, Sha256, Share

Noise = Literal["uniform", "normal", "Laplace"]
Role = Literal["fc", "conv-as-fc", "pointwise", "recurrent"]


class ImagesUsed(Record):
    """The images that the cut is chosen on."""

    part: Literal["train"]
    first: Count
    count: AtLeastOne


class PruningPoint(Record):
    """One share of the weights that was set to zero."""

    share: Share
    """Share of the weights, rounded down to whole weights."""
    threshold: NotNegative
    """The largest magnitude among them."""
    error: Share
    """Error on these images."""


class PruningTest(Record):
    """The chosen network on the test images."""

    images: AtLeastOne
    error: Share
    uncut_error: Share
    """Error of the file as it is."""


class PruningRecord(Record, tag_field="schema", tag="pruning/2"):
    """How many fully-connected weights of one ONNX file can be pruned."""

    model: str
    seed: Seed
    onnx_sha256: Sha256
    """SHA-256 of the ONNX file; where it differs, or one of the next two keys, the file is measured again."""
    loss_allowed: Share
    """Loss of accuracy, as a fraction of the images."""
    images: ImagesUsed
    weights: AtLeastOne
    uncut_error: Share
    """Error of the file as it is, on these images."""
    curve: Annotated[tuple[PruningPoint, ...], Meta(min_length=1)]
    """Each share that was tried, ascending."""
    cut: PruningPoint
    """The chosen one: the largest share that costs no more than allowed."""
    test: PruningTest
    """The chosen one on the test images."""
    environment: Environment


class TableRecord(Record, tag_field="schema", tag="table/2"):
    """A table, as its CSV file of the same name has it."""

    table: str
    rows: tuple[dict[str, Scalar], ...]
    """The rows; null where the CSV file is empty."""


class NoiseRecord(Record):
    """What a measure gives for random weights."""

    value: float
    deviation: NotNegative


class MeasureRecord(Record):
    """One measure of one layer."""

    measure: str
    """Name with its parameters, such as pqi(p=1,q=2)."""
    name: str
    parameters: dict[str, float]
    value: float | None
    reason: str
    """Why it is undefined; empty if it is not."""
    bound: NotNegative
    """Half the width of the interval that the true value lies in."""
    noise: dict[Noise, NoiseRecord]
    """The value for as many random weights, by their distribution."""
    not_distinguishable_from: tuple[Noise, ...]
    """The distributions within two standard deviations of which the value lies."""


class ProofRecord(Record):
    """Whether ONNX Runtime computes the layer with the weights that were read."""

    verified: bool | None
    """null where it could not be tried."""
    error: float | None
    reason: str
    """Why it is not verified; empty if it is."""
    inputs_seen: Count
    """Inputs of the layer whose weights were compared."""


class LayerRecord(Record, omit_defaults=True):
    """One fully-connected layer."""

    layer: str
    """Name, unique in the file."""
    node: str
    """The node, behind the calls and branches that it is in."""
    operator: str
    tensor: str
    form: str
    """How the weight was found."""
    role: Role
    """Kind of layer."""
    out_features: Count
    in_features: Count
    dtype: str
    """Type that the weight is stored as."""
    tied_to: str | None
    """The first layer with the same weights, or null."""
    measures: tuple[MeasureRecord, ...]
    facts: dict[str, int | float | None] | None = None
    """Weight statistics by name; only with `--facts`."""
    verified: ProofRecord | None = None
    """Only with `--verify`."""


class SkippedNode(Record):
    """A node that might be taken for a fully-connected layer."""

    node: str
    operator: str
    reason: str


class OnnxFileRecord(Record):
    """One ONNX file."""

    model: str
    """Name of the file, or its path where two are called alike."""
    path: str
    fc_layers: Count
    fc_weights: Count
    """Their weights, those of tied layers counted once."""
    fc_exact_zeros: float | None
    """Share of them that is exactly zero; null where one is not finite."""
    layers: tuple[LayerRecord, ...]
    """In the order of the nodes."""
    skipped: tuple[SkippedNode, ...]
    """What might be taken for a layer."""


class SparsityRecord(Record, tag_field="schema", tag="sparsity/1"):
    """Standard output of `python -m analysis sparsity --format json`."""

    files: tuple[OnnxFileRecord, ...]
    """One for each file that could be read."""
