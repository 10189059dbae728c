"""The picture of sparsity.csv: bars of any measure, for each layer of each model.

It takes a study of a few models with a few layers as well as one file with hundreds of layers: of more than fit, the
least and the most sparse are drawn, which is written below the picture. No text is smaller than 8 points.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from analysis.tables.numbers import MINUS
from analysis.tables.sparsity import FROM_0_TO_1, MEASURES, extremes
from study.pictures import CHARACTER, WIDTH, Look, bar, empty, legend_above, name_rows, panels, tail

References = Mapping[str, Mapping[str, float]]
"""Measure -> name of a distribution -> the measure of weights drawn from it."""

BARS, ROWS = 120, 40
"""Bars and layers in a panel at most."""
LONGEST = 36
"""Characters of a layer's name beside its bars; a longer one loses its beginning."""
THICKNESS = 0.86
"""Height of the bars of one layer together; rows are 1 apart."""
REFERENCE: Look = {"color": "black", "linewidth": 1.1, "zorder": 4}
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
RUNS: Look = {"marker": "o", "linestyle": "", "color": "white", "markersize": 2.8, "zorder": 5}
RUNS |= {"markeredgecolor": "black", "markeredgewidth": 0.7, "clip_on": False}
DISTRIBUTIONS: dict[str, tuple[str, Any]] = {
    "uniform": ("uniform (as initialised)", (0, (5, 3))),
    "normal": ("normal", (0, (1.2, 1.8))),
    "Laplace": ("Laplace", (0, (6, 2, 1.2, 2))),
}
"""The words in the legend and the dashes of each reference line, by its name in `analysis.measures.noise`."""


def sparsity(frame: pd.DataFrame, models: Sequence[str], references: References | None = None) -> Figure:
    """How sparse each layer of each model is: a panel a measure, a row a layer, a bar a model.

    `frame` has the columns model, layer, measure and value, a row a run. A bar is the mean of the runs; if there are
    several, they are points on it. Lines are at `references`. A model of `models` without such a layer has a text in
    its place, unless most layers are those of one model alone, as of different networks: a row then has the bars of the
    models that have its layer.
    """
    layers, measures = (list(dict.fromkeys(frame[column])) for column in ("layer", "measure"))
    if not layers:
        return empty("no model has a fully-connected layer")
    frame = frame.assign(value=frame["value"].astype(float).replace([math.inf, -math.inf], math.nan))
    first = frame[frame["measure"] == measures[0]].groupby("layer", sort=False)["value"].mean()
    owners = frame.groupby("layer")["model"].unique()
    unlike = frame["model"].nunique() > 1 and (owners.map(len) == 1).mean() > 0.5
    slots = {layer: [one for one in models if not unlike or one in owners[layer]] for layer in layers}
    most = max(map(len, slots.values()))
    shown = extremes(first.to_dict(), max(2, min(ROWS, BARS // most)))
    columns = min(len(measures), 4 if len(models) == 1 else 2)
    height = (len(shown) * (most * 10.5 + 5) + 62) / 72
    figure, axes = panels(len(measures), height, columns, sharey=True)
    names = [tail(layer, LONGEST) for layer in shown]
    length = (WIDTH * 72 - CHARACTER * max(map(len, names)) - 20) / columns - 14
    for axis, measure in zip(axes, measures, strict=True):
        _panel(axis, frame[frame["measure"] == measure], models, {layer: slots[layer] for layer in shown}, length)
        name_rows(axis, names)
        title = MEASURES.get(measure, measure)
        axis.set_title("\n".join(textwrap.wrap(title, max(8, int(length / 5.5)), break_on_hyphens=False)), fontsize=9)
        lines = (references or {}).get(measure, {})
        for name, value in lines.items():
            axis.axvline(value, linestyle=DISTRIBUTIONS[name][1], **REFERENCE)
        values = ", ".join(f"{name} {digits(value)}" for name, value in lines.items())
        axis.set_xlabel("\n".join(textwrap.wrap(values, int(length / CHARACTER))), fontsize=8)
    there = set(frame["model"])
    handles: list[Artist] = [Patch(label=tail(model, 24), **bar(i)) for i, model in enumerate(models) if model in there]
    for name in dict.fromkeys(name for measure in measures for name in (references or {}).get(measure, {})):
        words, dashes = DISTRIBUTIONS[name]
        handles.append(Line2D([], [], label=words, linestyle=dashes, **REFERENCE))
    legend_above(figure, handles)
    if len(layers) > len(shown):
        name = MEASURES.get(measures[0], measures[0])
        figure.supxlabel(f"{ends_of(len(shown), len(layers))} by {name}; the table has all", fontsize=9)
    return figure


def ends_of(shown: int, layers: int) -> str:
    """Which layers are drawn, in words."""
    return f"the {shown - shown // 2} least and {shown // 2} most sparse of {layers:,} layers"


def _panel(
    axis: Axes, panel: pd.DataFrame, models: Sequence[str], layers: Mapping[str, Sequence[str]], length: float
) -> None:
    """The bars of one measure with their texts, and the axis of values, `length` points long.

    `layers` has the models of each row.
    """
    from_0_to_1 = str(panel["measure"].iloc[0]).partition("(")[0] in FROM_0_TO_1
    text = _share if from_0_to_1 else digits
    thickness = min(THICKNESS / max(map(len, layers.values())), 0.6)
    means, ends = [], [0.0]
    for i, model in enumerate(models):
        own = panel[panel["model"] == model]
        for row, layer in enumerate(layers):
            if model not in layers[layer]:
                continue
            y = row + (layers[layer].index(model) - (len(layers[layer]) - 1) / 2) * thickness
            runs = own.loc[own["layer"] == layer, "value"].dropna().to_numpy(dtype=float)
            if not len(runs):
                why = "undefined" if layer in set(own["layer"]) else "no such layer" if len(own) else "no FC layer"
                words = why if len(models) == 1 else f"{tail(model, 14)}: {why}"
                place: Look = {"va": "center", "fontsize": 8, "zorder": 6, "bbox": LABEL_BOX}
                axis.text(0.03, y, words, transform=axis.get_yaxis_transform(), **place)
                continue
            mean = float(runs.mean())
            spread = [[mean - runs.min()], [runs.max() - mean]]
            bars = axis.barh(y, mean, thickness * 0.92, xerr=spread, error_kw={"elinewidth": 0}, **bar(i))
            axis.bar_label(bars, [text(mean)], padding=4.5, fontsize=8, zorder=6, bbox=LABEL_BOX)
            if len(runs) > 1:
                axis.plot(runs, y + np.linspace(-0.24, 0.24, len(runs)) * thickness, **RUNS)
            means.append(mean)
            ends += [float(runs.min()), float(runs.max())]
    room = (CHARACTER * max((len(text(mean)) for mean in means), default=0) + 9) / length
    low, high = min(ends), max(ends)
    total = ((high - low) or 1) / (1 - room * ((low < 0) + (high > 0 or low == 0)))
    axis.set_xlim(low - total * room * (low < 0), high + total * room * (high > 0 or low == 0))
    if from_0_to_1:
        axis.set_xlim(0, max(1.02, axis.get_xlim()[1]))
    ticks = FixedLocator([0, 0.2, 0.4, 0.6, 0.8, 1] if length > 120 else [0, 0.5, 1])
    axis.xaxis.set_major_locator(ticks if from_0_to_1 else MaxNLocator(max(2, int(length // 40)), steps=[1, 2, 5, 10]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: digits(value)))
    if low < 0:
        axis.axvline(0, color="black", linewidth=0.8)


def _share(value: float) -> str:
    """A measure between 0 and 1 with two decimals; only 0 and 1 themselves are written so."""
    text = f"{value:.2f}"
    if text == "0.00":
        return "<0.01" if value > 0 else "0"
    return text if text != "1.00" else ">0.99" if value < 1 else "1"


def digits(value: float) -> str:
    """At most three significant digits, in few characters: 0.134, 12,300, 1.23e5, 6.25e-5, with a true minus sign."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{float(f'{value:.3g}'):,.12g}"
    else:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    return text.replace("-", MINUS)
