"""A column of a table: its key in the CSV file, what it holds, and how a page shows it.

A tuple of columns is a table: the order of its CSV file, its headings and formats on a page, and its rows in
docs/formats.md.
"""

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.tables.numbers import MISSING, number, runtime, spread
from study.files import csv_cell, csv_value, read_plain, write_text
from study.record_files import write_record
from study.records.analysis import TableRecord


@dataclass(frozen=True)
class Column:
    """One column; a number is shown as `value * scale` in the format `form`, with its `unit` behind it."""

    key: str
    """In the CSV file, which has raw numbers in SI units at full precision."""
    meaning: str = ""
    """What it holds, unless the key says it."""
    heading: str = ""
    """On a page, which leaves out a column without a heading."""
    form: str = ""
    """Of a number; empty for text."""
    scale: float = 1
    unit: str = ""
    deviation: str = ""
    """Key of the column whose value is shown behind a ±."""
    bounds: tuple[str, ...] = ()
    """Keys of the ends of its interval or range, shown behind it in brackets."""
    valid: str = ""
    """Key of a column; where that is not true the value is marked with †."""
    cell: Callable[[Any], str] | None = None
    """Text of a row, where one value and its format do not make it."""
    setting: bool = False
    """On a page only where rows differ in it; otherwise `common_settings` has it."""
    whole: bool = False
    """Whole numbers, some of which may be missing."""

    def text(self, row: Any) -> str:
        """The cell of `row`, whose attributes are the keys."""
        if self.cell:
            return self.cell(row)
        value = getattr(row, self.key)
        if pd.isna(value):
            return MISSING
        if not self.form:
            return str(value)
        text = number(value, self.form, self.scale, self.unit)
        if self.bounds:
            low, high = (getattr(row, key) for key in self.bounds)
            text += spread(low, high, self.form, self.scale)
        if self.deviation and not pd.isna(deviation := getattr(row, self.deviation)):
            text += f" ± {number(deviation, self.form.lstrip('+'), self.scale)}"
        return text if not self.valid or getattr(row, self.valid) is True else f"{text} †"


def plain(*keys: str) -> tuple[Column, ...]:
    """Columns of the CSV file alone, whose keys say what they hold."""
    return tuple(map(Column, keys))


def ends(low: str, high: str, what: str = "95 % interval") -> tuple[Column, Column]:
    """The columns of the ends of an interval or range, behind that of its value."""
    return Column(low, f"lower end of its {what}"), Column(high, "upper end")


OVER_PROCESSES = "95 % interval over the processes"


def over_processes(
    bounds: tuple[str, str], key: str, meaning: str, heading: str, form: str, scale: float = 1, unit: str = ""
) -> tuple[Column, Column, Column]:
    """The column of an estimate, shown with its interval over the processes, and those of the ends, `bounds`."""
    return Column(key, meaning, heading, form, scale, unit, bounds=bounds), *ends(*bounds, OVER_PROCESSES)


MODEL = Column("model", heading="model")
SEED = Column("seed", "empty for a module, and for a file given with --onnx", "seed", whole=True, setting=True)
RUNTIME = Column("runtime", heading="runtime", cell=lambda row: runtime(row.runtime))
BATCH = Column("batch", "items a call, such as images", "batch")
THREADS = Column("threads", "intra-op threads", "threads", setting=True)
MODE = Column("mode", heading="mode", setting=True)
DEVICE = Column("device", heading="device", setting=True)
VALID = Column("valid", heading="valid", cell=lambda row: "yes" if row.valid else "NO")
FILE = Column("file", "name of the bench.json", "file", setting=True)


def frame(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Rows as a frame of just these columns; what a row lacks is missing there, an empty field in the CSV file."""
    keys = [column.key for column in columns]
    if isinstance(rows, pd.DataFrame):
        made = rows[keys].copy()
    else:  # the cells alone: the rows of 100,000 measurements have much else
        made = pd.DataFrame([[row.get(key, math.nan) for key in keys] for row in rows], columns=keys)
    whole = [column.key for column in columns if column.whole]
    return made.astype({key: "Int64" for key in whole if made[key].isna().any()})


def text(columns: Sequence[Column], frame: pd.DataFrame, most: int | None = None) -> pd.DataFrame:
    """A frame as people read it: a column of text for each one with a heading, of its first `most` rows.

    Settings that all rows of the frame share are left out, and columns that are empty in every row shown.
    """
    common = common_settings(columns, frame)
    shown = [column for column in columns if column.heading and column.key not in common]
    rows = [[column.text(row) for column in shown] for row in frame[:most].itertuples(index=False)]
    made = pd.DataFrame(rows, columns=[column.heading for column in shown])
    return made.loc[:, ~made.isin([MISSING, ""]).all()] if rows else made


def common_settings(columns: Sequence[Column], frame: pd.DataFrame) -> dict[str, str]:
    """The settings that are the same in all rows."""
    settings = [column.key for column in columns if column.setting and frame[column.key].nunique(dropna=False) == 1]
    return {key: str(frame[key].iloc[0]) for key in settings if not pd.isna(frame[key].iloc[0])}


NAMES = (
    *("model", "layer", "module", "operator", "output", "runtime", "reference"),
    *("label_name", "predicted_name", "parameter", "file"),
)
"""Columns of names, which may look like numbers: torch calls the layers of a `Sequential` 0, 1 and so on."""
OWN_WORDS = ["measure"]
"""Columns whose texts are of this project, such as -lp(p=0.3), and never a name in a file."""


def as_csv(frame: pd.DataFrame, form: str | None = None) -> str:
    """A frame as CSV, with numbers at full precision or in the format `form`."""
    text = frame.select_dtypes(["object", "string"]).columns.difference(OWN_WORDS)
    cells = frame.assign(**{key: frame[key].map(csv_cell) for key in text})
    return str(cells.to_csv(index=False, lineterminator="\n", float_format=form))


def write_frame(path: Path, frame: pd.DataFrame, form: str | None = None) -> Path:
    """Write a frame as CSV; returns the path."""
    write_text(path, as_csv(frame, form))
    return path


def write_as_json(path: Path, frame: pd.DataFrame) -> None:
    """Write `frame` as JSON (`table/2`): the rows of the CSV file of its name, null where that is empty."""
    values = frame.astype(object).where(frame.notna(), None)
    rows = tuple(dict(zip(frame.columns, row, strict=True)) for row in values.itertuples(index=False))
    write_record(path, TableRecord(table=path.stem, rows=rows))


def read(path: Path) -> pd.DataFrame:
    """A CSV file of a report as it was written: only an empty field is missing (not, say, a model called NA)."""
    types = dict.fromkeys(NAMES, str)
    made = pd.read_csv(io.BytesIO(read_plain(path)), keep_default_na=False, na_values=[""], dtype=types)
    return made.assign(**{key: made[key].map(csv_value) for key in made.select_dtypes(["object", "string"]).columns})
