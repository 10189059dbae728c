"""Accuracy of every entry beside what was published for it: the picture of the results page."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.plots import COLOURS, legend_above

LOOKS: dict[str, dict[str, Any]] = {
    "test": {"marker": "o", "color": COLOURS[0], "markerfacecolor": COLOURS[0]},
    "validation": {"marker": "o", "color": COLOURS[0], "markerfacecolor": "white"},
    "published test": {"marker": "D", "color": COLOURS[3], "markerfacecolor": COLOURS[3]},
    "published validation": {"marker": "D", "color": COLOURS[3], "markerfacecolor": "white"},
}
LABELS = {
    "test": "ours, test: mean, and runs",
    "validation": "ours, validation",
    "published test": "published, test",
    "published validation": "published, validation",
}
OFFSETS = {"test": -0.13, "validation": 0.2, "published test": 0.13, "published validation": 0.2}
"""Of a row's middle, in rows; those on the same kind of images are neighbours."""


def accuracy(frame: pd.DataFrame) -> Figure:
    """A panel a study and a row an entry: mean accuracy with its runs as ticks, and the published figure.

    Filled is on test images, hollow on validation images. Panels of one data set have the same axis.
    """
    studies = list(dict.fromkeys(frame["study"]))
    counts = [frame.loc[frame["study"] == study, "model"].nunique() for study in studies]
    figure = Figure(figsize=(7.5, 1.1 + sum(0.42 + 0.27 * n for n in counts)), layout="constrained")
    heights = [0.6 + n for n in counts]
    axes = figure.subplots(len(studies), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    limits = {str(name): _limits(rows["accuracy"]) for name, rows in frame.groupby("dataset")}
    for axis, study in zip(axes, studies, strict=True):
        rows = frame[frame["study"] == study]
        _panel(axis, rows)
        axis.set_title(study, loc="left")
        axis.set_xlim(
            min(limits[name][0] for name in rows["dataset"]), max(limits[name][1] for name in rows["dataset"])
        )
    axes[-1].set_xlabel("accuracy, %")
    shown = [what for what in LOOKS if what in set(frame["what"])]
    legend_above(figure, [Line2D([], [], linestyle="", label=LABELS[what], **_face(what)) for what in shown])
    return figure


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    models = list(dict.fromkeys(rows["model"]))
    labels = []
    for y, model in enumerate(models):
        own = rows[rows["model"] == model]
        labels.append(model if own["budget"].isna().all() else f"{model} (smaller budget)")
        for what, values in own.groupby("what")["accuracy"]:
            at = y + OFFSETS[str(what)]
            if len(values) > 1:
                axis.plot(values, [at] * len(values), "|", color="black", markersize=6, zorder=3)
            axis.plot(values.mean(), at, linestyle="", zorder=4, **_face(str(what)))
    axis.set(ylim=(len(models) - 0.5, -0.5), yticks=range(len(models)), yticklabels=labels)
    axis.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    axis.grid(True, axis="x")
    for y in range(1, len(models)):
        axis.axhline(y - 0.5, color="0.8", linewidth=0.6, linestyle=(0, (1, 3)), zorder=0)


def _limits(values: "pd.Series[float]") -> tuple[float, float]:
    room = max(0.05 * (values.max() - values.min()), 0.2)
    return values.min() - room, values.max() + room


def _face(what: str) -> dict[str, Any]:
    return {"markersize": 5.5, "markeredgecolor": LOOKS[what]["color"], "markeredgewidth": 1.2, **LOOKS[what]}
