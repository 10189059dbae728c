"""Draw a table into pictures that lie beside it."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.tables.columns import read
from analysis.tables.pictured import MODELS
from study import pictures
from study.files import write_bytes


def of_first_models(draw: Callable[[pd.DataFrame], Figure], models: Sequence[str]) -> Callable[[pd.DataFrame], Figure]:
    """`draw` for the rows of the first `MODELS` models, those of `models` first; the legend says how many there are."""

    def drawn(frame: pd.DataFrame) -> Figure:
        there = set(frame["model"])
        ordered = [model for model in dict.fromkeys([*models, *frame["model"]]) if model in there]
        if len(ordered) <= MODELS:
            return draw(frame)
        figure = draw(frame[frame["model"].isin(ordered[:MODELS])])
        words = f"the first {MODELS} of {len(ordered):,} models; the table has all"
        for legend in figure.legends:  # which has room above its entries, unlike the figure's own title
            legend.set_title(words)
        return figure

    return drawn


def draw_beside(
    table: Path, draw: Callable[[pd.DataFrame], Figure], suffixes: Sequence[str] = pictures.FORMATS, small: bool = False
) -> Iterator[Path]:
    """Draw the CSV file `table` into pictures of its name, yielding each once it is there."""
    for suffix, content in pictures.drawn(partial(draw, read(table)), suffixes, small).items():
        write_bytes(table.with_suffix(suffix), content)
        yield table.with_suffix(suffix)
