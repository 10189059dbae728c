"""Tables and lists of the commands, in plain text or Markdown."""

from collections.abc import Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str, markdown: bool) -> str:
    """A table; `align` has an l or an r for each column."""
    from tabulate import tabulate  # imported here to keep --help fast

    if markdown:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    sides = ["left" if side == "l" else "right" for side in align]
    style = "pipe" if markdown else "simple"
    return tabulate(rows, headings, tablefmt=style, disable_numparse=True, colalign=sides if rows else None)


def lines(texts: Sequence[str], markdown: bool) -> str:
    """A line for each text, in Markdown an item of a list."""
    return "\n".join(f"- {text}" if markdown else text for text in texts)
