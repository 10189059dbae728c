"""One page about every entry of the catalogue that has runs: published figures and ours, sizes, latencies.

    python -m analysis results                      docs/results.md, and pictures with their CSV in docs/results/
    python -m analysis results --artifacts DIR --output FILE.md
    python -m analysis results --bench A.json,B.json    latency from these files (every bench*.json among the artifacts)

The same inputs give the same bytes. Needs no torch.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from study.command_line import Parser

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from analysis.inputs.entries import Results

OUTPUT = Path("docs/results.md")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m analysis results",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="Models of your own, of a --catalogue, are not on this page: see `python -m analysis --help`.",
        allow_abbrev=False,
    )
    parser.add_argument("--artifacts", metavar="DIR", type=Path, default=Path("artifacts"), help="default: artifacts")
    parser.add_argument(
        "--output", metavar="FILE.md", type=Path, default=OUTPUT, help=f"default: {OUTPUT}; pictures lie beside it"
    )
    parser.add_argument(
        "--bench",
        metavar="A.json,B.json",
        default="",
        help="files that `pytest bench` wrote (default: every bench*.json among the artifacts)",
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Write the page; `words` are the command line's unless given."""
    options = arguments(sys.argv[1:] if words is None else words)

    from analysis.inputs.entries import read_results
    from analysis.inputs.files import existing
    from study import locks
    from study.artifacts import Artifacts
    from study.errors import StudyError, escaped

    if options.output.suffix != ".md":
        raise StudyError(f"--output: expected a name that ends in .md, found {str(options.output)!r}")
    benches = existing([Path(name) for name in options.bench.split(",") if name])
    artifacts = Artifacts(options.artifacts)
    results = read_results(artifacts, benches or sorted(artifacts.root.glob("bench*.json")))
    for note in results.notes:
        print(f"note: {escaped(note)}", file=sys.stderr)
    with locks.folder_held(options.output.with_suffix("")):
        for path in write(results, options.output):
            print(f"wrote {path}")
    return 0


def write(results: "Results", output: Path) -> Iterator[Path]:
    """Write the page and, into the folder of its name, tables and pictures, yielding each file once it is there."""
    from analysis.pages.results import page
    from analysis.plots import results as results_plots
    from analysis.plots import search as search_plots
    from analysis.plots import training as history_plots
    from analysis.plots.beside import draw_beside
    from analysis.tables import results as results_tables
    from analysis.tables import search as search_tables
    from analysis.tables.columns import write_frame
    from analysis.tables.training import history as histories_of
    from study.catalogue import DEFAULT_STUDY
    from study.files import write_text

    folder = output.with_suffix("")

    def drawn(
        name: str, frame: "pd.DataFrame", draw: "Callable[[pd.DataFrame], Figure]", form: str | None = None
    ) -> Iterator[Path]:
        table = write_frame(folder / f"{name}.csv", frame, form)
        yield table
        yield from draw_beside(table, draw, [".png"], small=True)

    frames = results_tables.all_tables(results)
    for name, frame in frames.items():
        yield write_frame(folder / f"{name}.csv", frame)
    yield from drawn("accuracy", results_tables.accuracy(results), results_plots.accuracy)
    for study, entries in results.studies().items():
        if study != DEFAULT_STUDY:  # whose histories are in its report
            history = histories_of(run for entry in entries for run in entry.runs)
            yield from drawn(f"history-{study}", history, partial(history_plots.histories, shared=True), "%.4g")
    if results.searches:
        yield from drawn("search", search_tables.trials(results.searches), search_plots.search)
        yield from drawn("importance", search_tables.importance(results.searches), search_plots.importance)
    write_text(output, page(results, frames, folder.name))
    yield output
