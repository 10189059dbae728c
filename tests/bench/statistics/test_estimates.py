"""Estimates over processes: by scipy, and their claims by simulation (seeded, about 2 s)."""

import numpy as np
import pytest
from scipy.stats import chi2

from bench.statistics.estimates import combined, contradicts, control_holds, homogeneity
from study.records.base import Interval
from study.student import half_width, mean_interval


def between(low: float, high: float) -> Interval:
    return Interval(value=(low * high) ** 0.5, low=low, high=high)


def test_a_control_holds_unless_it_differs_by_over_half_a_per_cent_beyond_doubt() -> None:
    assert control_holds([1.02, 0.98, 1.01, 1.0, 1.0])  # noisy
    assert control_holds([1.004, 1.004, 1.0041, 1.004, 1.004])  # certain, but small
    assert control_holds([1.05])  # nothing to judge by
    assert control_holds([0.5, 2.0])  # hardly anything: the limits of the interval are e^1234 apart
    assert not control_holds([1.05, 1.051, 1.049, 1.05, 1.05])
    assert not control_holds([0.95, 0.951, 0.949, 0.95, 0.95])


def test_a_control_fails_in_at_most_one_of_two_thousand_by_chance() -> None:
    generator = np.random.default_rng(0)
    drawn = np.exp(generator.normal(0, 0.02, (10_000, 5)))
    assert sum(not control_holds(values) for values in drawn) <= 12  # 5 expected; 12 or fewer with p = .998


CONTRADICTIONS = [
    ((1.00, 1.02), (1.01, 1.05), False),
    ((1.00, 1.02), (1.03, 1.05), True),
    ((1.03, 1.05), (1.00, 1.02), True),
    ((1.000, 1.001), (1.002, 1.003), False),  # apart, but by 0.2 %
]


@pytest.mark.parametrize(("paired", "unpaired", "wanted"), CONTRADICTIONS)
def test_the_paired_and_the_unpaired_ratio_contradict_each_other(
    paired: tuple[float, float], unpaired: tuple[float, float], wanted: bool
) -> None:
    assert contradicts(between(*paired), between(*unpaired)) == wanted


def test_sessions_count_the_same_however_narrow_their_intervals() -> None:
    assert combined([between(1.9, 2.1), between(7.99, 8.01)]).value == pytest.approx(4, rel=0.002)


def test_q_by_hand_and_its_probability_with_many_processes_is_chi_squareds() -> None:
    n = 500
    half = half_width(0.01 * n**0.5, n)  # the standard error of each session is 0.01
    ratios = [between(np.exp(mean - half), np.exp(mean + half)) for mean in (0.0, 0.01, 0.03)]
    q, p = homogeneity(ratios, [n] * 3)
    assert q == pytest.approx(sum(((m - 0.04 / 3) / 0.01) ** 2 for m in (0.0, 0.01, 0.03)))
    assert p == pytest.approx(chi2.sf(q, 2), abs=0.01)


def test_sessions_that_differ_by_chance_are_rejected_as_often_as_the_test_says() -> None:
    generator = np.random.default_rng(0)
    deviations = generator.uniform(0.5, 1.5, (400, 20, 1)) / 100
    p = [_p_of(values) for values in np.exp(generator.normal(0, 1, (400, 20, 5)) * deviations)]
    assert np.mean(np.array(p) <= 0.05) <= 0.08
    assert np.mean(np.array(p) <= 0.05) >= 0.03
    between_sessions = generator.normal(0, 0.01, (50, 20, 1))
    drawn = np.exp(generator.normal(0, 0.66, (50, 20, 5)) / 100 + between_sessions)
    assert np.mean([_p_of(values) < 0.01 for values in drawn]) >= 0.95


def _p_of(sessions: np.ndarray) -> float:
    return homogeneity([mean_interval(values) for values in sessions], [5] * len(sessions), draws=2000)[1]
