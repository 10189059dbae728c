"""The pictures of a hyper-parameter search: its trials in order, and the importance of each parameter."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from study.pictures import COLOURS, Look, empty, legend_above, log_scale, name_rows, panels

STATES: dict[str, Look] = {
    "complete": {"marker": "o", "markerfacecolor": COLOURS[0], "markeredgecolor": COLOURS[0], "markersize": 4.5},
    "pruned": {"marker": "v", "markerfacecolor": "white", "markeredgecolor": "0.45", "markersize": 5},
    "failed": {"marker": "x", "markeredgecolor": COLOURS[3], "markersize": 6, "markeredgewidth": 1.6},
}
OWN: Look = {"marker": "s", "markerfacecolor": "none", "markeredgecolor": "black", "markersize": 9}
LABELS = {"complete": "complete", "pruned": "pruned, in its last epoch", "failed": "failed"}
BEST: Look = {"color": COLOURS[3], "linewidth": 1.5, "drawstyle": "steps-post"}


def search(frame: pd.DataFrame) -> Figure:
    """A panel a model: the validation error of each trial, in order, and the best so far.

    A trial that failed before its first epoch is at the upper edge.
    """
    models = list(dict.fromkeys(frame["model"]))
    figure, axes = panels(len(models), 2.5)
    for axis, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model].assign(percent=lambda f: 100 * f["last_error"].astype(float))
        known = own["percent"].dropna()
        if known.gt(0).all() and not known.empty:
            log_scale(axis, axis.yaxis, known.min(), known.max(), room=0.08)
        top = axis.get_ylim()[1]
        for state, rows in own.groupby("state"):
            looks = STATES[str(state)]
            axis.plot(rows["number"], rows["percent"].fillna(top), linestyle="", zorder=3, clip_on=False, **looks)
        recipe = own[own["own"].astype(bool)].dropna(subset="percent")
        axis.plot(recipe["number"], recipe["percent"], linestyle="", zorder=4, **OWN)
        axis.plot(own["number"], 100 * own["best_so_far"].astype(float), zorder=2, **BEST)
        axis.set_title(model, loc="left")
        axis.set(xlabel="trial", ylabel="validation error, % (log scale)")
        axis.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
        axis.grid(True, axis="y")
    there = [state for state in STATES if state in set(frame["state"])]
    handles = [Line2D([], [], linestyle="", label=LABELS[state], **STATES[state]) for state in there]
    if frame["own"].astype(bool).any():
        handles.append(Line2D([], [], linestyle="", label="the model's own recipe", **OWN))
    handles.append(Line2D([], [], label="best so far", **{**BEST, "drawstyle": "default"}))
    legend_above(figure, handles)
    return figure


def importance(frame: pd.DataFrame) -> Figure:
    """A panel a model and a bar a parameter: its share of the importance of all, the largest on top."""
    models = list(dict.fromkeys(frame["model"]))
    if not models:
        return empty("too few trials for the importance of parameters")
    counts = [int((frame["model"] == model).sum()) for model in models]
    figure, axes = panels(len(models), [0.5 + 0.26 * n for n in counts])
    for axis, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model]
        bars = axis.barh(range(len(own)), own["share"], color=COLOURS[0], height=0.62)
        axis.bar_label(bars, fmt="%.2f", padding=4, fontsize=8)
        name_rows(axis, list(own["parameter"]))
        axis.set_xlim(0, max(1.12 * own["share"].max(), 0.01))
        axis.set_title(model, loc="left")
    axes[-1].set_xlabel(f"importance ({', '.join(dict.fromkeys(frame['evaluator']))}): shares of 1")
    return figure
