"""The pictures of errors.csv and confusion.csv: the test errors of every run, and which classes are confused."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.plots.latency import short
from analysis.tables.numbers import number
from study.pictures import COLOURS, WIDTH, Look, empty, legend_above, name_rows, panels

RUN: Look = {"marker": "o", "markersize": 4.5, "markeredgecolor": COLOURS[0], "linestyle": ""}
RUN |= {"markerfacecolor": "white"}
MEAN: Look = {"marker": "|", "markersize": 15, "markeredgewidth": 2.2, "color": "black", "linestyle": ""}
VERDICTS: dict[str, Look] = {
    "better": {"marker": "v", "markerfacecolor": COLOURS[2]},
    "worse": {"marker": "^", "markerfacecolor": COLOURS[3]},
    "not distinguishable": {"marker": "o", "markerfacecolor": "white"},
    "not judged": {"marker": "x", "markerfacecolor": "white"},
}
SHOWN = 0.005
"""Smallest share that a confusion matrix has as a number."""


def errors(frame: pd.DataFrame) -> Figure:
    """A row a model: its runs and their mean, and beside them the difference from the baseline with its noise.

    Without a difference the left half is all.
    """
    models = list(dict.fromkeys(frame["model"]))
    rows = [frame[frame["model"] == model] for model in models]
    figure = Figure(figsize=(WIDTH, 1.2 + 0.34 * len(models)), layout="constrained")
    compared = bool(frame["test_error_change"].notna().any())
    left, *others = figure.subplots(1, 1 + compared, squeeze=False, width_ratios=(1.15, 1)[: 1 + compared]).ravel()
    right = others[0] if others else left
    beside = []
    for y, own in enumerate(rows):
        left.plot(100 * own["test_error"], [y] * len(own), zorder=3, **RUN)
        left.plot(100 * own["test_error_mean"].iloc[0], y, zorder=2, **MEAN)
        one = own.iloc[0]
        if pd.isna(one["test_error_change"]):
            beside.append((y, str(one["verdict"])))
            continue
        change = 100 * one["test_error_change"]
        if pd.notna(one["test_error_noise"]):
            noise = 100 * one["test_error_noise"]
            right.plot([change - noise, change + noise], [y, y], color="black", linewidth=1.4, zorder=2)
        look = {"markersize": 7, "markeredgecolor": "black", "linestyle": "", **VERDICTS[str(one["verdict"])]}
        right.plot(change, y, zorder=3, **look)
        beside.append((y, str(one["verdict"])))
    name_rows(left, [short(model) for model in models])
    left.set_xlabel("test error, %")
    if compared:
        name_rows(right, [""] * len(models), beside)
        right.axvline(0, color="black", linewidth=0.8, zorder=1)
        right.set_xlabel("difference from the baseline, points")
    for axis in (left, *others):
        axis.margins(x=0.08)
    mean = Line2D([], [], label="mean of the runs", **{**MEAN, "markersize": 11})
    legend_above(figure, [Line2D([], [], label="one run", **RUN), mean])
    return figure


def confusion(frame: pd.DataFrame) -> Figure:
    """Of the images of each class, a row, the percentage predicted as each class, a column.

    The first model's in full; for the others, which hardly look different, by how many points they differ from it.
    """
    models = list(dict.fromkeys(frame["model"]))
    if not models:
        return empty("no data set of few classes")
    names = list(dict.fromkeys(frame.sort_values("label")["label_name"].astype(str)))
    shares = {model: _matrix(frame[frame["model"] == model], len(names)) for model in models}
    columns = min(2, len(models))
    figure, axes = panels(len(models), 0.6 + 0.235 * len(names), columns, sharex=True, sharey=True)
    for axis, model in zip(axes, models, strict=True):
        differs = model != models[0]
        _panel(axis, shares[model] - shares[models[0]] if differs else shares[model], differs)
        title = f"{short(model)} minus {short(models[0])}, points" if differs else f"{short(model)}, %"
        axis.set_title(title, loc="left")
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
        axis.set_yticks(range(len(names)), names, fontsize=7.5)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.supxlabel("predicted class", fontsize=9)
    figure.supylabel("class of the image", fontsize=9)
    return figure


def _matrix(own: pd.DataFrame, n: int) -> NDArray[np.float64]:
    shares = np.zeros((n, n))
    shares[own["label"], own["predicted"]] = own["share"]
    return shares


def _panel(axis: Axes, values: NDArray[np.float64], differs: bool) -> None:
    """One matrix; the colour of a cell is that of an error, not of the diagonal, which would outshine them."""
    right = np.eye(len(values), dtype=bool)
    harm = np.where(right, -values, values) if differs else np.where(right, 0, values)
    look: Look = {"cmap": "Oranges", "vmin": 0, "vmax": 0.2}
    if differs:
        look = {"cmap": "PuOr_r", "vmin": -0.05, "vmax": 0.05}
    axis.imshow(harm, aspect="auto", **look)
    for i, j in np.ndindex(values.shape):
        if abs(values[i, j]) >= SHOWN:
            text = number(values[i, j], "+.0f" if differs else ".0f", 100)
            dark = abs(harm[i, j]) > 0.75 * look["vmax"]
            axis.text(
                *(j, i, text),
                ha="center",
                va="center",
                fontsize=7,
                fontweight="bold" if i == j else "normal",
                color="white" if dark and differs else "black",
            )
