"""Student's interval of a few values, and the verdict on the ratio that it belongs to."""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from study.records.base import Interval
from study.records.bench import Verdict

CONFIDENCE = 0.95


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The geometric mean of independent `values`, with Student's interval for the mean of their logarithms.

    exp(m -+ t(N - 1) s / sqrt(N)), m and s the mean and standard deviation of the N logarithms. Of a single value the
    interval is that value: the caller has to say that it is not valid.
    """
    logs = np.log(np.asarray(values, dtype=np.float64))
    n, mean = len(logs), float(np.mean(logs))
    half = half_width(float(np.std(logs, ddof=1)), n, confidence) if n > 1 else 0.0
    return Interval(value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half))


class Estimate(NamedTuple):
    """A value of either sign and the ends of its interval."""

    value: float
    low: float
    high: float


def arithmetic_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of independent `values` [N] of either sign, with Student's interval; of a single value that value."""
    given = np.asarray(values, dtype=np.float64)
    n, mean = len(given), float(np.mean(given))
    half = half_width(float(np.std(given, ddof=1)), n, confidence) if n > 1 else 0.0
    return Estimate(mean, mean - half, mean + half)


def half_width(deviation: float, n: int, confidence: float = CONFIDENCE) -> float:
    """Half the width of Student's interval for the mean of `n` values with this standard deviation."""
    return student(n, confidence) * deviation / math.sqrt(n)


@cache
def student(n: int, confidence: float = CONFIDENCE) -> float:
    """The quantile t(n - 1) of Student's distribution for a two-sided interval from `n` values."""
    from scipy.special import stdtrit  # imported here to keep --help fast; scipy.stats takes a second more

    return float(stdtrit(n - 1, (1 + confidence) / 2))


def verdict(ratio: Interval, margin: float) -> Verdict:
    """The verdict on a runtime, from the ratio of the reference's time to its own, with its 95 % interval.

    "the same" is an equivalence shown: the interval includes 1 and lies within 1 / (1 + margin) and 1 + margin. (Two
    one-sided tests at 5 % would do with the 90 % interval; the wider one is on the safe side: Schuirmann, Journal of
    Pharmacokinetics and Biopharmaceutics 15(6), 1987.)
    """
    if ratio.low > 1:
        return "faster"
    if ratio.high < 1:
        return "slower"
    return "the same" if 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin else "undecided"
