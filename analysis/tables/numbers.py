"""Numbers as people read them, and tables of text as Markdown and LaTeX."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
RUNTIMES = {
    **{"torch": "torch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"},
    **{"opencv": "OpenCV", "reference": "onnx.reference"},
}
"""Runtimes as they call themselves."""

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


def number(value: Any, form: str, scale: float = 1, unit: str = "") -> str:
    """`value * scale` in the format `form`, with a true minus sign, or a dash where there is none."""
    if value is None or pd.isna(value):
        return MISSING
    return format(value * scale, form).replace("-", MINUS) + unit


def interval(value: float, low: float, high: float, form: str, scale: float = 1, unit: str = "") -> str:
    """A value, with its unit, and its interval or range behind it: "7.34 (7.28 to 7.40)"; or a dash."""
    if pd.isna(value):
        return MISSING
    return f"{number(value, form, scale, unit)} ({number(low, form, scale)} to {number(high, form, scale)})"


def runtime(name: str, device: str = "cpu") -> str:
    """A runtime by its own name, and its device where that is not the CPU."""
    return RUNTIMES.get(name, name) + ("" if device == "cpu" else f" on {device}")


def threads(n: int) -> str:
    return f"{n} thread{'' if n == 1 else 's'}"


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
