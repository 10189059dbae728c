"""Percentiles and their intervals: by hand, by scipy's test of a quantile, by simulation and by MLPerf's rule."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from scipy.special import betainc
from scipy.stats import quantile_test

from bench.percentiles import FEWEST_SAMPLES, percentile
from study.records.base import Interval


def test_the_median_and_its_interval_by_hand() -> None:
    # B(20, 1/2) has 2.07 % below 6 and 2.07 % above 14: the interval is from the 6th to the 15th smallest
    assert percentile(list(range(20, 0, -1)), 50) == Interval(value=10.5, low=6, high=15)
    assert 2 * 0.5**6 < 0.05 < 2 * 0.5**5  # all six on one side of the true median, or all five
    assert percentile([6, 2, 5, 3, 1, 4], 50) == Interval(value=3.5, low=1, high=6)


def test_the_interval_is_that_of_scipys_quantile_test() -> None:
    for percent, fewest in FEWEST_SAMPLES.items():
        for size in (fewest, fewest + 1000):
            samples = np.random.default_rng(0).exponential(size=size)
            wanted: Any = quantile_test(samples, p=percent / 100).confidence_interval(0.95)
            value = float(np.quantile(samples, percent / 100))
            assert percentile(samples.tolist(), percent) == Interval(value=value, low=wanted.low, high=wanted.high)


def test_no_percentile_from_too_few_samples() -> None:
    for percent, fewest in {50: 6, 90: 64, 95: 130, 99: 662, 99.9: 6636}.items():
        assert percentile([1.0] * (fewest - 1), percent) is None
        assert percentile([1.0] * fewest, percent) is not None


def test_the_fewest_samples_for_the_tail_follow_from_mlperfs_early_stopping() -> None:
    """The smallest samples for which one sample above the true percentile is significantly few, at 99 % confidence.

    Of h + t queries h are below the latency in question: it is the percentile's upper bound where the regularized
    incomplete beta function I_p(h, t + 1) is at most 1 - c (MLPerf inference rules, "early stopping"); t = 1, c = 0.99.
    """
    t, confidence = 1, 0.99
    for percent in (90, 95, 99, 99.9):
        h = next(h for h in count(1) if betainc(h, t + 1, percent / 100) <= 1 - confidence)
        assert FEWEST_SAMPLES[percent] == h + t


@pytest.mark.parametrize(("percent", "size", "trials"), [(50, 700, 2000), (99, 700, 2000), (99.9, 6636, 1000)])
def test_the_interval_contains_the_truth_in_95_of_100_trials(percent: float, size: int, trials: int) -> None:
    generator = np.random.default_rng(0)
    truth = -np.log(1 - percent / 100)  # of the exponential distribution
    held = 0
    for _ in range(trials):
        found = percentile(generator.exponential(size=size).tolist(), percent)
        assert found is not None
        held += found.low <= truth <= found.high
    assert held / trials >= 0.94  # binomial standard error of 0.95 over 2,000 trials: 0.005
