"""Which model runs where: the cells as a table, and the matrix that people read."""

from typing import Any

import pandas as pd
from msgspec.structs import asdict

from analysis.inputs.portability import FAILED, NOT_RUN, PASSED, Portability, Square
from analysis.tables.columns import Column, frame, plain

CELLS = (
    Column("runtime"),
    Column("title", "of the runtime, for people"),
    *plain("version", "model", "seed", "onnx_sha256"),
    Column("current", "False where no ONNX file of a run has that SHA-256 any more"),
    Column("batch", "images a call"),
    Column("verdict", "passed, failed or not run"),
    Column("shape", "of the output, as in `256x10`"),
    Column("finite", "whether all numbers are"),
    Column("row_sum_error", "largest distance of an image's sum from 1"),
    Column("max_abs_difference", "from PyTorch's probabilities"),
    Column("argmax_mismatches", "images of another class", whole=True),
    Column("allowed", "difference"),
    Column("seconds", "of the whole process"),
    Column("reason", "why it failed or was not run"),
)
MOST_COLUMNS = 8
"""Models that have a column each; of more each has a row, and the runtimes have the columns."""


def cells(portability: Portability) -> pd.DataFrame:
    """One row a cell."""
    rows = [
        {
            **asdict(cell.record),
            "title": cell.runtime.title,
            "version": cell.runtime.version,
            "model": cell.model,
            "current": cell.current,
            "shape": None if cell.record.shape is None else "x".join(map(str, cell.record.shape)),
        }
        for cell in portability.cells
    ]
    return frame(CELLS, rows)


def squares(table: pd.DataFrame) -> dict[tuple[str, str], Square]:
    """From `cells`, by title of the runtime and model, in the order of the table.

    A runtime and a model fail if any cell of theirs does, and pass if all do.
    """
    pairs: dict[tuple[str, str], list[Any]] = {}
    for row in table.itertuples(index=False):
        pairs.setdefault((str(row.title), str(row.model)), []).append(row)
    return {pair: _square(rows) for pair, rows in pairs.items()}


def _square(rows: list[Any]) -> Square:
    verdicts = {row.verdict for row in rows}
    verdict = next(verdict for verdict in (FAILED, NOT_RUN, PASSED) if verdict in verdicts)
    differences = [row.max_abs_difference for row in rows if not pd.isna(row.max_abs_difference)]
    why = next((_why(row) for row in rows if row.verdict == FAILED), "")
    return Square(verdict, max(differences, default=None), why, all(row.current for row in rows))


def _why(cell: Any) -> str:
    """What the numbers of a cell that failed say; its reason says more."""
    if pd.isna(cell.shape):
        return "no result"
    if pd.isna(cell.finite):
        return "wrong shape"
    if not cell.finite:
        return "not finite"
    if pd.isna(cell.max_abs_difference) or pd.isna(cell.argmax_mismatches):
        return "no result"
    if cell.argmax_mismatches:
        return f"{int(cell.argmax_mismatches)} classes differ"
    return f"{cell.max_abs_difference:.1e}" if cell.max_abs_difference > cell.allowed else "sums are not 1"


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """`squares` as text: a row a runtime and a column a model, or the other way round where there are many models."""
    all_squares = squares(table)
    titles, models = (list(dict.fromkeys(names)) for names in zip(*all_squares, strict=True))

    def text(title: str, model: str) -> str:
        return all_squares[title, model].text if (title, model) in all_squares else NOT_RUN

    if len(models) <= MOST_COLUMNS:
        rows = [[title, *(text(title, model) for model in models)] for title in titles]
        return pd.DataFrame(rows, columns=["runtime", *models])
    rows = [[model, *(text(title, model) for title in titles)] for model in models]
    return pd.DataFrame(rows, columns=["model", *titles])
