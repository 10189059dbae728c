"""From what a profiler records to the time of each operator without the profiler, and the time outside of them.

In a recorded call of w seconds with n events the profiler took a + n c, both calibrated. An operator with m events was
recorded with d seconds; d - (m - 1 + s) c are its own, where s is the share of an event's cost within its own time.
The rest of w - a - n c is outside of the operators. So all of it adds up to a call without the profiler if a and c are
known exactly; how far it does not is reported.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAREST = 0.2
"""Share of the recorded calls that the operators are of: those whose times are nearest to the median."""


@dataclass(frozen=True)
class Event:
    """One operator in one recorded call."""

    name: str
    kind: str
    seconds: float
    """As the profiler has it, with its cost."""
    events: int = 1
    """Events of the profiler in this time: this one, and those of the operators that it calls."""
    kernel: str | None = None


@dataclass(frozen=True)
class Operator:
    """One operator of a call."""

    name: str
    kind: str
    seconds: float
    """Without the cost of the profiler."""
    kernel: str | None = None
    module: str | None = None


@dataclass(frozen=True)
class Cost:
    """What a profiler costs, in seconds."""

    call: float
    event: float
    own_share: float
    """Part of an event's cost that lies within its own time."""


@dataclass(frozen=True)
class Accounts:
    """Where the time of a call goes."""

    operators: tuple[Operator, ...]
    outside: float
    """Seconds outside of the operators."""
    events: int
    """Of a call."""

    @property
    def total(self) -> float:
        return sum(one.seconds for one in self.operators) + self.outside


def accounts(calls: Sequence[Sequence[Event]], walls: Sequence[float], cost: Cost) -> Accounts:
    """The mean over the calls that take about the median, so that the operators add up to these calls.

    Args:
        walls: seconds of each recorded call.
    """
    near = around_median(walls)
    alike = len({tuple((one.name, one.kind) for one in calls[i]) for i in near}) == 1
    rows = [calls[i] for i in near]
    first = [list(column) for column in zip(*rows, strict=True)] if alike else _by_name(rows)
    operators = tuple(
        Operator(
            several[0].name,
            several[0].kind,
            max(0.0, sum(one.seconds - (one.events - 1 + cost.own_share) * cost.event for one in several) / len(rows)),
            several[0].kernel,
        )
        for several in first
    )
    events = sum(one.events for row in rows for one in row) / len(rows)
    total = float(np.mean(np.asarray(walls)[near])) - cost.call - events * cost.event
    return Accounts(operators, max(0.0, total - sum(one.seconds for one in operators)), round(events))


def around_median(walls: Sequence[float]) -> NDArray[np.intp]:
    """The calls whose times are nearest to the median: some of the others were interrupted."""
    distance = np.abs(np.asarray(walls) - np.median(walls))
    return np.argsort(distance, kind="stable")[: max(1, round(NEAREST * len(walls)))]


def _by_name(rows: Sequence[Sequence[Event]]) -> list[list[Event]]:
    """The events of calls that run different operators."""
    found: dict[tuple[str, str], list[Event]] = {}
    for one in (one for row in rows for one in row):
        found.setdefault((one.name, one.kind), []).append(one)
    return list(found.values())


@dataclass(frozen=True)
class Slowed:
    """How a profiler slows a graph down."""

    plain: float
    """Seconds of a call without it."""
    recorded: float
    """Seconds of a call with it."""
    events: int

    @property
    def slower(self) -> float:
        return self.recorded - self.plain


def calibrated(small: Slowed, large: Slowed, own_share: float, most_per_call: float = math.inf) -> Cost:
    """What an event and a call cost, from the same graph in two lengths.

    Args:
        most_per_call: the most that a call can cost beside its events, in events; more is noise, of which the events
            then take their part.
    """
    event = max(0.0, (large.slower - small.slower) / (large.events - small.events))
    call = max(0.0, small.slower - small.events * event)
    if call > most_per_call * event:
        event = (small.slower + large.slower) / (small.events + large.events + 2 * most_per_call)
        call = most_per_call * event
    return Cost(call, event, own_share)
