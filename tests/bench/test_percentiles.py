"""Percentiles and their intervals: by hand, by scipy's test of a quantile, by simulation and by MLPerf's rule."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from scipy.special import betainc
from scipy.stats import norm, quantile_test, ttest_1samp

from bench.experiments.simulation import Machine
from bench.percentiles import FEWEST_SAMPLES, percentile, percentile_over_processes
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


def test_of_several_processes_it_is_the_percentile_of_all_calls() -> None:
    generator = np.random.default_rng(0)
    processes = [generator.exponential(size=200) for _ in range(5)]
    found = percentile_over_processes(processes, 95)
    assert found is not None
    assert found.value == np.quantile(np.concatenate(processes), 0.95)
    assert percentile_over_processes([samples[:26] for samples in processes], 95) is not None  # 130 in all
    assert percentile_over_processes([samples[:25] for samples in processes], 95) is None


def test_processes_that_are_alike_have_the_interval_of_their_own_percentiles() -> None:
    """All calls within a process take as long: the shares below the value are 0 or 1, the percentiles the levels."""
    levels = np.array([1.0, 1.01, 1.02, 1.03, 1.04])
    found = percentile_over_processes([[level] * 100 for level in levels], 50)
    wanted = ttest_1samp(np.log(levels), 0).confidence_interval(0.95)
    assert found is not None
    assert found.value == 1.02
    assert (found.low, found.high) == (1.0, 1.04)  # Woodruff's, from end to end, is the wider one
    assert wanted.high - np.log(1.02) < np.log(1.04 / 1.02)


def test_a_single_process_has_no_interval() -> None:
    assert percentile_over_processes([[1.0, 2.0, 3.0] * 3], 50) == Interval(value=2.0, low=2.0, high=2.0)


@pytest.mark.parametrize(("percent", "least"), [(50, 0.93), (90, 0.93), (95, 0.9)])
def test_the_interval_over_processes_holds_where_calls_of_one_process_are_alike(percent: float, least: float) -> None:
    """Order statistics, which take all calls as independent, hold the truth in half of the sessions."""
    machine = Machine(process=0.01)
    logs = machine.calls(np.random.default_rng(0), 50, 300, 5).reshape(300, 5, -1)
    truth = np.exp(norm.ppf(percent / 100, scale=0.01 * np.sqrt(1 / 2 + 1 + 1)))  # process, loads, calls
    sessions = [(percentile_over_processes(list(s), percent), percentile(s.ravel(), percent)) for s in np.exp(logs)]
    over, naive = (
        np.mean([one.low <= truth <= one.high for one in several if one]) for several in zip(*sessions, strict=True)
    )
    assert least <= over <= 0.98
    assert naive < 0.6
