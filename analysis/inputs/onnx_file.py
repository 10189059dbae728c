"""One ONNX file, read and measured as the options of `python -m analysis sparsity` ask for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.measures.layer import WeightStatistics, weight_statistics
from analysis.measures.sparsity import Measure, Value, evaluate
from analysis.weights.layers import Layer, Weights, read
from analysis.weights.progress import Progress
from analysis.weights.proof import Proof
from study.errors import StudyError, print_error
from study.onnx_given import Given


@dataclass(frozen=True)
class Described:
    """A layer with the values of the measures asked for, in their order."""

    layer: Layer
    values: list[Value]
    facts: WeightStatistics | None
    proof: Proof | None


@dataclass(frozen=True)
class DescribedFile:
    """An ONNX file by the name it is called in tables, its layers and what else it has."""

    model: str
    path: Path
    weights: Weights
    layers: list[Described]


def describe(
    model: str,
    path: Path,
    measures: Sequence[Measure],
    *,
    given: Given | None = None,
    facts: bool = False,
    allow_root: Path | None = None,
    pointwise: bool = False,
    recurrent: bool = False,
) -> tuple[DescribedFile, bool]:
    """Read the file and measure it; weights that layers share are measured once.

    Args:
        measures: those of the layers' values.
        given: what the user says of the model's inputs where the layers are to be verified, or None.
        facts: whether each layer's statistics are wanted too.
        allow_root, pointwise, recurrent: as in `analysis.weights.layers.read`.

    Returns:
        The file, and whether `given` does not fit its inputs: it is then reported on standard error, and the layers are
        not verified.

    Raises:
        StudyError: as `analysis.weights.layers.read`.
    """
    weights = read(path, allow_root=allow_root, pointwise=pointwise, recurrent=recurrent)
    proofs: Sequence[Proof | None] = [None] * len(weights.layers)
    mistake = False
    if given is not None:
        from analysis.weights.proof import verify

        try:
            proofs = verify(path, weights.layers, given)
        except StudyError as error:
            print_error(StudyError(f"{path}: {error}"))
            mistake = True
    distinct = {layer.weight.key: layer for layer in reversed(weights.layers)}
    turned = {(layer.weight.key, layer.weight.transposed): layer for layer in reversed(weights.layers)}
    passes = sum(layer.weight.size for layer in distinct.values())
    passes += 3 * sum(layer.weight.size for layer in turned.values()) if facts else 0
    with Progress(path.name, passes) as progress:
        values = {
            key: evaluate(measures, progress.counted(layer.weight.blocks(), layer.name), scale=layer.weight.scale)
            for key, layer in reversed(distinct.items())
        }
        other = {
            key: weight_statistics(layer.weight, progress.counted(layer.weight.blocks(), f"{layer.name} again"))
            for key, layer in reversed([*turned.items()] if facts else [])
        }
    layers = [
        Described(layer, values[layer.weight.key], other.get((layer.weight.key, layer.weight.transposed)), proof)
        for layer, proof in zip(weights.layers, proofs, strict=True)
    ]
    return DescribedFile(model, path, weights, layers), mistake


def named(files: Sequence[tuple[Path, Path]]) -> Iterator[tuple[str, Path]]:
    """Each file once, with its name, or its path where two are called alike.

    `files` are words of a command line, each with the path that it means: itself, or that of an exported model.
    """
    once = list({path.absolute(): (word, path) for word, path in files}.values())
    names = [word.name for word, _ in once]
    for word, path in once:
        yield (word.name if names.count(word.name) == 1 else str(path)), path
