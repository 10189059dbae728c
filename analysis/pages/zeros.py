"""What the zeros are worth, in words: the table `zeros` as sentences for each model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.inputs.forms import DENSE, Subject
from analysis.pages.markup import render
from analysis.tables.headline import WITHHELD
from analysis.tables.zeros import CSR, ranks_shown, shown


@dataclass(frozen=True)
class Answer:
    """One model: its dense file, and the other forms as rows of the table."""

    model: str
    command: str
    dense: Any
    measured: tuple[Any, ...]
    """Those with a valid ratio of times."""
    withheld: tuple[str, ...]
    """Those whose ratio is not valid."""
    unmeasured: tuple[str, ...]
    smallest: Any
    """The row of the smallest file, compressed where that is known."""
    dead: float | None
    """Share of the zeros that lie in rows and columns of zeros alone."""


def answers(subjects: Iterable[Subject], table: pd.DataFrame, ranks: pd.DataFrame) -> Iterator[Answer]:
    """One for each model that has fully-connected weights, all finite."""
    for subject in subjects:
        rows: list[Any] = list(table[table["model"] == subject.model].itertuples(index=False))
        dense, *others = rows
        if pd.isna(dense.exact_zeros):
            continue
        there = [row for row in others if not pd.isna(row.ratio)]
        yield Answer(
            model=subject.model,
            command=subject.command,
            dense=dense,
            measured=tuple(row for row in there if row.latency_verdict != WITHHELD),
            withheld=tuple(row.form for row in there if row.latency_verdict == WITHHELD),
            unmeasured=tuple(row.form for row in others if pd.isna(row.ratio)),
            smallest=min((row for row in rows if not pd.isna(row.bytes)), key=_size),
            dead=_in_dead(
                ranks[(ranks["model"] == subject.model) & (ranks["seed"].isna() | (ranks["seed"] == subject.seed))]
            ),
        )


def _size(row: Any) -> float:
    return float(row.bytes if pd.isna(row.zstd_bytes) else row.zstd_bytes)


def _in_dead(layers: pd.DataFrame) -> float | None:
    zeros = layers["exact_zeros"] * layers["out_features"] * layers["in_features"]
    return float((zeros * layers["zeros_in_dead"].fillna(0)).sum() / zeros.sum()) if zeros.sum() else None


def values(found: Sequence[Answer], table: pd.DataFrame) -> Mapping[str, object]:
    """The values of zeros.j2, with the answers that were found in the table."""
    return {
        "answers": found,
        "dense_form": DENSE,
        "csr": CSR,
        "uncompressed": bool(len(table)) and table["zstd_bytes"].isna().all(),
    }


def as_text(subjects: list[Subject], table: pd.DataFrame, ranks: pd.DataFrame) -> str:
    """Both tables and the sentences, as plain text."""
    made = {"zeros": shown(table).to_dict("records"), "ranks": ranks_shown(ranks).to_dict("records")}
    sentences = render("zeros.j2", "txt", **values(list(answers(subjects, table, ranks)), table)).splitlines()
    return "\n".join([render("zeros.txt.j2", "txt", **made), *sentences]) + "\n"
