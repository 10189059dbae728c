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
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import StudyError, exit_with, tell, to_nobody

if TYPE_CHECKING:
    from analysis.inputs.onnx_file import DescribedFile
    from analysis.measures.sparsity import Measure

FORMATS = ("table", "csv", "json")


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

    from analysis.inputs.onnx_file import describe, named
    from analysis.measures.sparsity import chosen
    from analysis.pages.sparsity import OUTPUT
    from study.onnx_inputs import parse_shapes

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
        for name, path in named(options.files):
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


def draw(files: "Sequence[DescribedFile]", measures: "Sequence[Measure]", folder: Path) -> Iterator[Path]:
    """Draw bars and histograms into `folder`, each from the CSV of its name, there as JSON too; yields each file."""

    from functools import partial

    from analysis.measures.noise import references
    from analysis.pages.sparsity import COLUMNS, rows
    from analysis.plots import histogram as histogram_plots
    from analysis.plots import sparsity as weight_plots
    from analysis.plots import style as plots
    from analysis.tables.columns import read, write_as_json
    from analysis.tables.sparsity import HISTOGRAM, histogram_rows
    from study.artifacts import write_bytes, write_csv

    names = {str(measure) for measure in measures}
    bars = (row for row in rows(files, measures) if row["measure"] in names)
    layers = [({"model": file.model, "seed": None}, found.layer) for file in files for found in file.layers]
    models = [file.model for file in files]
    for name, columns, content, picture in (
        ("sparsity", COLUMNS, bars, partial(weight_plots.sparsity, models=models, references=references(measures))),
        ("weights_histogram", [column.key for column in HISTOGRAM], histogram_rows(layers), histogram_plots.histograms),
    ):
        table = folder / f"{name}.csv"
        write_csv(table, columns, content)
        yield table
        frame = read(table)
        write_as_json(table.with_suffix(".json"), frame)
        yield table.with_suffix(".json")
        drawn = plots.drawn(partial(picture, frame))
        for suffix, data in drawn.items():
            write_bytes(folder / f"{name}{suffix}", data)
            yield folder / f"{name}{suffix}"


if __name__ == "__main__":
    exit_with(main)
