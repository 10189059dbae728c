"""How sparse the fully-connected layers of any ONNX file are, from the file alone.

    python -m analysis sparsity model.onnx                          a table on standard output
    python -m analysis sparsity a.onnx b.onnx --format csv          or json, for programs
    python -m analysis sparsity model.onnx --measure all --facts    every measure, and dead rows, 2:4 groups and so on
    python -m analysis sparsity model.onnx --verify                 prove the matrices with ONNX Runtime
    python -m analysis sparsity model.onnx --pictures DIR           bars, and a histogram of each layer

A file that cannot be read is named on standard error and the others are told of; the exit code is then 2. It is 1 if a
matrix was shown to be wrong.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import StudyError, exit_with, tell, to_nobody

if TYPE_CHECKING:
    from analysis.facts import Facts
    from analysis.measures import Measure, Value
    from analysis.weights.equation import Proof
    from analysis.weights.layers import Layer, Weights

FORMATS = ("table", "csv", "json")


@dataclass(frozen=True)
class Described:
    """A layer and what was found of it; `values` are of the measures asked for, in their order."""

    layer: "Layer"
    values: "list[Value]"
    facts: "Facts | None"
    proof: "Proof | None"


@dataclass(frozen=True)
class DescribedFile:
    """An ONNX file by the name it is called in tables, its layers and what else it has."""

    model: str
    path: Path
    weights: "Weights"
    layers: list[Described]


def joined(words: Sequence[str]) -> list[str]:
    """The words of a command line with those of --measure behind a sign of equality, since some begin with a dash."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == "--measure":
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m analysis sparsity",
        description=(__doc__ or "").partition("\n\n")[0],
        allow_abbrev=False,
        epilog="Weights in other files are read from the model's own folder, unless --allow-root names another.",
    )
    parser.add_argument("files", metavar="FILE.onnx", type=Path, nargs="+", help="any ONNX model")
    parser.add_argument(
        "--measure",
        metavar="A,B",
        default="",
        help="besides Hoyer, Gini, PQI(1,2) and exact zeros: names such as kappa4 or pq-mean(p=0.5,q=2), or all",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="on standard output (table)")
    parser.add_argument("--facts", action="store_true", help="near-zero shares, dead rows, 2:4 groups, odd numbers")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run the model in ONNX Runtime to prove each matrix; for files that you would run",
    )
    parser.add_argument(
        "--shape", metavar="NAME=1,3,224,224", action="append", default=[], help="of an input, for --verify"
    )
    parser.add_argument("--pointwise", action="store_true", help="take 1x1 convolutions for layers too")
    parser.add_argument("--allow-root", metavar="DIR", type=Path, help="weights may lie behind links, below DIR")
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="write pictures and their CSV files there")
    return parser.parse_args(joined(words))


def main(words: Sequence[str] | None = None) -> int:
    """Tell of each file once it is read; `words` are the command line's unless given."""
    options = arguments(sys.argv[1:] if words is None else words)

    from analysis.measures import chosen
    from analysis.sparsity_output import OUTPUT
    from study.inputs import parse_shapes

    measures = chosen(options.measure)
    shapes = parse_shapes(options.shape)
    if shapes and not options.verify:
        raise StudyError("--shape is for --verify, which runs the model; give both")
    if options.allow_root is not None and not options.allow_root.is_dir():
        raise StudyError(f"--allow-root: expected a folder, found {str(options.allow_root)!r}")
    output = OUTPUT[options.format]
    found: list[DescribedFile] = []
    mistakes = 0
    try:
        for name, path in _named(options.files):
            try:
                file, mistake = describe(name, path, measures, options, shapes)
            except (StudyError, OSError) as error:
                tell(error)
                mistakes += 1
                continue
            mistakes += mistake
            found.append(file)
            say(output.each(file, measures, len(found)))
    except KeyboardInterrupt:
        print("interrupted: the files that were read are told of", file=sys.stderr)
        say(output.end(found, measures))
        return 130
    say(output.end(found, measures))
    if found and options.pictures:
        from analysis.sparsity_pictures import draw

        for path in draw(found, measures, options.pictures):
            print(f"wrote {path}", file=sys.stderr)
    wrong = any(layer.proof and layer.proof.verified is False for file in found for layer in file.layers)
    return 2 if mistakes else 1 if wrong else 0


def say(lines: Iterable[str]) -> None:
    """Print lines; if nobody reads them any more (`... | head`), there is still the exit code to give."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        to_nobody()


def describe(
    model: str,
    path: Path,
    measures: "Sequence[Measure]",
    options: argparse.Namespace,
    shapes: dict[str, tuple[int, ...]],
) -> tuple[DescribedFile, bool]:
    """Read the file and find out what `options` ask for; what tied layers share is looked at once.

    Returns:
        What was found, and whether `shapes` do not fit the file's inputs, which is then told on standard error.

    Raises:
        StudyError: as `analysis.weights.layers.read`.
    """
    from analysis.facts import facts
    from analysis.measures import evaluate
    from analysis.progress import Progress
    from analysis.weights.layers import read

    weights = read(path, allow_root=options.allow_root, pointwise=options.pointwise)
    proofs: Sequence[Proof | None] = [None] * len(weights.layers)
    mistake = False
    if options.verify and weights.layers:
        from analysis.weights.verify import verify

        try:
            proofs = verify(path, weights.layers, shapes)
        except StudyError as error:
            tell(StudyError(f"{path}: {error}"))
            mistake = True
    distinct = {layer.weight.key: layer for layer in reversed(weights.layers)}
    turned = {(layer.weight.key, layer.weight.transposed): layer for layer in reversed(weights.layers)}
    passes = sum(layer.weight.size for layer in distinct.values())
    passes += 3 * sum(layer.weight.size for layer in turned.values()) if options.facts else 0
    with Progress(path.name, passes) as progress:
        values = {
            key: evaluate(measures, progress.watched(layer.weight.blocks(), layer.name))
            for key, layer in reversed(distinct.items())
        }
        other = {
            key: facts(layer.weight, progress.watched(layer.weight.blocks(), f"{layer.name} again"))
            for key, layer in reversed([*turned.items()] if options.facts else [])
        }
    layers = [
        Described(layer, values[layer.weight.key], other.get((layer.weight.key, layer.weight.transposed)), proof)
        for layer, proof in zip(weights.layers, proofs, strict=True)
    ]
    return DescribedFile(model, path, weights, layers), mistake


def _named(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Each file once, with its name, or its path where two are called alike."""
    once = list({path.absolute(): path for path in paths}.values())
    names = [path.name for path in once]
    for path in once:
        yield (path.name if names.count(path.name) == 1 else str(path)), path


if __name__ == "__main__":
    exit_with(main)
