"""The picture of a history: a panel a series, sessions from left to right.

A point is a session's value with its 95 % interval, hollow if not valid. Horizontal lines are the levels, vertical ones
the changes, with their size. Letters over dotted lines mark sessions with other versions or settings than the one
before; the key is below the panels. All panels of a machine have the same sessions at the same places.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, groupby, pairwise
from statistics import median
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.history.output import percent
from bench.history.series import Examined, History, Point, circumstances, differences
from bench.history.sessions import Session
from bench.output.units import unit
from study.pictures import COLOURS, Look, drawn, legend_above, panels

ONE_PAGE = 12
"""Series that fit into one picture; more are drawn in one for each model, and for each so many."""
MOST_PAGES = 24
"""Pictures that are drawn at most, those with a change first."""
ONE_COLUMN, COLUMNS = 3, 2
"""Panels that stand in one column, and columns of more."""
HEIGHT = 1.75
"""Inches, of a panel."""
MARKS = 20
"""Marks that the key explains."""
LINE, TITLE = 118, 96
"""Characters in a line of the key, and of titles side by side."""
NARROWEST = 0.02
"""Half of the range of a panel, as a share of the values, so that noise of some per mille stays small."""
VALUE, CHANGE, LEVEL, MARK = COLOURS[0], COLOURS[3], "black", "0.45"
SMALL: Look = {"fontsize": 7.5}


@dataclass(frozen=True)
class Mark:
    """A session with other versions or settings than the one before."""

    place: int
    letter: str
    text: str


@dataclass(frozen=True)
class Machines:
    """The sessions of each machine, by its fingerprint."""

    sessions: dict[str, list[Session]]
    marks: dict[str, list[Mark]]

    @classmethod
    def of(cls, examined: Sequence[Examined]) -> "Machines":
        sessions: dict[str, list[Session]] = {}
        for machine, group in groupby(examined, key=lambda one: one.series.machine):
            own = {point.session.path: point.session for one in group for point in one.series.points}
            sessions[machine] = sorted(own.values(), key=lambda session: (session.time, str(session.path)))
        letters = map(letter, count())
        marks = {machine: list(_marks(own, letters)) for machine, own in sessions.items()}
        return cls(sessions, marks)


def letter(i: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    before = letter(i // 26 - 1) if i >= 26 else ""
    return before + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 26]


def _marks(sessions: Sequence[Session], letters: Iterator[str]) -> Iterator[Mark]:
    known = [circumstances(session.record.environment, None) for session in sessions]
    for place, (before, after) in enumerate(pairwise(known), 1):
        if changed := differences(before, after):
            yield Mark(place, next(letters), f"{sessions[place].time:%Y-%m-%d}: {', '.join(changed)}")


def pictures(history: History) -> Iterator[tuple[str, bytes]]:
    """The files, each with its name: history.svg and history.png, or history-MODEL and so on."""
    machines = Machines.of(history.examined)
    changed_first = sorted(pages(history.examined), key=lambda one: not any(each.changes for each in one[1]))
    for name, page in changed_first[:MOST_PAGES]:
        for suffix, content in drawn(partial(figure, page, machines)).items():
            yield f"{name}{suffix}", content


def left_out(history: History) -> int:
    """How many pictures are not drawn."""
    return max(0, sum(1 for _ in pages(history.examined)) - MOST_PAGES)


def pages(examined: Sequence[Examined]) -> Iterator[tuple[str, Sequence[Examined]]]:
    """The series of each picture, with its name."""
    if len(examined) <= ONE_PAGE:
        yield "history", examined
        return
    ordered = sorted(examined, key=lambda one: one.series.key.model)  # stable: two machines of a model follow
    for model, group in groupby(ordered, key=lambda one: one.series.key.model):
        own = list(group)
        parts = [own[i : i + ONE_PAGE] for i in range(0, len(own), ONE_PAGE)]
        for n, part in enumerate(parts, 1):
            yield f"history-{model}" + (f"-{n}" if len(parts) > 1 else ""), part


def figure(page: Sequence[Examined], machines: Machines) -> Figure:
    """A panel for each series, the legend above, and the key of the marks below."""
    shown = dict.fromkeys(one.series.machine for one in page)
    columns = 1 if len(page) <= ONE_COLUMN else COLUMNS
    made, axes = panels(len(page), HEIGHT, columns)
    for i, (axis, one) in enumerate(zip(axes, page, strict=True)):
        machine = one.series.machine
        _panel(axis, one, machines)
        title = "\n".join(wrap(one.series.name, TITLE // columns))
        axis.set_title(title, loc="left", fontsize=8.5)
        if len(shown) > 1:
            _label(axis, -0.6, 0.99, machine, fontsize=7, color=MARK, va="top", ha="left")
        elif i + columns < len(page):
            axis.tick_params(labelbottom=False)
    legend_above(made, list(_handles(page, machines)))
    marks = [mark for machine in shown for mark in machines.marks[machine]]
    key = [f"{mark.letter}  {mark.text}" for mark in marks[:MARKS]]
    key += [f"and {len(marks) - MARKS} more"] if len(marks) > MARKS else []
    cut = [text if len(text) <= LINE else f"{text[: LINE - 1]}…" for text in key]
    if cut:
        width, height = made.get_size_inches()
        made.set_size_inches(width, height + 0.15 * len(cut))
        made.supxlabel("\n".join(cut), x=0.01, ha="left", multialignment="left", **SMALL)
    return made


def _panel(axis: Axes, one: Examined, machines: Machines) -> None:
    sessions, marks = machines.sessions[one.series.machine], machines.marks[one.series.machine]
    places = {session.path: place for place, session in enumerate(sessions)}
    name, size = _unit(one)
    low, high = limits(one)
    axis.set(xlim=(-0.7, len(sessions) - 0.3), ylim=(low / size, high / size))
    for valid in (False, True):
        own = [point for point in one.series.points if point.valid == valid]
        _points(axis, [(places[point.session.path], point) for point in own], size, valid)
    for begin, end, value in levels(one):
        axis.hlines(value / size, places[begin.session.path], places[end.session.path], LEVEL, linewidth=1.1, zorder=3)
    for change in one.changes or ():
        x = places[change.after.session.path] - 0.5
        axis.axvline(x, color=CHANGE, linewidth=1.4, zorder=1)
        size_of = f" {percent(change.ratio.value)} ".replace("-", "\N{MINUS SIGN}")
        side = "right" if x > 0.75 * len(sessions) else "left"
        _label(axis, x, 0.93, size_of, color=CHANGE, fontsize=8, fontweight="bold", va="top", ha=side)
    for mark in marks:
        axis.axvline(mark.place - 0.5, color=MARK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
        _label(axis, mark.place - 0.5, 0.02, mark.letter, color="0.25", fontsize=7, va="bottom", ha="center")
    if one.changes is None:
        _label(
            axis,
            (len(sessions) - 1) / 2,
            0.99,
            "too few valid sessions",
            color="0.25",
            fontsize=7.5,
            va="top",
            ha="center",
        )
    axis.set_ylabel(name, fontsize=8)
    axis.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axis.grid(True, axis="y")
    ticks = sorted({0, (len(sessions) - 1) // 2, len(sessions) - 1})
    same_day = sessions[0].time.date() == sessions[-1].time.date()
    axis.set_xticks(ticks, [f"{sessions[i].time:{'%H:%M' if same_day else '%Y-%m-%d'}}" for i in ticks], fontsize=7.5)
    axis.tick_params(axis="y", labelsize=7.5)


def _label(axis: Axes, x: float, height: float, text: str, **look: Look) -> None:
    """A text on a white ground at a share of the panel's height."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
    axis.text(x, height, text, transform=axis.get_xaxis_transform(), bbox=box, zorder=5, **look)


def _points(axis: Axes, points: Sequence[tuple[int, Point]], size: float, valid: bool) -> None:
    """The points of one kind; those beyond the panel are triangles at its edge."""
    low, high = axis.get_ylim()
    look: Look = {"color": VALUE if valid else MARK, "markerfacecolor": VALUE if valid else "white", "zorder": 2}
    look |= {"linestyle": "none", "markeredgewidth": 0.8}
    for x, point in points:
        value, begin, end = (number / size for number in (point.value.value, point.value.low, point.value.high))
        if low <= value <= high:
            axis.errorbar(
                x, value, [[value - begin], [end - value]], marker="o", markersize=3.2, elinewidth=0.8, **look
            )
        else:
            edge = min(max(value, low), high)
            axis.plot(x, edge, marker="^" if value > high else "v", markersize=5, clip_on=False, **look)


def levels(one: Examined) -> Iterator[tuple[Point, Point, float]]:
    """Each level with its first and last valid session; of a series without a change that of all."""
    valid = one.series.valid
    if not valid:
        return
    starts = [0, *(valid.index(change.after) for change in one.changes or ()), len(valid)]
    for begin, end in pairwise(starts):
        logs = [math.log(point.value.value) for point in valid[begin:end]]
        yield valid[begin], valid[end - 1], math.exp(sum(logs) / len(logs))


def limits(one: Examined) -> tuple[float, float]:
    """The range of a panel: the levels and the valid values, but for odd ones far from their level."""
    valid = one.series.valid or one.series.points
    middles = [value for _, _, value in levels(one)] or [median(point.value.value for point in valid)]
    near = [min(abs(math.log(point.value.value / middle)) for middle in middles) for point in valid]
    reach = max(NARROWEST, 6 * median(near))
    kept = [point.value.value for point, distance in zip(valid, near, strict=True) if distance <= reach]
    half = median(math.log(point.value.high / point.value.low) / 2 for point in valid)
    low = min(*kept, *middles, min(middles) * math.exp(-NARROWEST)) * math.exp(-half)
    high = max(*kept, *middles, max(middles) * math.exp(NARROWEST)) * math.exp(half)
    span = high - low
    return low - 0.1 * span, high + 0.18 * span  # room for letters below and for sizes above


def _unit(one: Examined) -> tuple[str, float]:
    """Name and size of the unit of the vertical axis."""
    if one.series.reference is not None:
        return "times as fast", 1.0
    name, size = unit([point.value.value for point in one.series.points])
    return name, size


def _handles(page: Sequence[Examined], machines: Machines) -> Iterator[Line2D]:
    """What the page shows."""
    points = [point for one in page for point in one.series.points]
    yield Line2D([], [], color=VALUE, marker="o", markersize=3.2, linewidth=0.8, label="session with 95 % interval")
    if not all(point.valid for point in points):
        yield Line2D(
            [], [], color=MARK, marker="o", markersize=3.2, markerfacecolor="white", linewidth=0.8, label="not valid"
        )
    yield Line2D([], [], color=LEVEL, linewidth=1.1, label="level")
    if any(one.changes for one in page):
        yield Line2D([], [], color=CHANGE, linewidth=1.4, label="change")
    if any(machines.marks[one.series.machine] for one in page):
        yield Line2D([], [], color=MARK, linewidth=0.9, linestyle=(0, (1, 2)), label="other versions or settings")
