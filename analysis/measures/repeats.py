"""Repeats: several processes, or several sessions, that measured the same, as one value with its interval.

Of sessions, each with an interval over its processes, the session is the unit: with three or more the interval is
Student's over the logarithms of their values, so it also covers what differs from session to session. Two are too few
(t would be 12.7): theirs is the hull of both.
"""

from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from study.records.base import Interval
from study.records.bench import WorkerProcess
from study.student import Estimate, arithmetic_interval, mean_interval

FEWEST_SESSIONS = 3
P = TypeVar("P", bound=WorkerProcess)


def counted(processes: Sequence[P]) -> list[P]:
    """The processes whose values are in a record's intervals: the valid ones; if there are none, all."""
    return [process for process in processes if process.valid] or list(processes)


def together(intervals: Sequence[Interval]) -> Interval:
    """The geometric mean of the sessions' values, one interval each, and its interval; of one session its own."""
    if len(intervals) == 1:
        return intervals[0]
    found = mean_interval([one.value for one in intervals])
    if len(intervals) >= FEWEST_SESSIONS:
        return found
    return replace(found, low=min(one.low for one in intervals), high=max(one.high for one in intervals))


def together_of_either_sign(estimates: Sequence[Estimate]) -> Estimate:
    """The same of values that may be below 0: their arithmetic mean."""
    if len(estimates) == 1:
        return estimates[0]
    found = arithmetic_interval([one.value for one in estimates])
    if len(estimates) >= FEWEST_SESSIONS:
        return found
    return Estimate(found.value, min(one.low for one in estimates), max(one.high for one in estimates))
