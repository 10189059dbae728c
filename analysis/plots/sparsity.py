"""The picture of sparsity: bars of any measure, for each layer of each model; drawn from the CSV file of its name.

It takes a study of a few models of a few layers as well as one file with a hundred layers: what does not fit is left
out and counted below the picture, and no text is smaller than 8 points at a page width of 7.5 inches.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from analysis.plots.style import COLOURS, HATCHES, LABEL_BOX, legend_above
from analysis.tables.numbers import MINUS
from analysis.tables.sparsity import FROM_0_TO_1, MEASURES

References = Mapping[str, Mapping[str, float]]
"""Measure -> name of a distribution -> the measure of weights drawn from it."""

WIDTH = 7.5
BARS = 120
"""Bars in a panel at most; of more layers the first are drawn."""
LONGEST = 36
"""Characters of a layer's name beside its bars; of a longer one the beginning is left out."""
CHARACTER = 5.0
"""Points that a character of 8 points is wide, on average."""
WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
REFERENCE: dict[str, Any] = {"color": "black", "linewidth": 1.1, "zorder": 4}
DISTRIBUTIONS: dict[str, tuple[str, Any]] = {
    "uniform": ("uniform (as initialised)", (0, (5, 3))),
    "normal": ("normal", (0, (1.2, 1.8))),
    "Laplace": ("Laplace", (0, (6, 2, 1.2, 2))),
}
"""The words in the legend and the dashes of each reference line, by its name in `analysis.measures.noise`."""


@dataclass(frozen=True)
class Layout:
    """How bars are arranged: they stand, or they lie where they are too many or the names of the layers too long.

    `columns` of panels, each `height` inches high with its title; the axis of the values is about `length` points long
    and a bar has `bar` points of the other.
    """

    standing: bool
    columns: int
    height: float
    length: float
    bar: float

    @property
    def title(self) -> int:
        """Characters of a panel's title in one line."""
        return 40 if self.standing else max(8, int((self.length + 10) / 5.5))

    def rotated(self, characters: int) -> bool:
        """Whether texts so long go along a standing bar, since beside each other there is no room for them."""
        return self.standing and characters * CHARACTER + 2 > self.bar

    def room(self, characters: int) -> float:
        """The share of the axis that a text so long takes beyond the end of its bar."""
        along = characters * CHARACTER + 9 if characters and (not self.standing or self.rotated(characters)) else 18
        return along / self.length if characters else 0.0


def sparsity(frame: pd.DataFrame, models: Sequence[str], references: References | None = None) -> Figure:
    """How sparse each layer of each model is: a panel a measure, a group a layer, a bar a model.

    `frame` has the columns model, layer, measure and value, a row a run. A bar is the mean of the runs, which are the
    points on it where there are several. Lines are at `references`. A model of `models` without such a layer keeps its
    place and says so.
    """
    layers, measures = (list(dict.fromkeys(frame[column])) for column in ("layer", "measure"))
    if not layers:
        return empty("no model has a fully-connected layer")
    frame = frame.assign(value=frame["value"].astype(float).replace([math.inf, -math.inf], math.nan))
    shown = layers[: max(1, BARS // len(models))]
    layout = _layout(len(measures), shown, len(models))
    rows = math.ceil(len(measures) / layout.columns)
    figure = Figure(figsize=(WIDTH, 0.8 + rows * layout.height), layout="constrained")
    axes = figure.subplots(rows, layout.columns, squeeze=False, sharey=not layout.standing).ravel()
    for axis in axes[len(measures) :]:
        axis.remove()
    lines = {measure: (references or {}).get(measure, {}) for measure in measures}
    texts = {measure: _in_words(lines[measure], layout) for measure in measures}
    for axis, measure in zip(axes, measures, strict=False):
        title = "\n".join(textwrap.wrap(MEASURES.get(measure, measure), layout.title, **WHOLE_WORDS))
        axis.set_title(title, pad=5 + 10 * max(map(len, texts.values())), fontsize=10 if layout.standing else 9)
        above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center"}
        axis.annotate("\n".join(texts[measure]), (0.5, 1), xytext=(0, 5), fontsize=8, **above)
        _panel(axis, frame[frame["measure"] == measure], models, shown, lines[measure], layout)
    there = set(frame["model"])
    handles: list[Artist] = [
        Patch(label=tail(model, 24), **_face(i)) for i, model in enumerate(models) if model in there
    ]
    for name in dict.fromkeys(name for measure in measures for name in lines[measure]):
        words, dashes = DISTRIBUTIONS[name]
        handles.append(Line2D([], [], label=words, linestyle=dashes, **REFERENCE))
    legend_above(figure, handles)
    if len(layers) > len(shown):
        figure.supxlabel(f"{len(layers) - len(shown):,} more layers are in the table", fontsize=9)
    return figure


def empty(text: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _layout(measures: int, layers: Sequence[str], models: int) -> Layout:
    """Standing bars in two columns, or in one, if names of layers and texts of bars fit there; otherwise lying ones."""
    longest = max(map(len, layers))
    for columns in (2, 1) if measures > 1 else (1,):
        group = (WIDTH * 72 / columns - 40) / len(layers)
        bar = min(0.86 / models, 0.4) * group
        if longest * 5.5 + 4 <= group and bar >= 10:
            return Layout(True, columns, 2.5, 125, bar)
    columns = min(measures, 4 if models == 1 else 2)
    height = (len(layers) * (models * 9.5 + 3) + 60) / 72
    return Layout(False, columns, height, (WIDTH * 72 - CHARACTER * min(longest, LONGEST) - 20) / columns - 14, 9.5)


def _in_words(references: Mapping[str, float], layout: Layout) -> list[str]:
    """The values of the reference lines, in lines of text that fit above a panel."""
    texts = [f"{name} {digits(value)}" for name, value in references.items()]
    return [", ".join(texts)] if texts and layout.standing else texts


def _panel(
    axis: Axes,
    panel: pd.DataFrame,
    models: Sequence[str],
    layers: Sequence[str],
    references: Mapping[str, float],
    layout: Layout,
) -> None:
    """The bars of one measure, their texts, the lines and both axes."""
    unit = str(panel["measure"].iloc[0]).partition("(")[0] in FROM_0_TO_1
    width = min(0.86 / len(models), 0.4 if layout.standing else 0.6)
    bars = []
    for (i, model), (k, layer) in product(enumerate(models), enumerate(layers)):
        place = k + (i - (len(models) - 1) / 2) * width
        own = panel[panel["model"] == model]
        runs = own.loc[own["layer"] == layer, "value"].dropna().to_numpy(dtype=float)
        if len(runs):
            bars.append((i, place, runs, _share(runs.mean()) if unit else digits(runs.mean())))
        else:
            why = "undefined" if layer in set(own["layer"]) else "no such layer" if len(own) else "no FC layer"
            _missing(axis, place, why if len(models) == 1 else f"{tail(model, 14)}: {why}", layout)
    above, below = (max((len(t) for *_, runs, t in bars if (runs.mean() < 0) == low), default=0) for low in (0, 1))
    for i, place, runs, text in bars:
        _bar(axis, place, runs, width * 0.92, i, layout)
        _label(axis, place, runs, text, layout, layout.rotated(max(above, below)))
    for name, value in references.items():
        (axis.axhline if layout.standing else axis.axvline)(value, linestyle=DISTRIBUTIONS[name][1], **REFERENCE)

    groups = (-0.5, len(layers) - 0.5)
    low, high = _ends([v for _, _, runs, _ in bars for v in runs] + list(references.values()))
    total = (high - low) / max(0.2, 1 - layout.room(above) - layout.room(below))
    limits = low - total * layout.room(below), high + total * layout.room(above)
    if unit:
        limits = 0, max(1.02, limits[1])
    if layout.standing:
        axis.set(xlim=groups, ylim=limits, xticks=range(len(layers)), xticklabels=layers)
    else:
        axis.set(ylim=groups[::-1], xlim=limits, yticks=range(len(layers)))
        axis.set_yticklabels([tail(layer, LONGEST) for layer in layers], fontsize=8)
    values, names = (axis.yaxis, axis.xaxis) if layout.standing else (axis.xaxis, axis.yaxis)
    values.set_major_locator(
        FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1] if layout.length > 120 else [0, 0.5, 1])
        if unit
        else MaxNLocator(max(2, int(layout.length // 40)), steps=[1, 2, 5, 10])
    )
    values.set_major_formatter(FuncFormatter(lambda value, _: digits(value)))
    values.grid(True)
    names.set_tick_params(length=0)
    if low < 0:
        (axis.axhline if layout.standing else axis.axvline)(0, color="black", linewidth=0.8)


def _ends(values: list[float]) -> tuple[float, float]:
    """From the least to the largest of the values and 0."""
    low, high = min([0.0, *values]), max([0.0, *values])
    return (low, high) if low < high else (0.0, 1.0)


def _face(i: int) -> dict[str, Any]:
    """How the bars of the i-th model look; hatches move on by one each time the colours come round."""
    hatch = HATCHES[(i + i // len(COLOURS)) % len(HATCHES)]
    return {"facecolor": COLOURS[i % len(COLOURS)], "hatch": hatch, "edgecolor": "black", "linewidth": 0.6}


def _bar(axis: Axes, place: float, runs: NDArray[np.float64], width: float, i: int, layout: Layout) -> None:
    """The mean of the runs as a bar, and the runs, if there are several, as points on it."""
    (axis.bar if layout.standing else axis.barh)(place, runs.mean(), width, **_face(i))
    if len(runs) > 1:
        point: dict[str, Any] = {
            "color": "white",
            "markeredgecolor": "black",
            "markeredgewidth": 0.7,
            "markersize": 3.2 if layout.bar > 15 else 2.6,
        }
        places = place + np.linspace(-0.24, 0.24, len(runs)) * width
        axis.plot(*((places, runs) if layout.standing else (runs, places)), "o", zorder=5, clip_on=False, **point)


def _label(axis: Axes, place: float, runs: NDArray[np.float64], text: str, layout: Layout, rotated: bool) -> None:
    """The mean of the runs as a text beyond the end of the bar and of the runs."""
    negative = runs.mean() < 0
    end = float(runs.min() if negative else runs.max())
    away = (-1 if negative else 1) * (4.5 if len(runs) > 1 else 2.5)
    shared: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "bbox": LABEL_BOX, "zorder": 6}
    if layout.standing:
        where: dict[str, Any] = {"ha": "center", "va": "top" if negative else "bottom", "rotation": 90 * rotated}
        axis.annotate(text, (place, end), xytext=(0, away), **where, **shared)
    else:
        where = {"ha": "right" if negative else "left", "va": "center_baseline"}
        axis.annotate(text, (end, place), xytext=(away, 0), **where, **shared)


def _missing(axis: Axes, place: float, text: str, layout: Layout) -> None:
    """Why there is no bar at its place."""
    shared: dict[str, Any] = {"fontsize": 8, "bbox": LABEL_BOX, "zorder": 6}
    if layout.standing:
        shared |= {"rotation": 90, "ha": "center", "va": "bottom", "transform": axis.get_xaxis_transform()}
        axis.text(place, 0.03, text, **shared)
    else:
        axis.text(0.03, place, text, va="center", transform=axis.get_yaxis_transform(), **shared)


def tail(name: str, longest: int) -> str:
    """`name`, or its end, where the names of layers differ, if it is longer."""
    return name if len(name) <= longest else f"…{name[-longest + 1 :]}"


def _share(value: float) -> str:
    """A measure between 0 and 1 with two decimals; only 0 and 1 themselves are called so."""
    text = f"{value:.2f}"
    if text == "0.00":
        return "<0.01" if value > 0 else "0"
    return text if text != "1.00" else ">0.99" if value < 1 else "1"


def digits(value: float) -> str:
    """Three significant digits at most, in few characters: 0.134, 12,300, 1.23e5, 6.25e-5, with a true minus sign."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{float(f'{value:.3g}'):,.12g}"
    else:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    return text.replace("-", MINUS)
