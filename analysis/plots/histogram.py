"""The picture of weights_histogram.csv: a histogram of the weights of each layer of each model."""

from collections.abc import Mapping
from itertools import islice

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis.plots.sparsity import digits, ends_of
from analysis.tables.sparsity import extremes
from study.pictures import CHARACTER, COLOURS, WIDTH, Look, empty, legend_above, panels, tail

PANELS = 24
"""Panels in a picture at most."""
RUNS = 10
"""Runs with a line of their own in a panel at most: more cover each other."""
FLOOR = 0.7
"""Lower end of the axis of counts, so that a bin with one weight is visible."""
RUN: Look = {"color": COLOURS[0], "linewidth": 0.8}
ZEROS: Look = {"color": "black", "linewidth": 1.1, "marker": "D", "markersize": 4.5}
ZEROS |= {"markerfacecolor": COLOURS[3], "markeredgewidth": 0.7}


def histograms(frame: pd.DataFrame, hoyer: Mapping[tuple[str, str], float] | None = None) -> Figure:
    """Histograms of the weights: a panel a layer of a model, a line a run (of the first `RUNS`), counts on a log scale.

    `frame` has the columns model, seed, layer, low, high and count: the rows of `analysis.measures.histogram`. The
    weights that are exactly zero are a needle at 0, apart from the bins. Panels of layers of one name share their axes.
    Of more layers than `PANELS` the first are drawn, or with `hoyer` (by model and layer) the least and most sparse.
    """
    models, layers = (list(dict.fromkeys(frame[column])) for column in ("model", "layer"))
    if not layers:
        return empty("no layer has weights of a known scale" if hoyer else "no model has a fully-connected layer")
    pairs = every = list(dict.fromkeys(zip(frame["model"], frame["layer"], strict=True)))
    if hoyer is not None and len(every) > PANELS:
        pairs = extremes({pair: hoyer[pair] for pair in every}, PANELS)
    names = {(model, layer): f"{model}, {layer}" if len(models) > 1 else layer for model, layer in pairs}
    alike = len(every) > 0.6 * len(models) * len(layers)  # otherwise a grid would be mostly holes
    if len(models) > 1 and len(layers) <= 4 and alike:
        columns = len(layers)
        places = {models.index(model) * columns + layers.index(layer): (model, layer) for model, layer in pairs}
    else:
        fitting = 4 if CHARACTER * max(map(len, names.values())) + 35 < WIDTH * 72 / 4 else 3
        columns, places = min(len(pairs), fitting), dict(enumerate(pairs))
    shown = {place: pair for place, pair in places.items() if place < PANELS // columns * columns}
    figure, axes = panels(max(shown) + 1, 1.3, columns)
    for place, axis in enumerate(axes):
        if place not in shown:
            axis.remove()
            continue
        model, layer = shown[place]
        same = frame[frame["layer"] == layer]
        counts = _histogram(axis, same[same["model"] == model], same)
        title = tail(names[model, layer], int((WIDTH * 72 / columns - 35) / CHARACTER))
        axis.set_title(f"{title}\n{counts}", fontsize=8)
    more = len(every) - len(shown)
    which = f"{more:,} more layers are in the table"
    if len(pairs) < len(every):
        which = f"{ends_of(len(shown), len(every))} by Hoyer; the table has all"
    figure.supxlabel("weight" + (f" ({which})" if more else ""), fontsize=9)
    figure.supylabel("weights in a bin (log scale)", fontsize=9)
    runs = frame.groupby(["model", "layer"])["seed"].nunique().max()
    lines = "one line a run" if runs <= RUNS else f"a line for each of the first {RUNS} runs"
    labels = (f"not 0, {lines}", "exactly 0, mean of the runs") if runs > 1 else ("not 0", "exactly 0")
    legend_above(figure, [Line2D([], [], label=f"weights {labels[i]}", **(RUN, ZEROS)[i]) for i in (0, 1)])
    return figure


def _histogram(axis: Axes, own: pd.DataFrame, same: pd.DataFrame) -> str:
    """The histograms of the runs `own`, on axes that fit all layers of this name, `same`; the zeros in words."""
    runs = own.groupby("seed", sort=False, dropna=False)
    for _, run in islice(runs, RUNS):
        bins = run[run["low"] < run["high"]]
        if len(bins):
            edges = [*bins["low"], bins["high"].iloc[-1]]
            axis.stairs(bins["count"], edges, fill=True, color=RUN["color"], alpha=0.15)
            axis.stairs(bins["count"], edges, **RUN)
    at_zero = own.assign(count=own["count"].where((own["low"] == 0) & (own["high"] == 0), 0))
    zeros = at_zero.groupby("seed", sort=False, dropna=False)["count"].sum()
    shares = zeros / runs["count"].sum().clip(lower=1)
    if zeros.any():
        mean = max(FLOOR, zeros.mean())
        axis.plot([0, 0], [FLOOR, mean], markevery=[1], zorder=3, clip_on=False, **ZEROS)
    reach = same["high"].max() if same["high"].max() > 0 else 1.0
    axis.set(yscale="log", xlim=(-1.03 * reach, 1.03 * reach), ylim=(FLOOR, 2 * max(1, same["count"].max())))
    axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], symmetric=True))
    axis.yaxis.set_major_locator(LogLocator(numticks=5))
    axis.yaxis.set_minor_locator(NullLocator())
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(FuncFormatter(lambda value, _: digits(value)))
    axis.tick_params(labelsize=8)
    axis.grid(True, axis="y")
    lost = int(own.loc[own["low"].isna(), "count"].sum())
    return f"{_percent(shares.min(), shares.max())} exactly 0" + (f", {lost:,} not finite" if lost else "")


def _percent(low: float, high: float) -> str:
    """A range of shares in per cent with one decimal; only 0 % and 100 % themselves are written so."""
    texts = [_share(share) for share in (low, high)]
    if texts in (["0", "0"], ["100", "100"]):
        return "none" if texts[0] == "0" else "all"
    return f"{texts[0]} %" if texts[0] == texts[1] else f"{texts[0]} to {texts[1]} %"


def _share(share: float) -> str:
    if share in (0, 1):
        return f"{100 * share:.0f}"
    return "<0.1" if share < 0.001 else ">99.9" if share > 0.999 else f"{100 * share:.1f}"
