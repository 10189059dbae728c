"""Student's interval, by scipy, and the verdict: its rule by hand, its errors by simulation (seeded)."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from study.records.base import Interval
from study.records.bench import Verdict
from study.student import mean_interval, verdict


def between(low: float, high: float) -> Interval:
    return Interval(value=(low * high) ** 0.5, low=low, high=high)


def test_the_interval_is_that_of_scipys_t_test_on_logarithms() -> None:
    values = [8.27, 8.41, 8.34, 8.52, 8.26]
    for confidence in (0.95, 0.9995):
        wanted = ttest_1samp(np.log(values), 0).confidence_interval(confidence)
        found = mean_interval(values, confidence)
        assert np.log([found.low, found.high]) == pytest.approx([wanted.low, wanted.high])
        assert np.log(found.value) == pytest.approx(np.mean(np.log(values)))


def test_a_single_value_is_its_own_interval() -> None:
    assert mean_interval([2.0]) == pytest.approx(Interval(value=2.0, low=2.0, high=2.0))


def test_the_ratio_of_two_is_the_inverse_of_the_reverse_ratio() -> None:
    ratio, reverse = mean_interval([2.0, 2.1, 1.9]), mean_interval([1 / 2.0, 1 / 2.1, 1 / 1.9])
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
        return [verdict(mean_interval(values), 0.02) for values in drawn]

    none = verdicts(1.0, 0.0066)
    assert none.count("faster") + none.count("slower") == pytest.approx(2000 * 0.05, abs=30)
    assert verdicts(1.02, 0.004).count("the same") <= 2000 * 0.025
    assert verdicts(1.0, 0.004).count("the same") >= 2000 * 0.9
    shown = verdicts(1.015, 0.0066)
    assert shown.count("faster") >= 2000 * 0.9
    assert "slower" not in shown
