"""Which model runs where, as a page: the matrix, the sentences it needs and its picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.inputs.portability import FAILED, NOT_RUN, PASSED, Portability
from analysis.pages.markup import render
from analysis.plots import portability as portability_plots
from analysis.plots.beside import draw_beside
from analysis.tables.columns import write_frame
from analysis.tables.portability import MOST_COLUMNS, cells, matrix, squares
from study.environment import describe
from study.files import write_text
from study.pictures import drawn


@dataclass(frozen=True)
class Outcome:
    """Runs that have not passed in a runtime for one reason: their names by their batch sizes."""

    verdict: str
    title: str
    reason: str
    runs: dict[tuple[int, ...], list[str]]


def outcomes(portability: Portability) -> Iterator[Outcome]:
    """Group the cells that have not passed; those of a runtime that was not run at all have its reason already."""
    absent = {runtime.name for runtime in portability.runtimes if runtime.reason is not None}
    groups: dict[tuple[str, str, str], dict[str, list[int]]] = {}
    for verdict in (NOT_RUN, FAILED):
        for cell in portability.cells:
            record = cell.record
            if record.verdict == verdict and (verdict == FAILED or record.runtime not in absent):
                batches = groups.setdefault((verdict, cell.runtime.title, record.reason or "no reason given"), {})
                batches.setdefault(f"{cell.model} (seed {record.seed})", []).append(record.batch)
    for group, sizes_of_runs in groups.items():
        runs: dict[tuple[int, ...], list[str]] = {}
        for run, sizes in sizes_of_runs.items():
            runs.setdefault(tuple(dict.fromkeys(sizes)), []).append(run)
        yield Outcome(*group, runs)


def values(portability: Portability) -> dict[str, object]:
    """The values of portability.j2; `matrix` is None if nothing has been tried."""
    verdicts = [square.verdict for square in squares(cells(portability)).values()]
    wider = [
        (cell.model, cell.record.allowed)
        for cell in portability.cells
        if cell.record.allowed > cell.runtime.largest_difference
    ]
    return {
        "portability": portability,
        "matrix": matrix(cells(portability)) if portability.cells else None,
        "counts": {verdict: verdicts.count(verdict) for verdict in (PASSED, FAILED, NOT_RUN)},
        "stale": sorted({cell.model for cell in portability.cells if not cell.current}),
        "outcomes": list(outcomes(portability)),
        "quantised": list(dict.fromkeys(cell.model for cell in portability.cells if cell.quantised)),
        "wider": list(dict.fromkeys(wider)),
        "tried_on": str(describe(portability.environment)),
    }


def page(portability: Portability, picture: str) -> str:
    """The matrix as Markdown with its sentences and the picture, whose path is given; nothing in it is markup."""
    return render("portability.md.j2", "md", picture=picture, **values(portability))


def write(portability: Portability, folder: Path) -> Iterator[Path]:
    """Write portability.csv, the page and the picture into `folder`, yielding each file once it is there."""
    table = write_frame(folder / "portability.csv", cells(portability))
    yield table
    write_text(table.with_suffix(".md"), page(portability, "portability.png"))
    yield table.with_suffix(".md")
    yield from draw_beside(table, _draw, small=True)


def svg(portability: Portability) -> bytes:
    """The picture for a page."""
    return drawn(lambda: _draw(cells(portability)), [".svg"])[".svg"]


def _draw(table: pd.DataFrame) -> Figure:
    return portability_plots.matrix(squares(table), MOST_COLUMNS)
