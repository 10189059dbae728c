"""Tables and lists of the commands, in plain text or Markdown."""

import html
from collections.abc import Sequence

from study.errors import escaped
from study.text_table import terminal_width, text_table


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str, markdown: bool) -> str:
    """A table; `align` has an l or an r for each column. In plain text it is as wide as the terminal at most."""
    if not markdown:
        return text_table(headings, rows, [side == "l" for side in align], terminal_width())
    from tabulate import tabulate  # imported here to keep --help fast

    rows = [[_markdown(cell).replace("|", "\\|") for cell in row] for row in rows]
    sides = ["left" if side == "l" else "right" for side in align]
    return tabulate(rows, headings, tablefmt="pipe", disable_numparse=True, colalign=sides if rows else None)


def lines(texts: Sequence[str], markdown: bool) -> str:
    """A line for each text, in Markdown an item of a list."""
    return "\n".join(f"- {_markdown(text)}" if markdown else escaped(text) for text in texts)


def _markdown(text: str) -> str:
    """A text in which nothing is HTML or controls a terminal."""
    return html.escape(escaped(text), quote=False)
