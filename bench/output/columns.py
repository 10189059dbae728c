"""Columns of the tables at the terminal that several tables have."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.keys import model_name
from bench.output.units import decimals
from study.records.base import Interval
from study.records.measurement import CaseKey, Measurement


@dataclass(frozen=True)
class Column:
    """One column of a table. It is left out where all its cells are empty, and named above where all are the same."""

    heading: str
    cells: Sequence[str]
    left: bool = False
    same: bool = False
    """Whether it is named above the table if all its cells are the same."""
    spare: bool = False
    """Whether it is left out if the table is too wide."""

    @property
    def width(self) -> int:
        return max(map(len, (self.heading, *self.cells)))


def key_columns(keys: Sequence[CaseKey]) -> list[Column]:
    return [
        Column("model", [model_name(key) for key in keys], left=True),
        Column("runtime", [key.runtime for key in keys], left=True),
        Column("batch", [str(key.batch) for key in keys], same=True),
        Column("threads", [str(key.threads) for key in keys], same=True),
        Column("mode", [key.mode for key in keys], left=True, same=True),
        Column("device", [key.device for key in keys], left=True, same=True),
    ]


def interval_column(intervals: Sequence[Interval], size: float = 1.0) -> Column:
    digits = [decimals(interval.value / size) for interval in intervals]
    ends = [
        f"{interval.low / size:,.{n}f} to {interval.high / size:,.{n}f}"
        for n, interval in zip(digits, intervals, strict=True)
    ]
    return Column("95 % interval", ends)


def valid_column(records: Sequence[Measurement], numbers: dict[int, str]) -> Column:
    return Column("valid", ["yes" if each.valid else f"no: {numbers[id(each)]}" for each in records], left=True)
