"""Pictures of sparsity and training, and what all pictures share; each is drawn from the CSV file of its name.

Made to be read in print, in grey and by colour-blind eyes: the colours are Okabe & Ito's (Color Universal Design,
2008), and hatches, markers or dashes repeat what they say. The same table gives the same bytes. Figures are made
without pyplot, which keeps them all and may look for a display.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from analysis.measures import UNIFORM
from analysis.presentation import MEASURES

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")
HATCHES = ("", "///", "...", "\\\\\\", "xx", "++", "oo", "--")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), (0, (8, 2, 2, 2, 2, 2)))
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "grid.color": "0.88",
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "fashionbench",
}
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
INITIALISED: dict[str, Any] = {"color": "black", "linestyle": (0, (5, 3)), "linewidth": 1.1, "zorder": 4}


@contextmanager
def style() -> Iterator[None]:
    """This module's settings and no others, whatever the user's own say."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def rendered(figure: Figure) -> dict[str, bytes]:
    """The figure as SVG and as PNG, without the time of drawing in them. Call within `style`."""
    content = {}
    for suffix, metadata in ((".svg", {"Date": None, "Creator": None}), (".png", {"Software": None})):
        file = io.BytesIO()
        figure.savefig(file, format=suffix[1:], dpi=200, metadata=metadata)
        content[suffix] = file.getvalue()
    return content


def sparsity(frame: pd.DataFrame, models: list[str]) -> Figure:
    """How sparse each fully-connected layer of each model is: a panel a measure, a group a layer, a bar a model.

    A bar is the mean of the runs, which are the points on it; the dashed line is the measure of a layer as it is
    initialised. A model of `models` without such a layer keeps its place and says so.
    """
    layers = list(dict.fromkeys(frame["layer"]))
    measures = list(dict.fromkeys(frame["measure"])) or list(UNIFORM)
    size = (7.5, 0.6 + 2.5 * len(measures))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(measures), 1, squeeze=False)
    width = 0.86 / len(models)
    crowded = len(models) * len(layers) > 21
    for axis, measure in zip(axes[:, 0], measures, strict=True):
        axis.set(title=MEASURES.get(measure, measure), xticks=range(len(layers)), xticklabels=layers)
        axis.set(ylim=(0, 1.25 if crowded else 1.12), yticks=np.linspace(0, 1, 6))
        axis.set_xlim(-0.5, max(len(layers), 1) - 0.5)
        axis.grid(True, axis="y")
        axis.tick_params(axis="x", length=0)
        panel = frame[frame["measure"] == measure]
        for (i, model), (x, layer) in product(enumerate(models), enumerate(layers)):
            place = x - 0.43 + (i + 0.5) * width
            own = panel[panel["model"] == model]
            values = own.loc[own["layer"] == layer, "value"].dropna().to_numpy(dtype=float)
            if len(values):
                _bar(axis, place, values, width, i, rotation=90 if crowded else 0)
            else:
                why = "undefined" if layer in set(own["layer"]) else "no such layer" if len(own) else "no FC layer"
                text: dict[str, Any] = {
                    "rotation": 90,
                    "ha": "center",
                    "va": "bottom",
                    "fontsize": 8,
                    "bbox": LABEL_BOX,
                    "zorder": 6,
                }
                axis.text(place, 0.04, f"{model}: {why}", **text)
        if not layers:
            axis.text(0, 0.5, "no model has a fully-connected layer", ha="center")
        elif measure in UNIFORM:
            axis.axhline(UNIFORM[measure], **INITIALISED)
            beside: dict[str, Any] = {
                "xycoords": ("axes fraction", "data"),
                "textcoords": "offset points",
                "va": "center",
            }
            axis.annotate(f"{UNIFORM[measure]:.3g}", (1, UNIFORM[measure]), xytext=(3, 0), fontsize=8, **beside)
    with_layers = set(frame["model"])
    handles: list[Artist] = [Patch(label=m, **_face(i)) for i, m in enumerate(models) if m in with_layers]
    if handles:
        legend_above(figure, [*handles, Line2D([], [], label="as initialised (uniform)", **INITIALISED)])
    return figure


def _face(i: int) -> dict[str, Any]:
    """How the bars of the i-th model look; hatches move on by one each time the colours come round."""
    hatch = HATCHES[(i + i // len(COLOURS)) % len(HATCHES)]
    return {"facecolor": COLOURS[i % len(COLOURS)], "hatch": hatch, "edgecolor": "black", "linewidth": 0.6}


def _bar(axis: Axes, place: float, values: NDArray[np.float64], width: float, i: int, rotation: float) -> None:
    axis.bar(place, values.mean(), width * 0.92, **_face(i))
    spread = place + np.linspace(-0.22, 0.22, len(values)) * width if len(values) > 1 else [place]
    point: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markeredgewidth": 0.7, "markersize": 3.2}
    axis.plot(spread, values, "o", zorder=5, clip_on=False, **point)
    label: dict[str, Any] = {
        "ha": "center",
        "va": "bottom",
        "fontsize": 8,
        "rotation": rotation,
        "bbox": LABEL_BOX,
        "zorder": 6,
    }
    at = (place, float(values.max()))
    axis.annotate(f"{values.mean():.2f}", at, xytext=(0, 4.5), textcoords="offset points", **label)


def convergence(frame: pd.DataFrame) -> Figure:
    """Training error and loss by epoch: a line a model, the mean of its runs, within the range of its runs."""
    figure = Figure(figsize=(7.5, 3.7), layout="constrained")
    axes = figure.subplots(1, 2)
    panels = (("train_error", 100, "training error, %"), ("train_loss", 1, "training loss"))
    for axis, (column, scale, label) in zip(axes, panels, strict=True):
        for i, (model, rows) in enumerate(frame.groupby("model", sort=False)):
            epochs = rows.assign(value=rows[column] * scale).groupby("epoch")["value"].agg(["mean", "min", "max"])
            colour = COLOURS[i % len(COLOURS)]
            axis.fill_between(epochs.index, epochs["min"], epochs["max"], color=colour, alpha=0.22, linewidth=0)
            line: dict[str, Any] = {"color": colour, "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.5}
            marker: dict[str, Any] = {
                "marker": MARKERS[i % len(MARKERS)],
                "markeredgecolor": "black",
                "markeredgewidth": 0.4,
            }
            axis.plot(epochs.index, epochs["mean"], markersize=4, markevery=(i % 6, 6), label=model, **line, **marker)
        axis.set(xlabel="epoch", ylabel=label)
        if frame[column].gt(0).all():
            axis.set(yscale="log", ylabel=f"{label} (log scale)")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(True, axis="y")
    legend_above(figure, axes[0].get_legend_handles_labels()[0])
    return figure


def legend_above(figure: Figure, handles: Sequence[Artist]) -> None:
    """The legend of the whole figure, over its panels."""
    columns = min(4, len(handles))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, handlelength=3)


def log_scale(axes: Axes, axis: Axis, low: float, high: float, room: float) -> None:
    """A logarithmic axis from `low` to `high` with that share of it more at either end, and ticks at round numbers."""
    margin = max(math.log(high / low) * room, 0.005)
    ends = low * math.exp(-margin), high * math.exp(margin)
    if axis is axes.xaxis:
        axes.set(xscale="log", xlim=ends)
    else:
        axes.set(yscale="log", ylim=ends)
    narrow = ends[1] / ends[0] < 2
    axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]) if narrow else LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter("{x:,g}")
