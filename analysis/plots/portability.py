"""The picture of portability.csv: a square for each runtime and model, whose verdict is legible without colour."""

import textwrap
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from analysis.inputs.portability import FAILED, NOT_RUN, PASSED, Square
from study.pictures import WIDTH, Look

LOOKS: dict[str, Look] = {
    PASSED: {"facecolor": "#CDEBE1", "edgecolor": "#00704F", "linewidth": 0.8},
    FAILED: {"facecolor": "#9E3D00", "edgecolor": "black", "linewidth": 1.2},
    NOT_RUN: {"facecolor": "white", "edgecolor": "0.72", "linewidth": 0.8, "hatch": "////"},
}
"""Distinct in grey print too: light, dark and hatched."""
TEXTS: dict[str, Look] = {
    PASSED: {"color": "black"},
    FAILED: {"color": "white", "weight": "bold"},
    NOT_RUN: {"color": "0.25", "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}},
}
MARKS = {PASSED: "✓", FAILED: "✗ FAILED", NOT_RUN: "not run"}
STALE: Look = {"facecolor": "white", "linestyle": (0, (3, 2)), "linewidth": 1.4}
EDGES = {PASSED: "#00704F", FAILED: "#9E3D00"}
"""Colour of the edge of a stale square."""
LABEL = 22
"""Characters in a line of a label, which has two lines at most."""


def matrix(squares: Mapping[tuple[str, str], Square], most_columns: int) -> Figure:
    """A row a runtime and a column a model; with more than `most_columns` models the other way round."""
    runtimes, models = (list(dict.fromkeys(name)) for name in zip(*squares, strict=True)) if squares else ([], [])
    swapped = len(models) > most_columns
    rows, columns = (models, runtimes) if swapped else (runtimes, models)
    broad = len(columns) <= 7
    width, height = max(WIDTH, 2 + 0.56 * len(columns)), 1.9 + (0.34 if broad else 0.4) * max(1, len(rows))
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(0, max(1, len(columns))), ylim=(max(1, len(rows)), 0))
    if not squares:
        axis.text(0.5, 0.5, "nothing was tried", ha="center", va="center")
    for x, column in enumerate(columns):
        for y, row in enumerate(rows):
            square = squares.get((column, row) if swapped else (row, column)) or Square(NOT_RUN, None, "", True)
            stale = not square.current and square.verdict != NOT_RUN
            looks = LOOKS[square.verdict] | (STALE | {"edgecolor": EDGES[square.verdict]} if stale else {})
            axis.add_patch(Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, **looks))
            face = TEXTS[square.verdict] | ({"color": "black"} if stale else {})
            text = _text(square, stale, broad)
            axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=7.5 if broad else 6.5, **face)
    axis.set_xticks([x + 0.5 for x in range(len(columns))])
    axis.set_yticks([y + 0.5 for y in range(len(rows))])
    heads: Look = {"rotation": 40, "ha": "left", "rotation_mode": "anchor", "va": "center"}
    axis.set_xticklabels(map(_label, columns), fontsize=8.5, **heads)
    axis.set_yticklabels(map(_label, rows), fontsize=8.5)
    axis.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False, pad=5)
    axis.spines[:].set_visible(False)
    handles = [
        Patch(label="✓ passed, with the largest difference", **LOOKS[PASSED]),
        Patch(label="✗ failed", **LOOKS[FAILED]),
        Patch(label="not run", **LOOKS[NOT_RUN]),
    ]
    if any(not square.current for square in squares.values()):
        handles.append(Patch(label="stale: of an older ONNX file", **{**STALE, "edgecolor": "black"}))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5, handlelength=1.6)
    return figure


def _text(square: Square, stale: bool, broad: bool) -> str:
    """Mark, largest difference and whether it is stale, in a line if there is room for it."""
    mark = MARKS[square.verdict] if broad else MARKS[square.verdict].removeprefix("✗ ")
    if square.verdict == NOT_RUN:
        return mark
    difference = "" if square.difference is None else f"{square.difference:.1e}"
    separator = " " if broad and square.verdict == PASSED else "\n"
    return separator.join(filter(None, [mark, difference, "stale" if stale else ""]))


def _label(name: str) -> str:
    lines = textwrap.wrap(name, LABEL, break_long_words=True)
    return "\n".join(lines[:2]) + ("…" if len(lines) > 2 else "")
