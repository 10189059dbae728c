"""The variants of an export as a page: the table, and what must be said plainly below it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.pages.markup import markdown, shown_as_is
from analysis.pages.summary import DOUBTFUL
from analysis.tables.exports import NONE_OF, shown
from analysis.tables.headline import WITHHELD
from study.artifacts import write_text
from study.variants import STANDARD_NAME


def facts(table: pd.DataFrame) -> list[str]:
    """What must be said plainly below the table, a sentence each."""
    rows = [row for row in table.itertuples(index=False) if row.variant != STANDARD_NAME]
    if not rows:
        return []
    doubtful = any(row.latency_valid is False for row in table.itertuples(index=False))
    return [*_speed(rows), *_wrong(rows), *_method(rows), *([DOUBTFUL] if doubtful else [])]


WORDS = {
    "slower": "Not faster but slower than the standard form, with one image in ONNX Runtime",
    "not faster": "Not faster than the standard form, with one image in ONNX Runtime (no difference shown)",
    "faster": "Faster than the standard form, with one image in ONNX Runtime",
    WITHHELD: "Measured under conditions that make it invalid, so that nothing is said of the speed",
}


def _speed(rows: list[Any]) -> Iterator[str]:
    for verdict, words in WORDS.items():
        forms: dict[str, list[str]] = {}
        for row in rows:
            if row.latency_verdict == verdict:
                times = "" if verdict == WITHHELD else f" {row.ratio:.2f} times its time"
                forms.setdefault(row.variant, []).append(row.model + times)
        if forms:
            told = "; ".join(f"{form} ({', '.join(of)})" for form, of in forms.items())
            yield f"{words}: {told}."
    unmeasured = list(dict.fromkeys(row.variant for row in rows if pd.isna(row.latency_verdict)))
    if unmeasured:
        yield (
            f"Latency against the standard form is not measured of all models: {', '.join(unmeasured)}; run "
            f"`pytest bench --variants standard,{','.join(unmeasured)} --benchmark-json=FILE`."
        )


def _wrong(rows: list[Any]) -> Iterator[str]:
    """Where forms go wrong, and which of them nobody knows of."""
    for row in rows:
        if not pd.isna(row.fails_in) and not row.fails_in.startswith(NONE_OF):
            yield f"{row.model}, {row.variant} fails in {row.fails_in}: do not use it there."
    untried = list(dict.fromkeys(row.variant for row in rows if pd.isna(row.fails_in)))
    if untried:
        yield f"Whether runtimes other than ONNX Runtime compute them rightly has not been tried: {', '.join(untried)}."


def _method(rows: list[Any]) -> Iterator[str]:
    yield (
        "The difference is of the test errors in ONNX Runtime, against the standard form of the same run; its noise, "
        "twice the standard error at most, is reckoned from the number of images whose class differs."
    )
    if any(not pd.isna(row.ratio) for row in rows):
        yield (
            "Times are medians; the ratio is of the form's to the standard form's in the same file of measurements, "
            "with what the 95 % intervals of both, and the medians of each load of the model, leave open."
        )


def write(table: pd.DataFrame, folder: Path) -> Iterator[Path]:
    """Write the table into `folder`, for programs and for people, yielding each file once it is there."""
    write_text(folder / "variants.csv", table.to_csv(index=False, lineterminator="\n"))
    yield folder / "variants.csv"
    sentences = "\n".join(f"- {shown_as_is(sentence)}" for sentence in facts(table))
    cells = shown(table).map(shown_as_is)
    write_text(
        folder / "variants.md", markdown(cells, [sentences], ("model", "variant", "accuracy", "speed", "fails in"))
    )
    yield folder / "variants.md"
