"""The pictures of measurements: latency, speed-up, items per second, and accuracy against latency.

A runtime has the same colour and marker in all of them, and invalid measurements are hollow. Axes of times, ratios and
items per second are logarithmic, so that equal ratios are equal distances. Intervals are over the processes.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator
from numpy.typing import NDArray

from analysis.tables import headline
from analysis.tables.numbers import TIMES, interval, runtime
from study.families import family
from study.pictures import COLOURS, Look, empty, legend_above, line, log_scale, name_rows, panels, point

Series = tuple[str, str]
"""A runtime and its device."""

PICTURES = ("latency", "comparisons", "images_per_second", "accuracy")
LONGEST = 24
"""Characters of a model's name; a longer one loses its middle."""
MARGIN: Look = {"facecolor": "0.8", "edgecolor": "0.45", "linewidth": 0.8}
UNPAIRED: Look = {"color": "0.35", "marker": "|", "markersize": 14, "markeredgewidth": 1.2, "linestyle": ""}
INVALID = "hollow: invalid"
PANELS = 4
"""Batch sizes in a picture at most that has a panel for each; the pictures over the batch size have all."""
BEST = ", best against best"
"""Behind an engine's name."""


def latency(frame: pd.DataFrame) -> Figure:
    """Time of one call by model and runtime: a panel a batch size, each median with its interval."""
    rows = in_microseconds(headline.cases(frame))
    if rows.empty:
        return empty("no latency was measured")
    texts = [f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in rows["value"]]
    limits = {batch: (own["low"].min(), own["high"].max()) for batch, own in rows.groupby("batch")}
    figure, axes = _intervals(rows.assign(text=texts), limits)
    axes[-1].set_xlabel(f"microseconds a call (log scale): median with 95 % interval; {INVALID}")
    legend(figure, series_of(rows))
    return figure


def comparisons(frame: pd.DataFrame) -> Figure:
    """Speed-up over the reference by model and runtime: a panel a batch size.

    Best against best is a series of its own, beside the engines as they are; other settings are then left out. The grey
    band around 1 is a comparison's margin m, from 1 / (1 + m) to 1 + m: an interval within it is "the same". A tick is
    the ratio of the medians, measured apart.
    """
    rows = headline.comparisons(frame)
    if rows.empty:
        return empty("no runtimes were compared")
    references, rows = list(dict.fromkeys(rows.loc[~rows["best"], "reference"])), _with_best(rows)
    texts = [interval(row.ratio, row.low, row.high, ".2f", unit=TIMES) for row in tuples(rows)]
    rows = rows.assign(value=rows["ratio"], valid=rows["verdict"] != headline.WITHHELD, text=texts)
    widest = 1 + rows["margin"].max()
    limits = (
        min(rows[["low", "unpaired_ratio"]].min().min(), 1 / widest),
        max(rows[["high", "unpaired_ratio"]].max().max(), widest),
    )
    figure, axes = _intervals(rows, dict.fromkeys(set(rows["batch"]), limits))
    for axis in axes:
        axis.axvline(1, color="black", linewidth=0.8, zorder=1)
    axes[0].set_title("speed-up (95 % interval)", loc="right", fontsize=8)
    against = runtime(references[0]) if len(references) == 1 else "the reference"
    what = ": ratio with 95 % interval"
    if rows["runtime"].str.endswith(BEST).any():
        against, what = f"{against} or its best setting", ""  # a line is not wider than the picture
    axes[-1].set_xlabel(f"times as fast as {against} (log scale){what}; hollow: verdict withheld")
    margins = [f"{100 * margin:g}" for margin in sorted(set(rows["margin"]))]
    more: list[Artist] = [Patch(label=f"margin of {' or '.join(margins)} %", **MARGIN)]
    if rows["unpaired_ratio"].notna().any():
        more.append(Line2D([], [], label="ratio of the medians", **UNPAIRED))
    legend(figure, series_of(rows), *more)
    return figure


def _with_best(rows: pd.DataFrame) -> pd.DataFrame:
    """The headline rows with those of best against best as runtimes of their own, instead of other settings."""
    best, plain = rows[rows["best"].astype(bool)], headline.as_they_are(rows)
    if best.empty:
        return rows
    names = [runtime(family(name)) + BEST for name in best["runtime"]]
    return pd.concat([rows[plain], best.assign(runtime=names)], ignore_index=True)


def _intervals(rows: pd.DataFrame, limits: dict[Any, tuple[float, float]]) -> tuple[Figure, Sequence[Axes]]:
    """A panel a batch size (of `PANELS`), with these limits; a row a model; a point a runtime, interval and text.

    A panel is as high as its own runtimes need: often all settings are measured with one item, and two with more.
    """
    series, models, batches = series_of(rows), _models(rows), sorted(limits)
    looks = {one: number for number, one in series.items()}
    if len(batches) > PANELS:
        batches = [batches[i] for i in np.linspace(0, len(batches) - 1, PANELS).round().astype(int)]
    there = [series_of(rows[rows["batch"] == batch]) for batch in batches]
    figure, axes = panels(len(batches), [0.6 + len(models) * (0.12 + 0.15 * len(own)) for own in there])
    for axis, batch, own_series in zip(axes, batches, there, strict=True):
        texts: list[tuple[float, str]] = []
        step = 0.72 / len(own_series)
        for k, (number, own) in enumerate(by_series(rows[rows["batch"] == batch], own_series)):
            y = np.array([models.index(model) for model in own["model"]]) + (k - (len(own_series) - 1) / 2) * step
            if "margin" in own:
                widest = 1 + own["margin"].to_numpy(float)
                axis.barh(y, widest - 1 / widest, step, left=1 / widest, zorder=2, **MARGIN)
                axis.plot(own["unpaired_ratio"], y, zorder=3, **UNPAIRED)
            interval_points(axis, triples(own), triples(y), looks[own_series[number]], own["valid"])
            texts += zip(y.tolist(), own["text"], strict=True)
        name_rows(axis, [short(model) for model in models], texts)
        axis.set_title(f"batch {batch}", loc="left")
        log_scale(axis, axis.xaxis, *limits[batch], room=0.03)
    if len(batches) < len(limits):
        figure.supxlabel(f"{len(batches)} of {len(limits)} batch sizes; the table has all", fontsize=9)
    return figure, axes


def images_per_second(frame: pd.DataFrame) -> Figure:
    """Items per second over the batch size: a panel a model, a line a runtime, with the interval at each point."""
    if frame.empty:
        return empty("no latency was measured")
    series, models, batches = series_of(frame), _models(frame), sorted(set(frame["batch"]))
    figure, axes = panels(len(models), 2.2, min(3, len(models)), sharex=True, sharey=True)
    low, high = frame["images_per_second_low"].min(), frame["images_per_second_high"].max()
    for axis, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model]
        for i, rows in by_series(own, series):
            for _, measured in rows.groupby(["threads", "mode"]):
                axis.plot(measured["batch"], measured["images_per_second_at_median"], zorder=2, **line(i))
            y = rows[["images_per_second_at_median", "images_per_second_low", "images_per_second_high"]]
            interval_points(axis, triples(rows["batch"]), y.to_numpy(float), i, rows["valid"])
        axis.set_title(short(model), loc="left")
        log_scale(axis, axis.yaxis, low, high, room=0.03)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
        batch_axis(axis, batches)
    figure.supxlabel(f"batch size (log scale); {INVALID}", fontsize=9)
    figure.supylabel("items per second, one call after the other (log scale)", fontsize=9)
    legend(figure, series, lines=True)
    return figure


def batch_axis(axis: Axes, batches: Sequence[int]) -> None:
    """A logarithmic x axis of batch sizes, in their order, with ticks at most of them, and a grid."""
    log_scale(axis, axis.xaxis, batches[0], batches[-1], room=0.05)
    axis.xaxis.set_major_locator(FixedLocator(batches if len(batches) <= 6 else batches[::-2][::-1]))
    axis.grid(True, axis="both")


def accuracy(frame: pd.DataFrame) -> Figure:
    """Test error against the latency with one image: a panel a runtime, a point a model.

    Vertical lines reach from the lowest to the highest run, horizontal ones over the median's interval.
    """
    if frame.empty:
        return empty("no latency of a model of the catalogue was measured with one image")
    frame = in_microseconds(frame)
    series, models = series_of(frame), _models(frame)
    figure, axes = panels(len(series), 3.1, min(2, len(series)), sharey=True)
    for axis, (i, rows) in zip(axes, by_series(frame, series), strict=True):
        for row in tuples(rows):
            x = np.array([[row.value, row.low, row.high]])
            y = 100 * np.array([[row.test_error_mean, row.test_error_lowest, row.test_error_highest]])
            look = models.index(row.model)
            interval_points(axis, x, y, look, [row.valid], line(look)["color"])
        axis.set_title(runtime(*series[i]), loc="left")
        log_scale(axis, axis.xaxis, rows["low"].min(), rows["high"].max(), room=0.06)
        axis.grid(True, axis="both")
        axis.yaxis.set_major_formatter("{x:g}")
    label = f"microseconds a call with one image (log scale): median with 95 % interval; {INVALID}"
    figure.supxlabel(label, fontsize=9)
    figure.supylabel("test error, %", fontsize=9)
    legend_above(
        figure, [Line2D([], [], linestyle="", label=short(model), **point(i)) for i, model in enumerate(models)]
    )
    return figure


def series_of(frame: pd.DataFrame) -> dict[int, Series]:
    """The runtimes and devices of `frame` by the number of their looks: torch is always 0, ONNX Runtime always 1.

    Further settings of these two engines on the CPU have the engine's colour, with another marker: that of the numbers
    8, 16 and so on beyond. They follow their engine; other runtimes come last.
    """
    there = set(zip(frame["runtime"], frame["device"], strict=True))
    numbers: dict[Series, int] = {}
    for first, engine in enumerate(("torch", "onnxruntime")):
        settings = sorted(one for one in there if one[1] == "cpu" and family(one[0]) == engine and one[0] != engine)
        numbers |= {one: first + i * len(COLOURS) for i, one in enumerate([(engine, "cpu"), *settings])}
    free = (number for number in count(2) if number not in numbers.values())
    numbers |= dict(zip(sorted(there - set(numbers)), free, strict=False))
    return {number: one for one, number in numbers.items() if one in there}


def by_series(frame: pd.DataFrame, series: dict[int, Series]) -> Iterator[tuple[int, pd.DataFrame]]:
    for i, (name, device) in series.items():
        yield i, frame[(frame["runtime"] == name) & (frame["device"] == device)]


def _models(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame["model"]))


def tuples(frame: pd.DataFrame) -> Any:
    return frame.itertuples(index=False)


def in_microseconds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the median as `value` and its interval, in microseconds."""
    columns = {"value": "median_seconds", "low": "median_low_seconds", "high": "median_high_seconds"}
    return rows.assign(**{name: 1e6 * rows[column] for name, column in columns.items()})


def triples(values: "pd.DataFrame | pd.Series[Any] | NDArray[np.float64]") -> NDArray[np.float64]:
    """[N, 3]: the columns value, low and high of a frame, or values [N] that have no interval."""
    if isinstance(values, pd.DataFrame):
        return values[["value", "low", "high"]].to_numpy(float)
    return np.repeat(np.asarray(values, float)[:, None], 3, axis=1)


def interval_points(
    axis: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    look: int,
    valid: Iterable[bool],
    colour: str = "black",
) -> None:
    """Points with their intervals, [N, 3] each (value, low, high), in few artists, which are drawn sooner than many."""
    for name, each in (("xerr", x), ("yerr", y)):
        there = each[:, 1] < each[:, 2]
        if there.any():
            at, low, high = each[there].T
            spans: Look = {name: np.clip([at - low, high - at], 0, None)}
            axis.errorbar(
                x[there, 0], y[there, 0], fmt="none", ecolor=colour, elinewidth=1, capsize=4, zorder=4, **spans
            )
    filled = np.array(list(valid), bool)
    for kind in (True, False):
        own = filled == kind
        if own.any():
            axis.plot(x[own, 0], y[own, 0], zorder=3, **(point(look, kind) | {"linestyle": ""}))


def short(model: str) -> str:
    return model if len(model) <= LONGEST else f"{model[: LONGEST // 2]}…{model[-LONGEST // 2 :]}"


def legend(figure: Figure, series: dict[int, Series], *more: Artist, lines: bool = False) -> None:
    handles = [
        Line2D([], [], label=runtime(*one), **line(i) | point(i) | ({} if lines else {"linestyle": ""}))
        for i, one in series.items()
    ]
    legend_above(figure, [*handles, *more])
