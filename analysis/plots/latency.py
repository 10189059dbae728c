"""The pictures of what was measured: latency, speed-up, throughput, and accuracy against latency.

A runtime has its colour and marker in all of them, and what is not to be believed is hollow. Axes of times, ratios and
throughputs are logarithmic, so that equal ratios are equal distances.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator

from analysis.plots.style import COLOURS, DASHES, LABEL_BOX, MARKERS, legend_above, log_scale
from analysis.tables import headline as headlines
from analysis.tables.numbers import TIMES, interval, runtime

Series = tuple[str, str]
"""A runtime and its device."""

WIDTH = 7.5
LONGEST = 24
"""Characters of a model's name; of a longer one the middle is left out."""
BESIDE: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
FLOOR: dict[str, Any] = {"facecolor": "0.8", "edgecolor": "0.45", "linewidth": 0.8}


def latency(frame: pd.DataFrame) -> Figure:
    """Time of one call by model and runtime: a panel a batch size, each median within its interval."""
    rows = headlines.cases(frame)
    if rows.empty:
        return _empty("no latency has been measured")
    series, models, batches = _series(rows), _models(rows), sorted(set(rows["batch"]))
    figure, axes = _stacked(len(batches), len(models), len(series))
    for axis, batch in zip(axes, batches, strict=True):
        panel = rows[rows["batch"] == batch]
        for row, y, face in _placed(panel, models, series):
            median, low, high = (1e6 * getattr(row, f"median_{part}seconds") for part in ("", "low_", "high_"))
            _point(axis, median, y, xerr=(low, high), face=face)
            _value(axis, high, y, f"{median:,.1f}" if median < 100 else f"{median:,.0f}")
        _rows(axis, models, f"batch {batch}")
        low, high = 1e6 * panel["median_low_seconds"].min(), 1e6 * panel["median_high_seconds"].max()
        log_scale(axis, axis.xaxis, low, high, room=0.13)
    axes[-1].set_xlabel("microseconds a call (log scale): median with 95 % interval; hollow: invalid")
    _legend(figure, series)
    return figure


def comparisons(frame: pd.DataFrame) -> Figure:
    """How many times as fast as the reference each runtime is, by model: a panel a batch size.

    The grey band around 1 is a comparison's own noise floor f, from 1 / (1 + f) to 1 + f: a ratio within it is no
    difference.
    """
    rows = headlines.comparisons(frame)
    if rows.empty:
        return _empty("no runtimes have been compared")
    rows = rows.assign(valid=rows["verdict"] != headlines.WITHHELD)
    series, models, batches = _series(rows), _models(rows), sorted(set(rows["batch"]))
    figure, axes = _stacked(len(batches), len(models), len(series))
    widest = 1 + rows["noise_floor"].max()
    low, high = min(rows["low"].min(), 1 / widest), max(rows["high"].max(), widest)
    for axis, batch in zip(axes, batches, strict=True):
        axis.axvline(1, color="black", linewidth=0.8, zorder=1)
        for row, y, face in _placed(rows[rows["batch"] == batch], models, series):
            half = 0.36 / len(series)
            floor = [1 / (1 + row.noise_floor), 1 + row.noise_floor]
            axis.fill_between(floor, y - half, y + half, zorder=2, **FLOOR)
            _point(axis, row.ratio, y, xerr=(row.low, row.high), face=face)
            text = interval(row.ratio, row.low, row.high, ".2f", unit=TIMES)
            axis.annotate(f"{text}  ±{row.noise_floor * 100:.2f} %", (1, y), xytext=(6, 0), fontsize=8, **BESIDE)
        _rows(axis, models, f"batch {batch}")
        log_scale(axis, axis.xaxis, low, high, room=0.02)
    head = "speed-up  ±noise floor"
    axes[0].annotate(head, (1, 1), xytext=(6, 6), xycoords="axes fraction", textcoords="offset points", fontsize=8)
    (reference, *others) = dict.fromkeys(rows["reference"])
    against = runtime(reference) if not others else "the reference"
    axes[-1].set_xlabel(f"times as fast as {against} (log scale): ratio with 95 % interval; hollow: verdict withheld")
    _legend(figure, series, Patch(label="noise floor", **FLOOR))
    return figure


def throughput(frame: pd.DataFrame) -> Figure:
    """Images per second over the batch size: a panel a model, a line a runtime, with the interval at each point."""
    if frame.empty:
        return _empty("no latency has been measured")
    series, models, batches = _series(frame), _models(frame), sorted(set(frame["batch"]))
    columns = min(3, len(models))
    figure, axes = _grid(len(models), columns, height=2.2)
    low, high = frame["images_per_second_low"].min(), frame["images_per_second_high"].max()
    for axis, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model]
        for i, one in series.items():
            rows = own[(own["runtime"] == one[0]) & (own["device"] == one[1])]
            looks: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
            for _, line in rows.groupby(["threads", "mode"]):
                axis.plot(line["batch"], line["images_per_second"], zorder=2, **looks)
            for row in _tuples(rows):
                ends = row.images_per_second_low, row.images_per_second_high
                _point(axis, row.batch, row.images_per_second, yerr=ends, face=_face(i, row.valid))
        axis.set_title(_short(model), loc="left")
        log_scale(axis, axis.yaxis, low, high, room=0.03)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
        log_scale(axis, axis.xaxis, batches[0], batches[-1], room=0.05)
        shown = batches if len(batches) <= 6 else batches[::-2][::-1]
        axis.xaxis.set_major_locator(FixedLocator(shown))
        axis.grid(True, axis="both")
    figure.supxlabel("batch size (log scale); hollow: invalid", fontsize=9)
    figure.supylabel("images a second (log scale)", fontsize=9)
    _legend(figure, series, lines=True)
    return figure


def accuracy(frame: pd.DataFrame) -> Figure:
    """Test error against the latency with one image: a panel a runtime, a point a model.

    Upright lines reach from the lowest to the highest run, level ones over the median's interval.
    """
    if frame.empty:
        return _empty("no latency of a model of the catalogue has been measured with one image")
    series, models = _series(frame), _models(frame)
    figure, axes = _grid(len(series), min(2, len(series)), height=3.1, sharex=False)
    for axis, one in zip(axes, series.values(), strict=True):
        rows = frame[(frame["runtime"] == one[0]) & (frame["device"] == one[1])]
        for row in _tuples(rows):
            median, low, high = (1e6 * getattr(row, f"median_{part}seconds") for part in ("", "low_", "high_"))
            error = 100 * row.test_error_mean
            runs = (100 * row.test_error_lowest, 100 * row.test_error_highest)
            face = _face(models.index(row.model), row.valid)
            _point(axis, median, error, xerr=(low, high), yerr=runs, face=face, colour=face["color"])
        axis.set_title(runtime(*one), loc="left")
        low, high = 1e6 * rows["median_low_seconds"].min(), 1e6 * rows["median_high_seconds"].max()
        log_scale(axis, axis.xaxis, low, high, room=0.06)
        axis.grid(True, axis="both")
        axis.yaxis.set_major_formatter("{x:g}")
    figure.supxlabel(
        "microseconds a call with one image (log scale): median with 95 % interval; hollow: invalid", fontsize=9
    )
    figure.supylabel("test error, %", fontsize=9)
    dots = [Line2D([], [], linestyle="", label=_short(model), **_face(i, True)) for i, model in enumerate(models)]
    legend_above(figure, dots)
    return figure


def _empty(text: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _series(frame: pd.DataFrame) -> dict[int, Series]:
    """The runtimes and devices of `frame` by the number of their looks: torch is always 0, ONNX Runtime always 1."""
    known = {("torch", "cpu"): 0, ("onnxruntime", "cpu"): 1}
    there = set(zip(frame["runtime"], frame["device"], strict=True))
    numbers = known | {one: 2 + i for i, one in enumerate(sorted(there - set(known)))}
    return {number: one for one, number in sorted(numbers.items(), key=lambda item: item[1]) if one in there}


def _models(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["model"]))


def _tuples(frame: pd.DataFrame) -> Any:
    return frame.itertuples(index=False)


def _stacked(panels: int, models: int, series: int) -> tuple[Figure, Sequence[Axes]]:
    """Panels one below the other, high enough for the lines of text beside each model."""
    height = 0.7 + panels * (0.6 + models * (0.12 + 0.15 * series))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(panels, 1, squeeze=False)[:, 0])


def _grid(panels: int, columns: int, height: float, sharex: bool = True) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side with axes in common, in as many rows as it takes."""
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(WIDTH, 0.7 + height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=True).ravel()
    for i, axis in enumerate(axes):
        axis.tick_params(labelbottom=not sharex or i + columns >= panels)
        if i >= panels:
            axis.remove()
    return figure, list(axes[:panels])


def _placed(
    panel: pd.DataFrame, models: list[str], series: dict[int, Series]
) -> list[tuple[Any, float, dict[str, Any]]]:
    """Each row of a panel with its height, in units of one model, and its looks."""
    order = list(series.items())
    step = 0.72 / len(order)
    placed = []
    for row in _tuples(panel):
        (k, i) = next((k, i) for k, (i, one) in enumerate(order) if one == (row.runtime, row.device))
        y = models.index(row.model) + (k - (len(order) - 1) / 2) * step
        placed.append((row, y, _face(i, row.valid)))
    return placed


def _face(i: int, valid: bool) -> dict[str, Any]:
    """How the points of the i-th runtime or model look: filled where valid, hollow where not."""
    colour = COLOURS[i % len(COLOURS)]
    edge = {"markerfacecolor": colour if valid else "white", "markeredgecolor": "black", "markeredgewidth": 0.8}
    return {"marker": MARKERS[i % len(MARKERS)], "markersize": 6, "color": colour, **edge}


def _point(
    axis: Axes,
    x: float,
    y: float,
    face: dict[str, Any],
    xerr: tuple[float, float] | None = None,
    yerr: tuple[float, float] | None = None,
    colour: str = "black",
) -> None:
    """A point with its intervals, given by their ends."""
    ends: dict[str, Any] = {
        name: np.clip([[at - pair[0]], [pair[1] - at]], 0, None)
        for name, at, pair in (("xerr", x, xerr), ("yerr", y, yerr))
        if pair is not None
    }
    axis.errorbar(x, y, fmt="none", ecolor=colour, elinewidth=1, capsize=4, zorder=4, **ends)
    axis.plot(x, y, zorder=3, **face)


def _value(axis: Axes, x: float, y: float, text: str) -> None:
    place: dict[str, Any] = {"xytext": (7, 0), "textcoords": "offset points", "va": "center_baseline"}
    axis.annotate(text, (x, y), fontsize=7.5, bbox=LABEL_BOX, zorder=5, **place)


def _rows(axis: Axes, models: list[str], title: str) -> None:
    """A row a model, from the top."""
    axis.set(ylim=(len(models) - 0.5, -0.5), yticks=range(len(models)), yticklabels=map(_short, models))
    axis.set_title(title, loc="left")
    axis.grid(True, axis="x")
    for y in range(1, len(models)):
        axis.axhline(y - 0.5, color="0.8", linewidth=0.6, linestyle=(0, (1, 3)), zorder=0)


def _short(model: str) -> str:
    return model if len(model) <= LONGEST else f"{model[: LONGEST // 2]}…{model[-LONGEST // 2 :]}"


def _legend(figure: Figure, series: dict[int, Series], *more: Patch, lines: bool = False) -> None:
    handles = [
        Line2D([], [], linestyle=DASHES[i % len(DASHES)] if lines else "", label=runtime(*one), **_face(i, True))
        for i, one in series.items()
    ]
    legend_above(figure, [*handles, *more])
