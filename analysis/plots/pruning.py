"""The picture of pruning.csv: accuracy lost against the share of the weights that is set to zero."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.measures.pruning import LOSS_ALLOWED
from study.pictures import legend_above, line, panels, point


def pruning(frame: pd.DataFrame, models: list[str]) -> Figure:
    """A line a model, the mean of its runs, in a band from the lowest to the highest run.

    The dashed line is the loss allowed; a point is the largest share that a run may lose.
    """
    figure, (axis,) = panels(1, 3.3)
    handles = []
    for i, model in enumerate(models):
        own = frame[frame["model"] == model].assign(share=lambda f: f["share"] * 100, loss=lambda f: f["loss"] * 100)
        if own.empty:
            continue
        common = own.groupby("share")["loss"].agg(["mean", "min", "max", "size"])
        common = common[common["size"] == own["seed"].nunique()]
        look, marker = line(i), point(i)
        axis.fill_between(common.index, common["min"], common["max"], color=look["color"], alpha=0.22, linewidth=0)
        axis.plot(common.index, common["mean"], **look)
        chosen = own[own["chosen"]]
        axis.plot(chosen["share"], chosen["loss"], zorder=5, **marker, linestyle="")
        handles.append(Line2D([], [], label=model, **look | marker))
    if frame.empty:
        axis.text(50, 1.5, "not measured", ha="center")
    axis.axhline(LOSS_ALLOWED * 100, color="black", linestyle=(0, (5, 3)), linewidth=1.1, zorder=4)
    axis.set(xlim=(0, 100), ylim=(-0.25, 3))
    axis.set(xlabel="fully-connected weights set to zero, %", ylabel="accuracy lost, points")
    axis.grid(True, axis="y")
    if handles:
        legend_above(figure, handles)
    return figure
