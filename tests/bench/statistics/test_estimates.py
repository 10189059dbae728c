"""Estimates over processes: by scipy, and their claims by simulation (seeded, about 2 s)."""

import numpy as np
import pytest
from scipy.stats import chi2, ttest_1samp

from bench.statistics.estimates import (
    combined,
    contradicts,
    control_holds,
    half_width,
    homogeneity,
    over_processes,
    verdict,
)
from study.records.base import Interval
from study.records.bench import Verdict


def between(low: float, high: float) -> Interval:
    return Interval(value=(low * high) ** 0.5, low=low, high=high)


def test_the_interval_is_that_of_scipys_t_test_on_logarithms() -> None:
    values = [8.27, 8.41, 8.34, 8.52, 8.26]
    for confidence in (0.95, 0.9995):
        wanted = ttest_1samp(np.log(values), 0).confidence_interval(confidence)
        found = over_processes(values, confidence)
        assert np.log([found.low, found.high]) == pytest.approx([wanted.low, wanted.high])
        assert np.log(found.value) == pytest.approx(np.mean(np.log(values)))


def test_a_single_value_is_its_own_interval() -> None:
    assert over_processes([2.0]) == pytest.approx(Interval(value=2.0, low=2.0, high=2.0))


def test_the_ratio_of_two_is_the_inverse_of_the_reverse_ratio() -> None:
    ratio, reverse = over_processes([2.0, 2.1, 1.9]), over_processes([1 / 2.0, 1 / 2.1, 1 / 1.9])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1 / reverse.value, 1 / reverse.high, 1 / reverse.low))


VERDICTS: list[tuple[float, float, float, Verdict]] = [
    (1.001, 1.2, 0.02, "faster"),
    (1.001, 1.002, 0.02, "faster"),  # a difference that is shown is not "the same", however small
    (0.8, 0.999, 0.02, "slower"),
    (0.99, 1.01, 0.02, "the same"),
    (1 / 1.02, 1.02, 0.02, "the same"),
    (0.98, 1.01, 0.02, "undecided"),  # 0.98 is below 1 / 1.02
    (0.99, 1.03, 0.02, "undecided"),
    (0.99, 1.03, 0.05, "the same"),
    (0.999, 1.001, 0.0, "undecided"),
]


@pytest.mark.parametrize(("low", "high", "margin", "wanted"), VERDICTS)
def test_the_verdict(low: float, high: float, margin: float, wanted: Verdict) -> None:
    assert verdict(between(low, high), margin) == wanted


def test_verdicts_are_wrong_no_more_often_than_they_say() -> None:
    generator = np.random.default_rng(0)

    def verdicts(truth: float, deviation: float) -> list[Verdict]:
        drawn = truth * np.exp(generator.normal(0, deviation, (2000, 5)))
        return [verdict(over_processes(values), 0.02) for values in drawn]

    none = verdicts(1.0, 0.0066)
    assert none.count("faster") + none.count("slower") == pytest.approx(2000 * 0.05, abs=30)
    assert verdicts(1.02, 0.004).count("the same") <= 2000 * 0.025
    assert verdicts(1.0, 0.004).count("the same") >= 2000 * 0.9
    shown = verdicts(1.015, 0.0066)
    assert shown.count("faster") >= 2000 * 0.9
    assert "slower" not in shown


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
    return homogeneity([over_processes(values) for values in sessions], [5] * len(sessions), draws=2000)[1]
