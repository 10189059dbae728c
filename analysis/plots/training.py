"""How each run was trained, epoch by epoch: loss and accuracy on training and on validation images, a row a model.

Losses are on a logarithmic scale, and accuracies on one that is logarithmic in the error, so that the first epochs and
the last can both be read. Drawn from history.csv, whose figures of training are over the augmented images, each before
the update it takes part in.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from analysis.plots.style import COLOURS, DASHES, legend_above, log_scale

PARTS = {"train": ("training", COLOURS[0], DASHES[0]), "validation": ("validation", COLOURS[3], DASHES[1])}
PANELS = {"loss": "loss", "accuracy": "accuracy, %"}
KEPT: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markerfacecolor": "white", "markeredgewidth": 1.1}
RUN: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.6}
MEAN = 1.7
"""Width of the line of the mean."""


def histories(frame: pd.DataFrame, shared: bool = False) -> Figure:
    """A row a model with a panel of the losses and one of the accuracies: each run thin, the mean of the runs thick.

    The mean reaches as far as all runs go. A ring is the epoch whose weights a run kept that stopped early. With
    `shared` all panels have the same epochs, and all of accuracies the same scale; losses are of different criteria.
    """
    models = list(dict.fromkeys(frame["model"]))
    figure = Figure(figsize=(7.5, 0.8 + 1.55 * len(models)), layout="constrained")
    axes = figure.subplots(len(models), len(PANELS), squeeze=False, sharex=shared)
    validated = bool(frame["validation_loss"].notna().any())
    for row, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model]
        for axis, (name, label) in zip(row, PANELS.items(), strict=True):
            _panel(axis, own, name, frame if shared and name == "accuracy" else own)
            axis.set_ylabel(label)
            axis.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
            axis.grid(True, axis="y")
        runs = own["seed"].nunique()
        row[0].set_title(f"{model}, {runs} run{'' if runs == 1 else 's'}", loc="left")
        if validated and own["validation_loss"].isna().all():
            row[1].set_title("no images kept back to validate on", loc="left", fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    legend_above(figure, _legend(frame, validated))
    return figure


def stopped_early(rows: pd.DataFrame) -> bool:
    """Whether the weights that a run kept are of an epoch before its last one."""
    return bool(rows.loc[rows["kept"].astype(bool), "epoch"].max() < rows["epoch"].max())


def _panel(axis: Axes, own: pd.DataFrame, name: str, reaching: pd.DataFrame) -> None:
    """The lines of one model's runs; the error, 100 - accuracy, stands for the accuracy. All of `reaching` has room."""
    lines = _values(own, name)
    present = pd.concat(list(_values(reaching, name).values())).dropna()
    for part, (_, colour, dashes) in PARTS.items():
        rows = own.assign(value=lines[part]).dropna(subset="value")
        runs = rows["seed"].nunique()
        for _, run in rows.groupby("seed"):
            if runs > 1:
                axis.plot(run["epoch"], run["value"], color=colour, **RUN)
            if part == "validation" and stopped_early(run):
                kept = run[run["kept"].astype(bool)]
                axis.plot(kept["epoch"], kept["value"], color=colour, linestyle="", zorder=5, **KEPT)
        common = rows.groupby("epoch")["value"].agg(["mean", "size"])
        mean = common.loc[common["size"] == runs, "mean"]
        axis.plot(mean.index, mean, color=colour, linestyle=dashes, linewidth=MEAN, zorder=4)
    if present.gt(0).all():
        log_scale(axis, axis.yaxis, present.min(), present.max(), room=0.06)
        if (reach := present.max() / present.min()) > 20:
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if reach < 150 else (1,)))
    if name == "accuracy":
        axis.invert_yaxis()
        axis.yaxis.set_major_formatter(lambda error, _: f"{100 - error:g}")


def _values(frame: pd.DataFrame, name: str) -> dict[str, "pd.Series[float]"]:
    """What is drawn for each of `PARTS`: losses, or errors in percent."""
    columns = {part: frame[f"{part}_{name}"].astype(float) for part in PARTS}
    return columns if name == "loss" else {part: 100 - 100 * values for part, values in columns.items()}


def _legend(frame: pd.DataFrame, validated: bool) -> list[Line2D]:
    parts = PARTS if validated else {"train": PARTS["train"]}
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=MEAN, label=f"{name}, mean of the runs")
        for name, colour, dashes in parts.values()
    ]
    if (frame.groupby("model")["seed"].nunique() > 1).any():
        handles.append(Line2D([], [], color="0.3", label="a run", **RUN))
    if any(stopped_early(run) for _, run in frame.groupby(["model", "seed"])):
        handles.append(Line2D([], [], color=PARTS["validation"][1], linestyle="", label="epoch kept", **KEPT))
    return handles
