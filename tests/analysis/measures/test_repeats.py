"""Repeats in several sessions as one value, by hand and by scipy.stats."""

import numpy as np
import pytest
from scipy import stats

from analysis.measures.repeats import together
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
