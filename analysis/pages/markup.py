"""Tables of text as Markdown and LaTeX, and text in which nothing is markup."""

from collections.abc import Sequence

import pandas as pd

from analysis.tables.numbers import MINUS, MISSING, TIMES

TEXT = ("model", "verdict")
"""Columns that are aligned as text."""

LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    TIMES: r"$\times$",
    "µ": r"$\mu$",
    MINUS: r"$-$",
    "†": r"$\dagger$",
    MISSING: "--",
    "®": r"\textregistered{}",
    "™": r"\texttrademark{}",
}


def markdown(table: pd.DataFrame, sentences: Sequence[str], left: Sequence[str] = TEXT) -> str:
    """A Markdown table with the sentences below it; the columns `left` are aligned as text, the others as numbers."""
    cells = table.map(lambda text: text.replace("|", "\\|"))
    align = ["left" if column in left else "right" for column in table]
    grid = cells.to_markdown(index=False, disable_numparse=True, colalign=align)
    return "\n\n".join([grid, *sentences]) + "\n"


def latex(table: pd.DataFrame, sentences: Sequence[str]) -> str:
    r"""A LaTeX `table` with the sentences below it; the document needs booktabs and graphicx."""
    escaped = table.rename(columns=escape).map(escape)
    align = "".join("l" if column in TEXT else "r" for column in table)
    tabular = escaped.to_latex(index=False, escape=False, column_format=align).strip()
    notes = "\\\\\n".join(escape(sentence) for sentence in sentences)
    return (
        "% \\usepackage{booktabs,graphicx}\n"
        "\\begin{table}[htbp]\n\\centering\n\\resizebox{\\linewidth}{!}{%\n"
        f"{tabular}%\n}}\n\n\\smallskip\n\\parbox{{\\linewidth}}{{\\footnotesize\\raggedright\n{notes}}}\n\\end{{table}}\n"
    )


def escape(text: str) -> str:
    """`text` as LaTeX that sets just these characters."""
    return "".join(LATEX.get(character, character) for character in text)


def shown_as_is(text: str) -> str:
    """`text` as Markdown that shows just these characters, in one line, also in a cell of a table."""
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
    return "".join(entities.get(c, f"\\{c}" if c in "\\`*_[]~$" else c) for c in " ".join(text.split()))
