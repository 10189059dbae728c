"""Templates and tables: the one writer of Markdown, HTML, LaTeX and plain text.

The sentences of the pages are templates, `*.j2` in this folder: a sentence a line. A template is written once and
rendered in any form; the values put into it are escaped as that form needs, so that nothing in them is markup.
"""

import html
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jinja2
from markupsafe import Markup, escape
from tabulate import tabulate

from analysis.tables.numbers import MINUS, MISSING, TIMES, formula, interval, missing, number, runtime, threads
from study.errors import escaped
from study.text_table import terminal_width, text_table

if TYPE_CHECKING:
    import pandas as pd

Form = Literal["md", "html", "txt"]

LEFT = (
    *("model", "runtime", "variant", "verdict", "accuracy", "speed", "fails in", "recipe", "budget"),
    *(f"layers (out {TIMES} in)", "hyper-parameter", "best", "searched"),
    *("form", "layer", "type", "operator pattern", "verified", "fact", "SHA-256 of the ONNX file"),
    *("runtimes", "settings", "engine", "module", "output", "inputs"),
)
"""Columns of text, which are aligned left; numbers are aligned right."""

SIZE = re.compile(rb'<svg [^>]*?\bwidth="(\d+)[.\d]*pt" height="(\d+)[.\d]*pt"')
INTERVAL = re.compile(r"(.+?) (\([^() ]+ to [^() ]+\))(.*)")

LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    **{character: f"{{{character}}}" for character in "[]*"},  # first in a row they belong to the end of that before it
    "±": r"$\pm$",
    TIMES: r"$\times$",
    "µ": r"$\mu$",
    MINUS: r"$-$",
    "†": r"$\dagger$",
    MISSING: "--",
    "®": r"\textregistered{}",
    "™": r"\texttrademark{}",
}


def render(template: str, form: Form, **values: object) -> str:
    """Render a template of this folder with these values; several empty lines in a row become one.

    In HTML what stands between backticks, commands mostly, is shown as code.
    """
    text = environment(form).get_template(template).render(values)
    if form == "html":
        text = re.sub(r"`([^`<>\n]+)`", r"<code>\1</code>", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


@cache
def environment(form: Form) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=form != "txt",  # noqa: S701 (plain text has nothing to escape)
        finalize=as_markdown if form == "md" else _shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "interval": interval, "runtime": runtime, "threads": threads}
    made.filters["formula"] = formula
    made.filters |= {"table": _text_table if form == "txt" else _markdown_table, "prose": _prose}
    made.filters["items"] = partial(_wrapped, Markup("<li>{}</li>") if form == "html" else Markup("- {}"), Markup("\n"))
    made.filters["paragraphs"] = partial(_wrapped, Markup("{}"), Markup("\n\n"))
    made.filters |= {"apart": _apart, "base64": lambda content: b64encode(content).decode(), "size": _size}
    made.tests["missing"] = missing
    return made


def _shown(value: object) -> object:
    """`value`, in which no name can control the terminal or hide from the reader of a page."""
    if isinstance(value, Markup) or not isinstance(value, str | Path):
        return value
    return "\n".join(map(escaped, str(value).split("\n")))


def as_markdown(value: object) -> Markup:
    """`value` escaped, so that Markdown shows just these characters, in one line, also in a table cell."""
    if isinstance(value, Markup):
        return value
    line = html.escape(escaped(re.sub(r"\s+", " ", str(value))), quote=False).replace("|", "&#124;")
    return Markup(re.sub(r"[\\`*\[\]~$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line))  # noqa: S704 (just escaped)


def _prose(text: str) -> Markup:
    """A sentence as Markdown in which only `code` is markup."""
    parts = escaped(" ".join(text.split())).split("`")
    if len(parts) % 2 == 0:  # a name has a backtick: nothing is code
        return as_markdown(text)
    return Markup("`").join(Markup(part) if n % 2 else as_markdown(part) for n, part in enumerate(parts))  # noqa: S704


def _markdown_table(frame: "pd.DataFrame") -> Markup:
    """A frame of text as Markdown."""
    rows = [list(map(as_markdown, row)) for row in frame.itertuples(index=False)]
    return Markup(_grid(rows, list(map(as_markdown, frame.columns))))  # noqa: S704 (of escaped cells)


def _apart(cell: object) -> Markup:
    """A cell of an HTML table whose interval may stand below its value."""
    found = INTERVAL.fullmatch(str(cell))
    return Markup("<span>{}</span> <small>{}{}</small>").format(*found.groups()) if found else escape(cell)


def _size(svg: bytes) -> Markup:
    """Width and height of a picture as attributes: the place of one that is not loaded yet is kept free."""
    found = SIZE.search(svg[:1000])
    return Markup(' width="{}" height="{}"').format(*(part.decode() for part in found.groups())) if found else Markup()


def _text_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text, whose keys are the headings; nothing without a row."""
    if not rows:
        return ""
    headings = list(rows[0])
    return text_table(headings, [list(row.values()) for row in rows], [h in LEFT for h in headings], terminal_width())


def _grid(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> str:
    """A table in Markdown."""
    align = ["left" if heading in LEFT else "right" for heading in headings]
    return tabulate(rows, headings, tablefmt="pipe", colalign=align, disable_numparse=True)


def _wrapped(pattern: Markup, between: Markup, sentences: str) -> Markup:
    """The lines of `sentences`, each put into the pattern; empty ones are left out."""
    return between.join(pattern.format(line) for line in _lines(sentences))


def _lines(sentences: str) -> Iterable[str]:
    return (line for line in sentences.splitlines() if line.strip())


def latex(tables: "Sequence[pd.DataFrame]", sentences: str) -> str:
    r"""A LaTeX `table` of these, one below the other, and the sentences, one a line, as text behind it.

    The document needs booktabs, graphicx and siunitx. Columns of plain numbers are aligned at the decimal point. The
    sentences are no part of the float, which cannot be longer than a page.
    """
    tabulars = "\n\n\\medskip\n".join(map(_tabular, tables))
    notes = "\\par\n".join(map(as_latex, _lines(sentences)))
    return (
        "% \\usepackage{booktabs,graphicx,siunitx}\n"
        f"\\begin{{table}}[htbp]\n\\centering\n\\setlength{{\\tabcolsep}}{{4pt}}\n{tabulars}\n\\end{{table}}\n\n"
        f"{{\\footnotesize\\raggedright\\setlength{{\\parindent}}{{0pt}}\n{notes}\\par}}\n"
    )


def _tabular(table: "pd.DataFrame") -> str:
    """A table as wide as a line of text."""
    shown, align = table.copy(), []
    shown.columns = [as_latex(str(heading)) for heading in table]
    for heading, name in zip(table, shown.columns, strict=True):
        form = "" if heading in LEFT else _siunitx(list(table[heading]))
        if form:
            shown[name] = ["{--}" if text == MISSING else _plain(text) for text in table[heading]]
            shown = shown.rename(columns={name: f"{{{name}}}"})
        else:
            shown[name] = [as_latex(text) for text in table[heading]]
        align.append(form or ("l" if heading in LEFT else "r"))
    tabular = shown.to_latex(index=False, escape=False, column_format="".join(align)).strip()
    return f"\\resizebox{{\\linewidth}}{{!}}{{%\n{tabular}%\n}}"


def _siunitx(texts: Sequence[str]) -> str:
    """The type of a column whose cells are plain numbers or missing; empty for another one."""
    numbers = [_plain(text) for text in texts if text != MISSING]
    if not numbers or not all(re.fullmatch(r"[+-]?[0-9]+([.][0-9]+)?", number) for number in numbers):
        return ""
    parts = [number.lstrip("+-").partition(".") for number in numbers]
    whole, decimals = (max(len(part[k]) for part in parts) for k in (0, 2))
    sign = "+" if any(number[0] in "+-" for number in numbers) else ""
    form = f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
    return f"S[table-format={form}{',retain-explicit-plus' if sign else ''}]"


def _plain(text: str) -> str:
    """A number as LaTeX reads it: without thousands separators, and with a hyphen as its minus sign."""
    return text.replace(",", "").replace(MINUS, "-")


def as_latex(text: str) -> str:
    """`text` escaped, so that LaTeX prints just these characters; two hyphens of an option are no dash."""
    return re.sub(r"(-(?=-))|.", lambda one: "-{}" if one[1] else LATEX.get(one[0], one[0]), escaped(text), flags=re.S)
