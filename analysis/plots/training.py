"""How training went, epoch by epoch: a panel a model beside the others, and every run in a row a model.

In the rows losses are on a logarithmic scale, and accuracies on one that is logarithmic in the error, so that the first
and the last epochs can both be read. Training figures in history.csv are over the augmented images, each before the
update that it takes part in.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from study.pictures import COLOURS, DASHES, Look, legend_above, log_scale, panels

PARTS = {"train": ("training", COLOURS[0], DASHES[0]), "validation": ("validation", COLOURS[3], DASHES[1])}
PANELS = {"loss": "loss", "accuracy": "accuracy, %"}
KEPT: Look = {"marker": "o", "markersize": 4.5, "markerfacecolor": "white", "markeredgewidth": 1.1}
TEST: Look = {"marker": "D", "markersize": 6, "markeredgecolor": "black", "linestyle": ""}
TEST |= {"markerfacecolor": COLOURS[6]}
OTHERS: Look = {"color": "0.72", "linewidth": 0.8, "zorder": 1}
RUN: Look = {"linewidth": 0.6, "alpha": 0.6}
MEAN = 1.7
"""Width of the line of the mean."""


def convergence(frame: pd.DataFrame, errors: pd.DataFrame) -> Figure:
    """Error by epoch: a panel a model, the mean of its runs in a band from lowest to highest; the other models in grey.

    Dashed is the error on validation images, where there are any. The diamond is the mean test error, of `errors`.
    """
    models = list(dict.fromkeys(frame["model"]))
    means = {model: _by_epoch(frame[frame["model"] == model], "train_error") for model in models}
    figure, axes = panels(len(models), 1.75, min(3, len(models)), sharex=True, sharey=True)
    for axis, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model]
        for other in models:
            axis.plot(means[other].index, means[other]["mean"], **OTHERS)
        for part, (_, colour, dashes) in PARTS.items():
            epochs = _by_epoch(own, f"{part}_error")
            if epochs.empty:
                continue
            axis.fill_between(epochs.index, epochs["min"], epochs["max"], color=colour, alpha=0.25, linewidth=0)
            axis.plot(epochs.index, epochs["mean"], color=colour, linestyle=dashes, linewidth=MEAN, zorder=3)
        test = 100 * errors.loc[errors["model"] == model, "test_error"]
        axis.plot([own["epoch"].max()] * len(test), test, zorder=4, **{**TEST, "markersize": 3})
        axis.plot(own["epoch"].max(), test.mean(), zorder=5, **TEST)
        axis.set_title(model, loc="left")
        axis.grid(True, axis="y")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    if frame["train_error"].gt(0).all():
        axes[0].set(yscale="log")
        axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].yaxis.set_major_formatter("{x:g}")
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel("error, %", fontsize=9)
    validated = bool(frame["validation_error"].notna().any())
    handles = [*_legend(frame.assign(validation_loss=frame["validation_error"], kept=True), validated)[: 1 + validated]]
    handles.append(Line2D([], [], label="test, mean and runs", **TEST))
    if len(models) > 1:
        handles.append(Line2D([], [], label="training of the other models", **OTHERS))
    legend_above(figure, handles)
    return figure


def _by_epoch(own: pd.DataFrame, column: str) -> pd.DataFrame:
    """The mean, lowest and highest of the runs in each epoch, in per cent."""
    values = own.assign(value=100 * own[column].astype(float)).dropna(subset="value")
    return values.groupby("epoch")["value"].agg(["mean", "min", "max"])


def histories(frame: pd.DataFrame, shared: bool = False) -> Figure:
    """A row a model with a panel of the losses and one of the accuracies: each run thin, the mean of the runs thick.

    The mean ends with the shortest run. A ring is the epoch whose weights were kept by a run that stopped early. With
    `shared` all panels have the same epochs, and all accuracies the same scale; losses are of different criteria.
    """
    models = list(dict.fromkeys(frame["model"]))
    figure, axes = panels(2 * len(models), 1.55, columns=2, sharex=shared)
    validated = bool(frame["validation_loss"].notna().any())
    for model, loss, accuracy in zip(models, axes[::2], axes[1::2], strict=True):
        own = frame[frame["model"] == model]
        for axis, (name, label) in zip((loss, accuracy), PANELS.items(), strict=True):
            _panel(axis, own, name, frame if shared and name == "accuracy" else own)
            axis.set_ylabel(label)
            axis.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
            axis.grid(True, axis="y")
        runs = own["seed"].nunique()
        loss.set_title(f"{model}, {runs} run{'' if runs == 1 else 's'}", loc="left")
        if validated and own["validation_loss"].isna().all():
            accuracy.set_title("no validation images", loc="left", fontsize=8.5)
    for axis in axes[-2:]:
        axis.set_xlabel("epoch")
    legend_above(figure, _legend(frame, validated))
    return figure


def stopped_early(rows: pd.DataFrame) -> bool:
    """Whether a run kept the weights of an epoch before its last one."""
    return bool(rows.loc[rows["kept"].astype(bool), "epoch"].max() < rows["epoch"].max())


def _panel(axis: Axes, own: pd.DataFrame, name: str, reaching: pd.DataFrame) -> None:
    """The lines of one model's runs; accuracies as errors on an inverted axis. All of `reaching` has room."""
    lines = _values(own, name)
    present = pd.concat(list(_values(reaching, name).values())).dropna()
    for part, (_, colour, dashes) in PARTS.items():
        rows = own.assign(value=lines[part]).dropna(subset="value")
        runs = rows["seed"].nunique()
        each = [run for _, run in rows.groupby("seed")]
        if runs > 1:
            axis.add_collection(
                LineCollection([run[["epoch", "value"]].to_numpy() for run in each], color=colour, **RUN)
            )
        early = [run[run["kept"].astype(bool)] for run in each if part == "validation" and stopped_early(run)]
        if early:
            kept = pd.concat(early)
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
    """The values drawn for each of `PARTS`: losses, or errors in percent."""
    columns = {part: frame[f"{part}_{name}"].astype(float) for part in PARTS}
    return columns if name == "loss" else {part: 100 - 100 * values for part, values in columns.items()}


def _legend(frame: pd.DataFrame, validated: bool) -> list[Line2D]:
    parts = PARTS if validated else {"train": PARTS["train"]}
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, linewidth=MEAN, label=f"{name}, mean of the runs")
        for name, colour, dashes in parts.values()
    ]
    if (frame.groupby("model")["seed"].nunique() > 1).any():
        handles.append(Line2D([], [], color="0.3", label="one run", **RUN))
    if any(stopped_early(run) for _, run in frame.groupby(["model", "seed"])):
        handles.append(Line2D([], [], color=PARTS["validation"][1], linestyle="", label="epoch kept", **KEPT))
    return handles
