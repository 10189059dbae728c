"""Repeats: several processes, or several sessions, that measured the same, as one value with its interval.

Of sessions, each with an interval over its processes, the session is the unit: with three or more the interval is
Student's over the logarithms of their values, so it also covers what differs from session to session. Two are too few
(t would be 12.7): theirs is the hull of both.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from msgspec.structs import replace
from scipy.special import stdtrit

from study.records.base import Interval
from study.records.bench import Verdict, WorkerProcess

FEWEST_SESSIONS = 3
P = TypeVar("P", bound=WorkerProcess)


def counted(processes: Sequence[P]) -> list[P]:
    """The processes whose values are in a record's intervals: the valid ones; if there are none, all."""
    return [process for process in processes if process.valid] or list(processes)


def together(intervals: Sequence[Interval]) -> Interval:
    """The geometric mean of the sessions' values, one interval each, and its interval; of one session its own."""
    if len(intervals) == 1:
        return intervals[0]
    found = over([one.value for one in intervals])
    if len(intervals) >= FEWEST_SESSIONS:
        return found
    return replace(found, low=min(one.low for one in intervals), high=max(one.high for one in intervals))


def over(values: Sequence[float]) -> Interval:
    """The geometric mean, with Student's 95 % interval for the mean of the logarithms; of one value without width."""
    logs = np.log(values)
    n, mean = len(logs), float(np.mean(logs))
    half = float(stdtrit(n - 1, 0.975)) * float(np.std(logs, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return Interval(value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half))


def verdict(ratio: Interval, margin: float) -> Verdict:
    """The verdict on a ratio of times by the rule of the bench, which gives that of one session with its record."""
    if ratio.low > 1:
        return "faster"
    if ratio.high < 1:
        return "slower"
    return "the same" if 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin else "undecided"
