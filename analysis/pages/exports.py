"""The variants of an export as a page: a table, and sentences below it."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from analysis.pages.markup import render
from analysis.tables.columns import write_frame
from analysis.tables.exports import shown
from study.files import write_text


def page(table: pd.DataFrame) -> str:
    """The table `variants` as Markdown with its sentences; nothing in it is markup."""
    return render("exports.md.j2", "md", variants=shown(table), all_rows=list(table.itertuples(index=False)))


def write(table: pd.DataFrame, folder: Path) -> Iterator[Path]:
    """Write variants.csv and variants.md into `folder`, yielding each file once it is there."""
    yield write_frame(folder / "variants.csv", table)
    write_text(folder / "variants.md", page(table))
    yield folder / "variants.md"
