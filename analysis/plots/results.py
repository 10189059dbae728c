"""The picture of accuracy.csv of the results page: each entry's accuracy beside the published one."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from study.pictures import COLOURS, Look, legend_above, name_rows, panels

LOOKS: dict[str, Look] = {
    "test": {"marker": "o", "color": COLOURS[0], "markerfacecolor": COLOURS[0]},
    "validation": {"marker": "s", "color": COLOURS[2], "markerfacecolor": "white"},
    "published test": {"marker": "D", "color": COLOURS[3], "markerfacecolor": COLOURS[3]},
    "published validation": {"marker": "D", "color": COLOURS[3], "markerfacecolor": "white"},
}
RUNS: dict[str, Look] = {
    "test": {"marker": "|", "markersize": 6, "markeredgewidth": 1.0},
    "validation": {"marker": "x", "markersize": 3.5, "markeredgewidth": 0.9},
}
LABELS = {
    "test": "ours, test: mean, and runs",
    "validation": "ours, validation: mean, and runs",
    "published test": "published, test",
    "published validation": "published, validation",
}
OFFSETS = {"test": -0.13, "validation": 0.2, "published test": 0.13, "published validation": 0.2}
"""Offsets from the middle of a row, in rows; those on the same kind of images are neighbours."""
LOWEST = 85.0
"""Highest start in percent of an axis with accuracies above it; lower ones are drawn at its edge."""


def accuracy(frame: pd.DataFrame) -> Figure:
    """A panel a study and a row an entry: mean accuracy with its runs as ticks, and the published accuracy.

    Filled points are on test images, hollow ones on validation images. Panels of one data set have the same axis.
    """
    studies = list(dict.fromkeys(frame["study"]))
    counts = [frame.loc[frame["study"] == study, "model"].nunique() for study in studies]
    figure, axes = panels(len(studies), [0.42 + 0.27 * n for n in counts])
    limits = {str(name): _limits(rows["accuracy"]) for name, rows in frame.groupby("dataset")}
    for axis, study in zip(axes, studies, strict=True):
        rows = frame[frame["study"] == study]
        low = min(limits[name][0] for name in rows["dataset"])
        axis.set_xlim(low, max(limits[name][1] for name in rows["dataset"]))
        _panel(axis, rows, low)
        axis.set_title(study, loc="left")
    axes[-1].set_xlabel("accuracy, %")
    shown = [what for what in LOOKS if what in set(frame["what"])]
    legend_above(figure, [Line2D([], [], linestyle="", label=LABELS[what], **_face(what)) for what in shown])
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, low: float) -> None:
    models = list(dict.fromkeys(rows["model"]))
    labels, beside = [], []
    for y, model in enumerate(models):
        own = rows[rows["model"] == model]
        short = own["budget"].dropna()
        labels.append(model if short.empty else f"{model} ({short.iloc[0]})")
        beyond = []
        for what, values in own.groupby("what")["accuracy"]:
            at, looks = y + OFFSETS[str(what)], _face(str(what))
            inside = values[values >= low]
            if len(values) > 1:
                axis.plot(inside, [at] * len(inside), linestyle="", color=looks["color"], zorder=3, **RUNS[str(what)])
            if values.mean() >= low:
                axis.plot(values.mean(), at, linestyle="", zorder=4, **looks)
            else:
                axis.plot(low, at, linestyle="", zorder=4, clip_on=False, **{**looks, "marker": "<"})
                beyond.append(f"{what} {values.mean():.1f}")
        if beyond:
            beside.append((y, ", ".join(beyond)))
    name_rows(axis, labels, beside)
    axis.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))


def _limits(values: "pd.Series[float]") -> tuple[float, float]:
    """The ends of an axis: around all values, or those above `LOWEST` if there are any."""
    low = max(values.min(), LOWEST) if values.max() > LOWEST else values.min()
    room = max(0.05 * (values.max() - low), 0.2)
    return low - room, values.max() + room


def _face(what: str) -> Look:
    return {"markersize": 5.5, "markeredgecolor": LOOKS[what]["color"], "markeredgewidth": 1.2, **LOOKS[what]}
