"""Sparsity of the fully-connected layers of any ONNX file, from the file alone.

    python -m analysis sparsity model.onnx                          a table on standard output
    python -m analysis sparsity a.onnx b.onnx --format csv          or json, for programs
    python -m analysis sparsity model.onnx --measure all --facts    every measure, and dead rows, 2:4 groups and so on
    python -m analysis sparsity model.onnx --verify                 verify the matrices with ONNX Runtime
    python -m analysis sparsity model.onnx --pictures DIR           bars, and a histogram of each layer
    python -m analysis sparsity resnet18                            a model or module that has been exported

A file that cannot be read is an error on standard error, and the others are reported; the exit code is then 2. It is 1
if ONNX Runtime computes with another matrix than was read.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.artifacts import DEFAULT_ROOT, Artifacts
from study.command_line import Parser
from study.errors import BROKEN_PIPE, StudyError, discard_output, exit_with, print_error
from study.modules.exported import onnx_file

if TYPE_CHECKING:
    from analysis.inputs.onnx_file import DescribedFile
    from analysis.measures.sparsity import Measure

FORMATS = ("table", "csv", "json")


def joined(words: Sequence[str]) -> list[str]:
    """The words of a command line with --measure and its value joined by "=", because a value may begin with a dash."""
    result: list[str] = []
    for word in words:
        if result and result[-1] == "--measure":
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m analysis sparsity",
        description=(__doc__ or "").partition("\n\n")[0],
        allow_abbrev=False,
        epilog="Weights in other files are read from the model's own folder, or from below --allow-root DIR.",
    )
    parser.add_argument(
        "files", metavar="FILE.onnx", type=Path, nargs="+", help="any ONNX model, or the name of an exported one"
    )
    parser.add_argument(
        "--measure",
        metavar="A,B",
        default="",
        help="in addition to Hoyer, Gini, PQI(1,2) and exact zeros: names such as kappa4 or pq-mean(p=0.5,q=2), or all",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="on standard output (table)")
    parser.add_argument(
        "--facts",
        action="store_true",
        help="near-zero shares, dead rows and columns, 2:4 groups, subnormal and non-finite weights",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="verify each matrix by running its layer in ONNX Runtime; only for files that you trust",
    )
    checked = "of an input; --verify needs none, but checks that it fits the model"
    parser.add_argument("--shape", metavar="NAME=N,M", action="append", default=[], help=f"shape {checked}")
    parser.add_argument("--input", metavar="NAME=VALUE", action="append", default=[], help=f"value or range {checked}")
    parser.add_argument(
        "--feed", metavar="FILE.npz", action="append", default=[], type=Path, help=f"the array {checked}"
    )
    parser.add_argument(
        "--size", metavar="NAME=N", action="append", default=[], help="size of a named dimension, likewise"
    )
    parser.add_argument("--pointwise", action="store_true", help="1x1 convolutions are layers too")
    parser.add_argument("--recurrent", action="store_true", help="the gates of LSTM, GRU and RNN are layers too")
    parser.add_argument("--allow-root", metavar="DIR", type=Path, help="allow links to weights anywhere below DIR")
    parser.add_argument(
        "--artifacts", metavar="DIR", type=Path, default=DEFAULT_ROOT, help="of the names (%(default)s)"
    )
    parser.add_argument("--pictures", metavar="DIR", type=Path, help="write pictures and their CSV files there")
    return parser.parse_args(joined(words))


def main(words: Sequence[str] | None = None) -> int:
    """Print what each file has once it is read; `words` are the command line's unless given."""
    options = arguments(sys.argv[1:] if words is None else words)

    from analysis.inputs.onnx_file import describe, named
    from analysis.measures.sparsity import chosen
    from analysis.pages.sparsity import as_csv, as_json, as_table
    from study.onnx_given import parse_given

    measures = chosen(options.measure)
    given = parse_given(options.shape, options.input, options.feed, options.size)
    for option in ("shape", "input", "feed", "size"):
        if getattr(options, option) and not options.verify:
            raise StudyError(f"--{option} is for --verify; give both")
    if options.allow_root is not None and not options.allow_root.is_dir():
        raise StudyError(f"--allow-root: expected a folder, found {str(options.allow_root)!r}")
    as_text = {"table": as_table, "csv": as_csv}.get(options.format)
    how = {name: getattr(options, name) for name in ("facts", "allow_root", "pointwise", "recurrent")}
    described: list[DescribedFile] = []
    mistakes, interrupted, unread = 0, False, 0
    try:
        files = []
        for word in options.files:
            try:
                files.append((word, onnx_file(word, Artifacts(options.artifacts))))
            except StudyError as error:
                print_error(error)
                mistakes += 1
        for name, path in named(files):
            try:
                file, mistake = describe(name, path, measures, given=given if options.verify else None, **how)
            except (StudyError, OSError) as error:
                print_error(error)
                mistakes += 1
                continue
            mistakes += mistake
            described.append(file)
            if as_text:
                unread |= show(as_text(file, measures, len(described) == 1))
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted: only the files that were read are reported", file=sys.stderr)
    if not as_text:
        unread |= show(as_json(described, measures))
    if interrupted:
        return 130
    if described and options.pictures:
        for path in draw(described, measures, options.pictures):
            print(f"wrote {path}", file=sys.stderr)
    wrong = any(layer.proof and layer.proof.verified is False for file in described for layer in file.layers)
    return 2 if mistakes else 1 if wrong else unread


def show(text: str) -> int:
    """Print text. If nobody reads it any more (`... | head`), the pictures are drawn nevertheless, and the exit code of
    that is returned, else 0."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        discard_output()
        return BROKEN_PIPE
    return 0


def draw(files: "Sequence[DescribedFile]", measures: "Sequence[Measure]", folder: Path) -> Iterator[Path]:
    """Draw bars and histograms into `folder`, each from the CSV of its name, there as JSON too; yields each file."""

    from functools import partial

    from analysis.measures.noise import references
    from analysis.pages.sparsity import COLUMNS, hoyer, rows
    from analysis.plots import histogram as histogram_plots
    from analysis.plots import sparsity as weight_plots
    from analysis.plots.beside import draw_beside
    from analysis.tables.columns import read, write_as_json
    from analysis.tables.sparsity import HISTOGRAM, histogram_rows
    from study.files import write_csv

    names = {str(measure) for measure in measures}
    bars = (row for row in rows(files, measures) if row["measure"] in names)
    layers = [({"model": file.model, "seed": None}, found.layer) for file in files for found in file.layers]
    models = [file.model for file in files]
    sparse = {(file.model, one.layer.name): hoyer(one) for file in files for one in file.layers}
    histograms = partial(histogram_plots.histograms, hoyer=sparse)
    for name, columns, content, picture in (
        ("sparsity", COLUMNS, bars, partial(weight_plots.sparsity, models=models, references=references(measures))),
        ("weights_histogram", [column.key for column in HISTOGRAM], histogram_rows(layers), histograms),
    ):
        table = folder / f"{name}.csv"
        write_csv(table, columns, content)
        yield table
        write_as_json(table.with_suffix(".json"), read(table))
        yield table.with_suffix(".json")
        yield from draw_beside(table, picture)


if __name__ == "__main__":
    exit_with(main)
