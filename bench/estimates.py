"""Estimates over processes: the fresh process is the unit of every interval and verdict.

Whatever a process does to an engine (addresses, the order of its loads, the state of the allocator) is the same in all
its calls, so calls and blocks of one process say nothing about it. Hence the interval is Student's, over processes.
"""

import math
from collections.abc import Sequence

import numpy as np

from study.records.base import Interval
from study.records.bench import Verdict

CONFIDENCE = 0.95
FEWEST_PROCESSES = 5
"""Of a valid measurement. Student's interval of fewer is wide, and rests on the shape of the distribution."""


def over_processes(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The geometric mean of `values`, one a process, with Student's interval for the mean of their logarithms.

    exp(m -+ t(N - 1) s / sqrt(N)), m and s the mean and standard deviation of the N logarithms. Of a single value the
    interval is that value: who calls it has to say that it is not valid.
    """
    logs = np.log(np.asarray(values, dtype=np.float64))
    n, mean = len(logs), float(np.mean(logs))
    half = half_width(float(np.std(logs, ddof=1)), n, confidence) if n > 1 else 0.0
    return Interval(value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half))


def half_width(deviation: float, processes: int, confidence: float = CONFIDENCE) -> float:
    """Half the width of Student's interval for the mean of so many values with this standard deviation."""
    from scipy.stats import t  # imported here to keep --help fast

    return float(t.ppf((1 + confidence) / 2, processes - 1)) * deviation / math.sqrt(processes)


def verdict(ratio: Interval, margin: float) -> Verdict:
    """The verdict on a runtime, from the ratio of the reference's time to its own, with its 95 % interval.

    "the same" is an equivalence shown: the interval includes 1 and lies within 1 / (1 + margin) and 1 + margin.
    """
    if ratio.low > 1:
        return "faster"
    if ratio.high < 1:
        return "slower"
    return "the same" if 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin else "undecided"
