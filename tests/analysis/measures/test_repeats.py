"""Repeats in several sessions as one value, and ratios of two measurements, by hand and by scipy.stats."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.measures.repeats import ratio_of, together, verdict
from study.records.base import Interval


def around(value: float, factor: float) -> Interval:
    return Interval(value=value, low=value / factor, high=value * factor)


def test_one_session_keeps_its_interval_and_two_have_the_hull_of_theirs() -> None:
    one, other = Interval(value=2.0, low=1.5, high=2.1), Interval(value=8.0, low=7.0, high=9.0)
    assert together([one]) == one
    both = together([one, other])
    assert both.value == pytest.approx(4)
    assert (both.low, both.high) == (1.5, 9.0)


def test_of_three_or_more_the_session_is_the_unit_however_narrow_their_own_intervals_are() -> None:
    values = [7.9, 8.4, 8.1, 8.6]
    found = together([around(value, 1.0001) for value in values])
    logs = np.log(values)
    low, high = stats.t.interval(0.95, 3, np.mean(logs), stats.sem(logs))
    assert (found.value, found.low, found.high) == pytest.approx((stats.gmean(values), np.exp(low), np.exp(high)))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.001, 1.1, "faster"),
        (0.9, 0.999, "slower"),
        (0.985, 1.02, "the same"),
        (0.98, 1.02, "undecided"),  # 1 / 1.02 = 0.9804
        (0.99, 1.021, "undecided"),
        (1.0, 1.01, "the same"),
    ],
)
def test_a_verdict_is_on_the_interval_and_the_margin(low: float, high: float, expected: str) -> None:
    assert verdict(Interval(value=(low * high) ** 0.5, low=low, high=high), margin=0.02) == expected


def test_the_ends_of_a_ratio_are_the_roots_of_the_sums_of_squares() -> None:
    """ln of the ends of both: -0.3 and +0.5; -1.2 and +0.4. Below 0.3 and 0.4 count, above 0.5 and 1.2."""
    value = Interval(value=6.0, low=6 * math.exp(-0.3), high=6 * math.exp(0.5))
    reference = Interval(value=2.0, low=2 * math.exp(-1.2), high=2 * math.exp(0.4))
    found = ratio_of(value, reference)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3 * math.exp(-0.5), 3 * math.exp(1.3)))


def test_a_ratio_of_two_times_over_five_processes_holds_the_true_one_in_95_of_100_sessions_or_more() -> None:
    """Times with a standard deviation of 1 % between processes, of the other 0.3 %; 20,000 sessions, true ratio 1."""
    random = np.random.default_rng(5)
    logs = random.normal(0, [[[0.01]], [[0.003]]], (2, 20_000, 5))
    mean, half = logs.mean(2), stats.t.ppf(0.975, 4) * logs.std(2, ddof=1) / 5**0.5
    held = 0
    for a, b, one, other in zip(*mean, *half, strict=True):
        made = ratio_of(around(math.exp(a), math.exp(one)), around(math.exp(b), math.exp(other)))
        held += made.low <= 1 <= made.high
    assert 0.945 <= held / 20_000 <= 0.975
