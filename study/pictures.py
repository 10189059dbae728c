"""What the pictures of all stages share: colours, panels, rows, legends, and their rendering as SVG and PNG.

Made to be legible in print, in grey and for colour-blind readers: the colours are those of Okabe & Ito (Color Universal
Design, 2008), and hatches, markers or dashes repeat what they say. Figures are made without pyplot, which keeps them
all and may look for a display.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator
from PIL import Image

Look = Any
"""Keyword arguments of an artist, for which matplotlib has no type."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#999999")
HATCHES = ("", "///", "...", "\\\\\\", "xx", "++", "oo", "--")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), (0, (8, 2, 2, 2, 2, 2)))
WIDTH = 7.5
"""Inches, of every picture."""
CHARACTER = 5.0
"""Average width in points of a character of 8 points."""
FORMATS = (".svg", ".png")
DPI, SMALL_DPI, SMALL_COLOURS = 200, 133, 64
"""Dots an inch of a PNG, and those and the colours of one that is committed to the repository."""
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
    "axes.titley": 1.0,  # otherwise each drawing measures all texts of a panel, to keep its title off ticks above it
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "grid.color": "0.88",
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a name may have dollars
    "svg.hashsalt": "fashionbench",
}


@contextmanager
def style() -> Iterator[None]:
    """These settings alone; a user's own settings of matplotlib do not count."""
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
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine("none")
        for axis in figure.axes:  # whose last digits differ from call to call: the layout is the solution of a system
            axis.set_position(np.round(axis.get_position().bounds, 9))
        # as SVG last, which leaves the figure with the resolution of an SVG
        made = {suffix: _svg(figure) if suffix == ".svg" else _png(figure, small) for suffix in sorted(suffixes)}
        return {suffix: made[suffix] for suffix in suffixes}


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


def panels(
    count: int, heights: float | Sequence[float], columns: int = 1, **shared: Any
) -> tuple[Figure, Sequence[Axes]]:
    """A figure with `count` panels in so many columns.

    `heights` in inches are those of the rows, or one for all of them; `shared` says which axes are (sharex, sharey).
    """
    rows = math.ceil(count / columns)
    each = list(heights) if isinstance(heights, Sequence) else [heights] * rows
    figure = Figure(figsize=(WIDTH, 0.7 + sum(each)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=each, **shared).ravel()
    for i, axis in enumerate(axes):
        if shared.get("sharex"):
            axis.tick_params(labelbottom=i + columns >= count)
        if i >= count:
            axis.remove()
    return figure, list(axes[:count])


def empty(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def name_rows(axis: Axes, labels: Sequence[str], beside: Sequence[tuple[float, str]] = ()) -> None:
    """A row for each label, the first on top, with lines between them, and texts to the right of the panel."""
    axis.set(ylim=(len(labels) - 0.5, -0.5))
    axis.set_yticks(range(len(labels)), labels=labels)
    axis.tick_params(axis="y", length=0)
    axis.grid(True, axis="x")
    for y in range(1, len(labels)):
        axis.axhline(y - 0.5, color="0.8", linewidth=0.6, linestyle=(0, (1, 3)), zorder=0)
    if beside:
        right = axis.secondary_yaxis("right")
        right.set_yticks([y for y, _ in beside], labels=[text for _, text in beside], fontsize=8)
        right.tick_params(length=0)
        right.spines[:].set_visible(False)


def legend_above(figure: Figure, handles: Sequence[Artist]) -> None:
    """The legend of the whole figure, over its panels, in as many columns as its width allows."""
    entry = 48 + CHARACTER * max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(4, len(handles), int(WIDTH * 72 / entry)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, handlelength=3)


def line(i: int) -> Look:
    """Colour and dashes of the i-th line; they repeat together after 24."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.5}


def point(i: int, valid: bool = True) -> Look:
    """Colour and marker of the i-th kind of points: filled if valid, hollow if not; markers move on as hatches do."""
    colour = COLOURS[i % len(COLOURS)]
    edge = {"markerfacecolor": colour if valid else "white", "markeredgecolor": "black", "markeredgewidth": 0.8}
    marker = MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]
    return {"marker": marker, "markersize": 6, "color": colour, **edge}


def bar(i: int) -> Look:
    """Colour and hatch of the i-th kind of bars; hatches move on by one each time the colours come round."""
    hatch = HATCHES[(i + i // len(COLOURS)) % len(HATCHES)]
    return {"facecolor": COLOURS[i % len(COLOURS)], "hatch": hatch, "edgecolor": "black", "linewidth": 0.6}


TICKS = {30: (1, 1.5, 2, 3, 5, 7), 300: (1, 2, 5)}
"""First digits of the ticks of a logarithmic axis, by the ratio of its ends; of a longer one powers of ten."""


def log_scale(axes: Axes, axis: Axis, low: float, high: float, room: float) -> None:
    """A logarithmic axis from `low` to `high`, longer by that share at either end, with ticks at round numbers."""
    margin = max(math.log(high / low) * room, 0.005)
    ends = low * math.exp(-margin), high * math.exp(margin)
    if axis is axes.xaxis:
        axes.set(xscale="log", xlim=ends)
    else:
        axes.set(yscale="log", ylim=ends)
    ratio = ends[1] / ends[0]
    subs = next((digits for widest, digits in TICKS.items() if ratio < widest), (1,))
    axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]) if ratio < 2 else LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter("{x:,g}")


def tail(name: str, longest: int) -> str:
    """`name`, shortened to its end, where the names of layers differ."""
    return name if len(name) <= longest else f"…{name[-longest + 1 :]}"
