"""Repeats: several sessions that measured the same, each with a 95 % interval over its processes, as one value.

The session is then the unit: with three or more the interval is Student's over the logarithms of their values, so it
also covers what differs from session to session. Two are too few (t would be 12.7): theirs is the hull of both.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from study.records.base import Interval
from study.records.bench import Verdict

FEWEST_SESSIONS = 3


def together(intervals: Sequence[Interval]) -> Interval:
    """The geometric mean of the sessions' values, one interval each, and its interval; of one session its own."""
    lows, highs = [one.low for one in intervals], [one.high for one in intervals]
    if len(intervals) == 1:
        return intervals[0]
    logs = np.log([one.value for one in intervals])
    n, mean = len(logs), float(np.mean(logs))
    if n < FEWEST_SESSIONS:
        return Interval(value=math.exp(mean), low=min(lows), high=max(highs))
    half = float(stdtrit(n - 1, 0.975)) * float(np.std(logs, ddof=1)) / math.sqrt(n)
    return Interval(value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half))


def verdict(ratio: Interval, margin: float) -> Verdict:
    """The verdict on a ratio of times by the rule of the bench, which gives that of one session with its record."""
    if ratio.low > 1:
        return "faster"
    if ratio.high < 1:
        return "slower"
    return "the same" if 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin else "undecided"


def ratio_of(value: Interval, reference: Interval) -> Interval:
    """`value` / `reference`, with MOVER's interval on logarithms (Zou & Donner, Statistics in Medicine 27, 2008).

    The interval assumes that the two are independent; if they rise and fall together, it is too wide.
    """
    log = math.log(value.value / reference.value)
    below = math.hypot(math.log(value.value / value.low), math.log(reference.high / reference.value))
    above = math.hypot(math.log(value.high / value.value), math.log(reference.value / reference.low))
    return Interval(value=math.exp(log), low=math.exp(log - below), high=math.exp(log + above))
