"""Percentiles and their intervals: by hand, by simulation, and their fewest samples by MLPerf's rule."""

from itertools import count
from typing import Any

import numpy as np
import pytest
from scipy.special import betainc
from scipy.stats import norm, quantile_test, ttest_1samp

from bench.experiments.simulation import Machine
from bench.statistics.percentiles import FEWEST_SAMPLES, percentile_over_processes
from study.records.base import Interval


def test_no_percentile_from_too_few_samples() -> None:
    assert 2 * 0.5**6 < 0.05 < 2 * 0.5**5  # all six on one side of the true median, or all five
    for percent, fewest in {50: 6, 90: 64, 95: 130, 99: 662, 99.9: 6636}.items():
        assert percentile_over_processes([[1.0], [1.0] * (fewest - 2)], percent) is None
        assert percentile_over_processes([[1.0], [1.0] * (fewest - 1)], percent) is not None


def test_the_fewest_samples_for_the_tail_follow_from_mlperfs_early_stopping() -> None:
    """The smallest samples for which one sample above the true percentile is significantly few, at 99 % confidence.

    Of h + t queries h are below the latency in question: it is the percentile's upper bound where the regularized
    incomplete beta function I_p(h, t + 1) is at most 1 - c (MLPerf inference rules, "early stopping"); t = 1, c = 0.99.
    """
    t, confidence = 1, 0.99
    for percent in (90, 95, 99, 99.9):
        h = next(h for h in count(1) if betainc(h, t + 1, percent / 100) <= 1 - confidence)
        assert FEWEST_SAMPLES[percent] == h + t


def test_of_several_processes_it_is_the_percentile_of_all_calls() -> None:
    generator = np.random.default_rng(0)
    processes = [generator.exponential(size=200) for _ in range(5)]
    found = percentile_over_processes(processes, 95)
    assert found is not None
    assert found.value == np.quantile(np.concatenate(processes), 0.95)


def test_the_interval_is_the_wider_of_two_on_each_side() -> None:
    levels = np.array([1.0, 1.01, 1.02, 1.03, 1.04])
    processes = [[level] * 100 for level in levels]  # the shares below a value are 0 or 1
    student = ttest_1samp(np.log(levels), 0).confidence_interval(0.95)
    half = (student.high - student.low) / 2

    median = percentile_over_processes(processes, 50)
    assert half < np.log(1.04 / 1.02)
    assert median == Interval(value=1.02, low=1.0, high=1.04)  # Woodruff's: from the fastest process to the slowest

    tail = percentile_over_processes(processes, 95)
    assert tail is not None
    assert tail.value == 1.04
    assert tail.high == pytest.approx(1.04 * np.exp(half))  # Student's: no process was slower so far


def test_a_single_process_has_no_interval() -> None:
    assert percentile_over_processes([[1.0, 2.0, 3.0] * 3], 50) == Interval(value=2.0, low=2.0, high=2.0)


@pytest.mark.parametrize(("percent", "least"), [(50, 0.93), (90, 0.93), (95, 0.9)])
def test_the_interval_over_processes_holds_where_calls_of_one_process_are_alike(percent: float, least: float) -> None:
    """Order statistics, which take all calls as independent, hold the truth in half of the sessions."""
    machine = Machine(process=0.01)
    logs = machine.calls(np.random.default_rng(0), 50, 300, 5).reshape(300, 5, -1)
    truth = np.exp(norm.ppf(percent / 100, scale=0.01 * np.sqrt(1 / 2 + 1 + 1)))  # process, loads, calls
    intervals = [percentile_over_processes(list(session), percent) for session in np.exp(logs)]
    over = np.mean([one.low <= truth <= one.high for one in intervals if one])
    results: list[Any] = [quantile_test(session.ravel(), p=percent / 100) for session in np.exp(logs)]
    statistics = [result.confidence_interval(0.95) for result in results]
    naive = np.mean([one.low <= truth <= one.high for one in statistics])
    assert least <= over <= 0.98
    assert naive < 0.6
