"""The picture of overview.csv: accuracy, size and speed of every model at once."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plots.latency import in_microseconds, short, tuples
from analysis.tables.numbers import runtime
from study.pictures import COLOURS, WIDTH, Look, legend_above, log_scale

ENGINES: dict[str, Look] = {
    "onnxruntime": {"marker": "s", "facecolor": COLOURS[1]},
    "torch": {"marker": "o", "facecolor": COLOURS[0]},
}
LARGEST, SMALLEST = 90.0, 16.0
"""Areas of marks in square points: the largest file, and the least there is."""
EDGE: Look = {"edgecolor": "black", "linewidth": 0.8}
SPAN: Look = {"color": "0.45", "linewidth": 1.0, "zorder": 2}
RUNS: Look = {"color": "0.45", "marker": "|", "markersize": 14, "linestyle": ""}
"""A span of the runs in the legend, where it stands as in the picture."""
LEADER: Look = {"color": "0.6", "linewidth": 0.7, "linestyle": (0, (2, 2)), "zorder": 1}
LABEL = 0.062
"""Least distance of two labels, as a share of the height."""


def overview(frame: pd.DataFrame) -> Figure:
    """Test error over the time of one image: two marks a model, joined, whose areas are the size of the ONNX file.

    Vertical lines reach from the lowest to the highest run. Without any latency the error is over that size.
    """
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axis = figure.subplots()
    rows = in_microseconds(frame)
    measured = bool(rows["runtime"].notna().any())
    if measured:
        rows = rows[rows["runtime"].notna()]
    else:
        sizes = rows["onnx_bytes"].fillna(0) / 1024
        rows = rows.assign(value=sizes, low=sizes, high=sizes, valid=True, runtime="onnxruntime")
    largest = max(float(rows["onnx_bytes"].max()), 1.0)
    ends = []
    for _, own in rows.groupby("model", sort=False):
        error = 100 * float(own["test_error_mean"].iloc[0])
        if len(own) > 1:
            axis.plot([own["value"].min(), own["value"].max()], [error] * 2, **SPAN)
        for row in tuples(own):
            axis.plot([row.value] * 2, [100 * row.test_error_lowest, 100 * row.test_error_highest], **SPAN)
            axis.plot([row.low, row.high], [error] * 2, **SPAN | {"linewidth": 2.2})
            look = dict(ENGINES[row.runtime])
            if row.valid is not True and row.valid is not np.True_:
                look["facecolor"] = "white"
            bytes_of = 0.0 if pd.isna(row.onnx_bytes) else float(row.onnx_bytes)
            axis.scatter([row.value], [error], s=max(SMALLEST, LARGEST * bytes_of / largest), zorder=3, **look, **EDGE)
        last = own.sort_values("value").iloc[-1]
        size = "" if pd.isna(last["onnx_bytes"]) else f" ({last['onnx_bytes'] / 1024:,.0f} KiB)"
        ends.append((error, float(last["value"]), f"{short(str(last['model']))}{size}"))
    log_scale(axis, axis.xaxis, max(rows["low"].min(), 1e-3), max(rows["high"].max(), 2e-3), room=0.08)
    axis.margins(y=0.12)
    axis.set_ylabel("test error, %")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(True, axis="both")
    if measured:
        axis.set_xlabel("microseconds a call with one image (log scale), median with 95 % interval; hollow: invalid")
        there = [name for name in ENGINES if name in set(rows["runtime"])]
        looks = {name: ENGINES[name] for name in there}
        labels = {name: "PyTorch (eager)" if name == "torch" else runtime(name) for name in there}
    else:
        axis.set_xlabel("size of the ONNX file, KiB (log scale)")
        looks, labels = {"onnxruntime": ENGINES["onnxruntime"]}, {"onnxruntime": "model"}
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=look["marker"],
            markerfacecolor=look["facecolor"],
            markeredgecolor="black",
            markersize=9,
            label=labels[name],
        )
        for name, look in looks.items()
    ]
    handles.append(Line2D([], [], label="lowest to highest run", **RUNS))
    if rows["model"].duplicated().any():
        handles.append(Line2D([], [], label="the same model", **SPAN))
    legend_above(figure, handles)
    _name(axis, ends)
    return figure


def _name(axis: Axes, ends: list[tuple[float, float, str]]) -> None:
    """A name at the right edge for each model, apart from the others, with a line to its last mark."""
    ends = sorted(ends)
    low, high = axis.get_ylim()
    places = spread_out([(error - low) / (high - low) for error, _, _ in ends], LABEL)
    for (error, x, text), place in zip(ends, places, strict=True):
        axis.annotate(
            text,
            (x, error),
            (1.02, place),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "shrinkA": 0, "shrinkB": 5, **LEADER},
        )


def spread_out(wanted: list[float], distance: float) -> list[float]:
    """Ascending places moved apart to at least this distance, each group around the middle of what it wanted."""
    groups: list[list[float]] = []
    for place in wanted:
        groups.append([place])
        while len(groups) > 1 and _start(groups[-1], distance) < _end(groups[-2], distance) + distance:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_start(group, distance) + distance * i for group in groups for i in range(len(group))]


def _start(group: list[float], distance: float) -> float:
    return sum(group) / len(group) - distance * (len(group) - 1) / 2


def _end(group: list[float], distance: float) -> float:
    return _start(group, distance) + distance * (len(group) - 1)
