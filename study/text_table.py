"""Tables of plain text, fitted to the width of the terminal."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from study.errors import escaped

GAP = "  "
NARROWEST = 16
"""Minimum width of a column of text that is wrapped."""


def terminal_width() -> int | None:
    """Characters in a line of standard output; None where it is no terminal: a file or another program takes all."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def text_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool], width: int | None = None
) -> str:
    """A table with no line longer than `width`.

    A table that is too wide is narrowed in three steps: headings wrap; the widest columns of text wrap; the columns
    that still do not fit follow in a table of their own, which begins with the same columns of text, the names of the
    rows, as far as these take half the width.

    Args:
        left: whether a column is text, which is aligned left; numbers are aligned right and never wrap, so a number
            wider than `width` exceeds it.
        width: None for no limit.
    """
    columns = [[heading, *(escaped(row[n]) for row in rows)] for n, heading in enumerate(headings)]
    widths = [max(map(len, column)) for column in columns]
    if width is None:
        return _lines(columns, widths, left)
    of_cells = [max(map(len, [*heading.split(), *cells]), default=0) for heading, *cells in columns]
    _narrow(widths, of_cells, width)
    _narrow(widths, [min(NARROWEST, each) if text else each for each, text in zip(of_cells, left, strict=True)], width)
    return "\n\n".join(
        _lines([columns[n] for n in part], [widths[n] for n in part], [left[n] for n in part])
        for part in _parts(widths, left, width)
    )


def _narrow(widths: list[int], least: Sequence[int], width: int) -> None:
    """Narrow the columns, first those with most to spare, until they fit or each is as narrow as `least` says."""
    for n in sorted(range(len(widths)), key=lambda n: least[n] - widths[n]):
        widths[n] -= max(0, min(widths[n] - least[n], _total(widths) - width))


def _parts(widths: Sequence[int], left: Sequence[bool], width: int) -> Iterator[list[int]]:
    """The numbers of the columns of each table, the columns that name a row in all of them."""
    names = [0]
    for n in range(1, len(widths)):
        if not left[n] or _total([widths[each] for each in (*names, n)]) > width // 2:
            break
        names.append(n)
    part = list(names)
    for n in range(len(names), len(widths)):
        if len(part) > len(names) and _total([widths[each] for each in (*part, n)]) > width:
            yield part
            part = list(names)
        part.append(n)
    yield part


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _lines(columns: Sequence[Sequence[str]], widths: Sequence[int], left: Sequence[bool]) -> str:
    rows = [list(cells) for cells in zip(*columns, strict=True)]
    lines = list(_wrapped(rows[0], widths, left))
    lines.append(GAP.join("-" * width for width in widths))
    for row in rows[1:]:
        lines += _wrapped(row, widths, left)
    return "\n".join(lines)


def _wrapped(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> Iterator[str]:
    """The lines of one row."""
    parts = [
        [cell] if len(cell) <= width else textwrap.wrap(cell, width, break_on_hyphens=False)
        for cell, width in zip(cells, widths, strict=True)
    ]
    for n in range(max(map(len, parts))):
        words = [part[n] if n < len(part) else "" for part in parts]
        yield GAP.join(
            f"{word:{'<' if is_text else '>'}{width}}" for word, width, is_text in zip(words, widths, left, strict=True)
        ).rstrip()
