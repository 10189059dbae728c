"""What the export of a torch module writes: module.json."""

from typing import Annotated

from msgspec import Meta

from study.records.base import AtLeastOne, Count, Environment, NotNegative, Record, Sha256


class OutputParity(Record):
    """One output of a module: PyTorch against ONNX Runtime over all seeded inputs and batches."""

    name: str
    """Its name in the ONNX file: of a dictionary or dataclass its key, such as "logits"; of a tuple "output_0"."""
    dtype: str
    shape: tuple[int | str, ...]
    """With the names of the free dimensions."""
    values: Count
    """Number of values that were compared."""
    max_abs_difference: NotNegative
    """Of integers of over 16 bits and of booleans the share that differs."""
    max_rel_difference: NotNegative
    """The largest difference of an array / the largest magnitude of the same array; of decisions again the share."""
    limit_abs: NotNegative
    limit_rel: NotNegative
    """It holds where the difference is at most `limit_abs` + `limit_rel` * the largest magnitude of the array. Of
    decisions, integers and booleans, it is the share that may differ."""
    differing: Count = 0
    """Number of decisions that differ."""
    nan: Count = 0
    """Number of values that are NaN in both."""
    infinite: Count = 0
    """Number of values that are infinite in both."""


class ModuleRecord(Record, tag_field="schema", tag="module/2"):
    """A torch module of the user, its ONNX file, and the proof that both compute the same."""

    name: str
    factory: str
    """Where it comes from: "package.module:callable", or "PATH.py:callable" with an absolute path."""
    import_folder: str | None
    """The folder that the package was imported from; null for PATH.py, and for an installed package."""
    arguments: str
    """The arguments of the callable as JSON: a list or an object; "" for none."""
    inputs: Annotated[tuple[str, ...], Meta(min_length=1)]
    """In words, such as "ids=int64[batch,sequence]:0..30521"."""
    sizes: dict[str, AtLeastOne]
    """Sizes of the named dimensions other than the batch."""
    fixed: dict[str, AtLeastOne]
    """Named dimensions that the ONNX file has only at this size, the batch among them: torch's exporter fixes them."""
    by_position: bool
    """Whether the inputs are given to `forward` by position; else by name."""
    weights: str | None
    """The file of the weights, with an absolute path; null: as the callable makes them, after the seed."""
    weights_sha256: Sha256 | None
    seed: Count | None
    """Seed of torch's generator before the callable; null where the weights are from a file."""
    random: tuple[str, ...]
    """Parameters and buffers that another seed gives other values."""
    sources: dict[str, Sha256]
    """SHA-256 by path of the source file of the callable, and of what it imported from the same folder or below."""
    packages: dict[str, str]
    """Versions of the packages that the callable and the layers of its module are from."""
    tolerance: NotNegative | None
    """The limit that was asked for; null: that of the dtype."""
    parameters: Count
    """Trainable numbers of the torch module; tied ones once. The numbers in the constants of its ONNX file, which
    bench.json counts, may be fewer, since biases that are zero are left out, or more, with buffers."""
    weight_bytes: Count
    """Of all parameters and buffers."""
    onnx_sha256: Sha256
    data_sha256: Sha256 | None
    """SHA-256 of the weights beside the ONNX file; null where they are in it."""
    bytes: AtLeastOne
    """Of the ONNX file with its weights."""
    portable: bool
    """Whether its graph was edited for other runtimes (docs/portability.md), or is as torch's exporter writes it."""
    opset: AtLeastOne
    ir_version: AtLeastOne
    batches: tuple[AtLeastOne, ...]
    """Batch sizes of the proof."""
    input_seed: Count
    parity: Annotated[tuple[OutputParity, ...], Meta(min_length=1)]
    """One for each output, in their order."""
    notes: tuple[str, ...]
    """What a reader must know first: that the weights are random, that the module draws random numbers."""
    environment: Environment
