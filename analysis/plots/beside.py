"""Draw a table into pictures that lie beside it."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.tables.columns import read
from study import pictures
from study.artifacts import write_bytes


def draw_beside(
    table: Path, draw: Callable[[pd.DataFrame], Figure], suffixes: Sequence[str] = pictures.FORMATS, small: bool = False
) -> Iterator[Path]:
    """Draw the CSV file `table` into pictures of its name, yielding each once it is there."""
    for suffix, content in pictures.drawn(partial(draw, read(table)), suffixes, small).items():
        write_bytes(table.with_suffix(suffix), content)
        yield table.with_suffix(suffix)
