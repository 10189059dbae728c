"""Estimates over processes: the fresh process is the unit of every interval and verdict.

Whatever a process does to an engine (addresses, the order of its loads, the state of the allocator) is the same in all
its calls, so calls and blocks of one process say nothing about it. Hence the interval is Student's, over processes.
"""

import math
from collections.abc import Sequence

import numpy as np

from study.records.base import Interval
from study.student import half_width, mean_interval, student

FEWEST_PROCESSES = 5
"""Of a valid measurement. Student's interval of fewer is wide, and rests on the shape of the distribution."""
CONTROL_CONFIDENCE, CONTROL_DEVIATION = 0.9995, 0.005
"""A control fails if it differs from 1 at this confidence and by this share. A comparison has two controls, so that at
most one comparison in a thousand fails by chance. The machine's real differences between two loads of one engine, below
half a per cent, are no reason to withhold a ratio."""
CONTRADICTION = 0.01
"""Smallest difference of the paired and the unpaired ratio, as a share, that makes a comparison invalid."""
DRAWS = 20_000


def control_holds(values: Sequence[float]) -> bool:
    """Whether an engine timed against itself, one ratio a process, is consistent with 1; true for a single process."""
    if len(values) < 2:
        return True
    logs = np.log(np.asarray(values, dtype=np.float64))
    half = half_width(float(np.std(logs, ddof=1)), len(logs), CONTROL_CONFIDENCE)
    return abs(float(np.mean(logs))) <= max(half, math.log1p(CONTROL_DEVIATION))


def contradicts(paired: Interval, unpaired: Interval) -> bool:
    """Whether the ratio of the paired measurement and that of the two cases measured apart exclude each other.

    Their 95 % intervals have no number in common, and the values differ by over 1 %.
    """
    apart = paired.high < unpaired.low or unpaired.high < paired.low
    return apart and abs(math.log(paired.value / unpaired.value)) > math.log1p(CONTRADICTION)


def combined(ratios: Sequence[Interval]) -> Interval:
    """The geometric mean of one ratio over several sessions, with Student's 95 % interval: the session is the unit.

    Each counts the same. Weights from variances on four degrees of freedom would favour sessions whose processes agree
    by chance.
    """
    return mean_interval([ratio.value for ratio in ratios])


def homogeneity(
    ratios: Sequence[Interval], processes: Sequence[int], seed: int = 0, draws: int = DRAWS
) -> tuple[float, float]:
    """Cochran's Q of the ratios of several sessions, and the probability of so large a Q if all are the same.

    Q is the sum of (ln ratio - weighted mean)^2 / variance. Its chi-squared distribution assumes known variances: with
    20 sessions of 5 processes it rejects half of all true hypotheses at 5 %, and Welch's F rejects 14 %. So the
    probability is from a parametric bootstrap, which draws means and variances: Krishnamoorthy, Lu and Mathew, "A
    parametric bootstrap approach for ANOVA with unequal variances", Computational Statistics & Data Analysis 51(12),
    2007.

    Args:
        ratios: with Student's 95 % intervals, as from `mean_interval`; their widths must not be 0.
        processes: number of processes behind each ratio, at least 2.
        seed: of the bootstrap, as `draws`.
    """
    generator = np.random.default_rng(seed)
    logs = np.log([ratio.value for ratio in ratios])
    halves = np.log([ratio.high / ratio.low for ratio in ratios]) / 2
    variances = (halves / [student(n) for n in processes]) ** 2
    freedom = np.asarray(processes) - 1
    q = float(_q(logs, variances))
    means = generator.normal(0, np.sqrt(variances), (draws, len(logs)))
    drawn = _q(means, variances * generator.chisquare(freedom, (draws, len(logs))) / freedom)
    return q, float(np.mean(drawn >= q))


def _q(means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Cochran's Q over the last axis."""
    weights = 1 / variances
    centre = np.sum(weights * means, -1, keepdims=True) / np.sum(weights, -1, keepdims=True)
    q: np.ndarray = np.sum(weights * (means - centre) ** 2, -1)
    return q
