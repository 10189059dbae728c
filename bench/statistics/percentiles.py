"""Percentiles of the calls of several processes, with intervals that respect that calls of one process are alike."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from study.records.base import Interval
from study.student import student

FEWEST_SAMPLES: dict[float, int] = {50: 6, 90: 64, 95: 130, 99: 662, 99.9: 6636}
"""Minimum sample count for each reported percentile. For the tail: MLPerf's early-stopping rule. For the median: the
smallest sample whose extremes are a 95 % interval (2 * 0.5**6 < 0.05)."""
NAMES = {50: "median", 90: "p90", 95: "p95", 99: "p99", 99.9: "p999"}
"""Names of the percentiles in the records."""


def percentile_over_processes(processes: Sequence[ArrayLike], percent: float) -> Interval | None:
    """The `percent`-th percentile of all calls, with its 95 % interval over the processes; None if they are too few.

    The value is the percentile of the calls of all processes together: one process may have too few. The interval is
    the wider, on each side, of two: Student's from the processes' own percentiles, value * exp(-+ t s / sqrt(N)); and
    Woodruff's from the share of each process's calls up to the value, on logits, at least as wide as the binomial
    distribution has it (Woodruff, "Confidence intervals for medians and other position measures", Journal of the
    American Statistical Association 47, 1952). The first fails where some processes have a burst of slow calls and
    others have none; the second where the tail is that of the slowest process. docs/method.md has their coverage.

    Args:
        processes: seconds of the calls of each process.
    """
    from scipy.special import expit, logit

    pooled = np.concatenate([np.asarray(samples, dtype=np.float64) for samples in processes])
    if len(pooled) < FEWEST_SAMPLES[percent]:
        return None
    share, n = percent / 100, len(processes)
    value = float(np.quantile(pooled, share))
    if n == 1:
        return Interval(value=value, low=value, high=value)
    own = np.log([np.quantile(np.asarray(samples), share) for samples in processes])
    below = [np.mean(np.asarray(samples) <= value) for samples in processes]
    chance = math.sqrt(share * (1 - share) / len(pooled))
    factor = student(n)
    half = factor * float(np.std(own, ddof=1)) / math.sqrt(n)
    reach = factor * max(float(np.std(below, ddof=1)) / math.sqrt(n), chance) / (share * (1 - share))
    low, high = np.quantile(pooled, expit(logit(share) + np.array([-reach, reach])))
    return Interval(
        value=value, low=min(float(low), value * math.exp(-half)), high=max(float(high), value * math.exp(half))
    )
