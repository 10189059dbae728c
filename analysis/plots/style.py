"""Pictures of training and of cutting weights, and what all pictures share; each is drawn from the CSV of its name.

Made to be read in print, in grey and by colour-blind eyes: the colours are Okabe & Ito's (Color Universal Design,
2008), and hatches, markers or dashes repeat what they say. The same table gives the same bytes. Figures are made
without pyplot, which keeps them all and may look for a display.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from PIL import Image

from analysis.measures.pruning import LOSS_ALLOWED

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
FORMATS = (".svg", ".png")
DPI, SMALL_DPI, SMALL_COLOURS = 200, 133, 64
"""Dots an inch of a PNG, and those and the colours of one that is committed to the repository."""
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}


@contextmanager
def style() -> Iterator[None]:
    """This module's settings and no others, whatever the user's own say."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def drawn(draw: Callable[[], Figure], suffixes: Sequence[str] = FORMATS, small: bool = False) -> dict[str, bytes]:
    """The figure that `draw` makes, in this style, as SVG and as PNG; the same table gives the same bytes.

    It is laid out once for both formats, since that takes as long as drawing. A `small` PNG, for pictures that are
    committed, has fewer dots and a palette.
    """
    with style():
        figure = draw()
        figure.set_dpi(SMALL_DPI if small else DPI)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return {suffix: _svg(figure) if suffix == ".svg" else _png(figure, small) for suffix in suffixes}


def _svg(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return file.getvalue()


def _png(figure: Figure, small: bool) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]
    if not small:
        return file.getvalue()
    palette = Image.open(file).convert("RGB").quantize(SMALL_COLOURS, dither=Image.Dither.NONE)
    palette.save(file := io.BytesIO(), "png", optimize=True)
    return file.getvalue()


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


def pruning(frame: pd.DataFrame, models: list[str]) -> Figure:
    """What cutting the smallest weights costs: a line a model, the mean of its runs, within their range.

    The dashed line is the loss allowed; a point is the most that can be cut of a run.
    """
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axis = figure.subplots()
    for i, model in enumerate(models):
        own = frame[frame["model"] == model].assign(share=lambda f: f["share"] * 100, loss=lambda f: f["loss"] * 100)
        common = own.groupby("share")["loss"].agg(["mean", "min", "max", "size"])
        common = common[common["size"] == own["seed"].nunique()]
        if own.empty:
            continue
        colour = COLOURS[i % len(COLOURS)]
        axis.fill_between(common.index, common["min"], common["max"], color=colour, alpha=0.22, linewidth=0)
        axis.plot(common.index, common["mean"], color=colour, linestyle=DASHES[i % len(DASHES)], linewidth=1.5)
        chosen = own[own["chosen"]]
        marker = MARKERS[i % len(MARKERS)]
        axis.plot(
            chosen["share"], chosen["loss"], marker, color=colour, markeredgecolor="black", markersize=5, zorder=5
        )
        both: dict[str, Any] = {"color": colour, "linestyle": DASHES[i % len(DASHES)], "marker": marker}
        axis.plot([], [], label=model, markeredgecolor="black", markersize=5, linewidth=1.5, **both)
    if frame.empty:
        axis.text(50, 1.5, "not measured", ha="center")
    axis.axhline(LOSS_ALLOWED * 100, color="black", linestyle=(0, (5, 3)), linewidth=1.1, zorder=4)
    axis.set(xlim=(0, 100), ylim=(-0.25, 3), xlabel="fully-connected weights cut, %", ylabel="accuracy lost, points")
    axis.grid(True, axis="y")
    if not frame.empty:
        legend_above(figure, axis.get_legend_handles_labels()[0])
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
