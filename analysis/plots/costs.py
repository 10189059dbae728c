"""The picture of fixed cost and cost per item: the time of a call over the batch size, with the line of both costs."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.plots.latency import (
    INVALID,
    batch_axis,
    by_series,
    in_microseconds,
    interval_points,
    legend,
    series_of,
    short,
    triples,
    tuples,
)
from analysis.tables import headline
from analysis.tables.numbers import formula, runtime
from study.pictures import Look, empty, line, log_scale, panels

STEPS = 100
"""Points of a line, which is curved on logarithmic axes."""
HEIGHT, LINE = 2.1, 0.115
"""Inches of a panel, and of each line of its text, above the points."""

BEHIND: Look = {"facecolor": "white", "edgecolor": "none", "pad": 1}


def costs(frame: pd.DataFrame, latency: pd.DataFrame) -> Figure:
    """Time of a call over the batch size: a panel a model, a line a runtime, from the tables `costs` and `latency`.

    Points are medians with their intervals. A line is flat where the fixed cost decides and rises as steeply as the
    batch where the cost per item does.
    """
    lines = headline.costs(frame)
    if lines.empty:
        return empty("no model was measured at several batch sizes")
    models = list(dict.fromkeys(lines["model"]))
    cases = in_microseconds(headline.cases(latency[latency["model"].isin(models)]))
    series, batches = series_of(lines), sorted(set(cases["batch"]))
    text = LINE * (len(series) + 1)
    figure, axes = panels(len(models), HEIGHT + text, min(3, len(models)), sharex=True, sharey=True)
    low, high = cases["low"].min(), cases["high"].max()
    high = low * (high / low) ** (1 + text / HEIGHT)
    for axis, model in zip(axes, models, strict=True):
        texts = []
        for i, own in by_series(lines[lines["model"] == model], series):
            for row in tuples(own):
                _line(axis, row, (batches[0], batches[-1]), i)
                texts.append(f"{runtime(*series[i])}: {formula(row.fixed_seconds, row.per_item_seconds, row.miss)} µs")
        for i, own in by_series(cases[cases["model"] == model], series):
            interval_points(axis, triples(own["batch"]), triples(own), i, own["valid"])
        axis.text(0.03, 0.97, "\n".join(texts), transform=axis.transAxes, va="top", fontsize=7, bbox=BEHIND)
        axis.set_title(short(model), loc="left")
        log_scale(axis, axis.yaxis, low, high, room=0.03)
        axis.yaxis.set_major_locator(LogLocator(subs=(1,)))
        batch_axis(axis, batches)
    figure.supxlabel(f"batch size b (log scale); {INVALID}", fontsize=9)
    figure.supylabel("microseconds a call (log scale)", fontsize=9)
    legend(figure, series, lines=True)
    return figure


def _line(axis: Axes, row: Any, ends: tuple[float, float], i: int) -> None:
    batches = np.geomspace(*ends, STEPS)
    seconds = row.fixed_seconds + row.per_item_seconds * batches
    axis.plot(batches, np.where(seconds > 0, 1e6 * seconds, np.nan), zorder=2, **line(i))
