"""Percentiles of latencies, with distribution-free intervals."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from study.records.base import Interval

FEWEST_SAMPLES: dict[float, int] = {50: 6, 90: 64, 95: 130, 99: 662, 99.9: 6636}
"""Minimum sample count for each reported percentile. For the tail: MLPerf's early-stopping rule. For the median: the
smallest sample whose extremes are a 95 % interval (2 * 0.5**6 < 0.05)."""
NAMES = {50: "median", 90: "p90", 95: "p95", 99: "p99", 99.9: "p999"}
"""Names of the percentiles in the records."""


def percentile(samples: Sequence[float], percent: float) -> Interval | None:
    """The `percent`-th percentile of `samples` with its 95 % interval, or None if there are too few of them.

    The interval runs from the l-th to the u-th smallest sample, where at most 2.5 % of the binomial distribution
    B(n, percent / 100) lies below l and at most 2.5 % at u or above (David & Nagaraja, Order Statistics, 7.1).
    """
    n = len(samples)
    if n < FEWEST_SAMPLES[percent]:
        return None
    share = percent / 100
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    low = int(binom.ppf(0.025, n, share))
    high = int(binom.ppf(0.975, n, share)) + 1
    value = float(np.quantile(ordered, share))
    return Interval(value=value, low=float(ordered[max(low, 1) - 1]), high=float(ordered[min(high, n) - 1]))
