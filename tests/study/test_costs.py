"""Fixed cost and cost per item: lines by hand and by scipy, intervals by their coverage (seeded)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import ttest_1samp

from study.costs import Costs, costs, fit, flops_per_second, positive_ratio, reference
from study.student import arithmetic_interval
from tests.bench.builders import case
from tests.support.records import case_process

NOISE = np.array([0.99, 1.01, 1.0, 1.02, 0.98])


def session(fixed: float, per_item: float, batches: Sequence[int] = (1, 8, 32), noise: Any = NOISE, **key: Any) -> Any:
    """Cases whose processes all lie on lines, slower and faster as a whole."""
    return [case(medians=list((fixed + per_item * batch) * noise), batch=batch, **key) for batch in batches]


def only(cases: Any) -> Costs:
    (one,) = costs(cases)
    return one


def test_two_batch_sizes_give_the_line_through_both() -> None:
    """12 + 15 b: 27 at 1 and 492 at 32."""
    one = only([case(medians=[492e-6] * 5, batch=32), case(medians=[27e-6] * 5, batch=1)])
    assert (one.batches, one.valid, one.misses) == ((1, 32), True, {})
    assert one.fixed == pytest.approx((12e-6,) * 3)
    assert one.per_item == pytest.approx((15e-6,) * 3)


def test_more_give_the_least_relative_errors_in_each_process() -> None:
    batches, generator = (1, 2, 8, 32), np.random.default_rng(0)
    seconds = (187 + 38.6 * np.array(batches)) * np.exp(generator.normal(0, 0.02, (5, 4)))
    found = fit(batches, seconds)
    for n, own in enumerate(seconds):
        wanted, _ = curve_fit(lambda b, f, c: f + c * b, batches, own, p0=(100, 30), sigma=seconds.mean(axis=0))
        assert (found.fixed[n], found.per_item[n]) == pytest.approx(wanted, rel=1e-5)


def test_the_interval_is_that_of_scipys_t_test_over_the_processes() -> None:
    one = only(session(187e-6, 38.6e-6))
    wanted = ttest_1samp(187e-6 * NOISE, 0).confidence_interval(0.95)
    assert one.fixed == pytest.approx((187e-6, wanted.low, wanted.high))
    assert one.per_item.high - one.per_item.low == pytest.approx((wanted.high - wanted.low) * 38.6 / 187)


def test_a_fixed_cost_below_zero_is_reported_as_such() -> None:
    one = only([case(medians=[10e-6] * 5, batch=1), case(medians=[40e-6] * 5, batch=2)])
    assert (one.fixed.value, one.per_item.value) == pytest.approx((-20e-6, 30e-6))


def test_a_process_counts_where_all_its_cases_do() -> None:
    disturbed = [case_process(n, 1e-3, valid=n > 2) for n in (1, 2, 3, 4, 5)]
    assert only([case(batch=1), case(batch=32, processes=tuple(disturbed))]).processes == (3, 4, 5)


def test_one_process_has_values_and_no_interval_and_is_not_valid() -> None:
    one = only([case(medians=[seconds], batch=batch) for batch, seconds in ((1, 3e-6), (2, 4e-6), (3, 9e-6))])
    assert (one.fixed.low, one.valid, one.misses) == (one.fixed.high, False, {})


def test_one_batch_size_has_no_line_and_engines_have_their_own() -> None:
    assert costs([case(batch=1), case(batch=32, runtime="torch"), case(batch=1, threads=2)]) == []


class TestLackOfFit:
    def test_a_median_that_the_line_misses_is_named(self) -> None:
        """Batches of 1, 8 and 32 take 1, 8 and 64 s."""
        cases = [case(medians=list(seconds * NOISE), batch=batch) for batch, seconds in ((1, 1.0), (8, 8.0), (32, 64))]
        wanted, _ = curve_fit(lambda b, f, c: f + c * b, (1, 8, 32), (1, 8, 64), sigma=(1, 8, 64))
        misses = only(cases).misses
        assert misses[8] == pytest.approx((8 - wanted[0] - wanted[1] * 8) / 8)
        assert list(misses) == sorted(misses, key=lambda batch: -abs(misses[batch]))

    def test_a_small_miss_and_one_within_the_noise_are_not(self) -> None:
        assert only(session(100e-6, 10e-6)).misses == {}
        wild = np.array([0.5, 1.5, 0.8, 1.2, 1.0])
        medians = {1: NOISE, 8: 8 * 1.2 * wild, 32: 32 * NOISE}  # 8 items take 20 % longer
        noisy = only([case(medians=list(own), batch=batch) for batch, own in medians.items()])
        assert np.abs(noisy.fit.misses.mean(axis=0)).max() > 0.05
        assert noisy.misses == {}


class TestRatios:
    def test_they_are_of_each_cost_in_common_processes(self) -> None:
        torch, onnx = costs([*session(187e-6, 38.6e-6, runtime="torch"), *session(12e-6, 15.1e-6)])
        assert reference([torch, onnx], onnx) is torch
        assert reference([torch, onnx], torch) is None
        ratios = torch.ratios(onnx)
        assert ratios.fixed is not None
        assert ratios.per_item is not None
        assert (ratios.fixed.value, ratios.per_item.value) == pytest.approx((187 / 12, 38.6 / 15.1))

    def test_the_ends_are_where_the_difference_is_just_not_zero(self) -> None:
        a, b = np.array([5.0, 5.4, 4.9, 5.2]), np.array([2.0, 2.1, 1.8, 2.2])
        found = positive_ratio(a, b)
        assert found is not None
        assert [ttest_1samp(a - ratio * b, 0).pvalue for ratio in found[1:]] == pytest.approx([0.05, 0.05])

    def test_a_cost_that_may_be_zero_has_none(self) -> None:
        assert positive_ratio(np.array([1.0, 1.1, 0.9]), np.array([0.1, -0.1, 0.2])) is None


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Processes differ by 0.7 % as a whole, and each of their medians by a further 1 %."""
    generator, batches, held = np.random.default_rng(0), np.array([1, 8, 32]), []
    sessions = 2000

    def drawn(fixed: float, per_item: float, whole: Any) -> Any:
        return (fixed + per_item * batches) * np.exp(whole + generator.normal(0, 0.01, (sessions, 5, 3)))

    shared = generator.normal(0, 0.007, (sessions, 5, 1))
    for torch, onnx in zip(drawn(187, 38.6, shared), drawn(40, 15.1, shared), strict=True):
        slow, fast = fit((1, 8, 32), torch), fit((1, 8, 32), onnx)
        intervals = (
            (187, arithmetic_interval(slow.fixed)),
            (15.1, arithmetic_interval(fast.per_item)),
            (187 / 40, positive_ratio(slow.fixed, fast.fixed)),
            (38.6 / 15.1, positive_ratio(slow.per_item, fast.per_item)),
        )
        held.append([one is not None and one.low <= truth <= one.high for truth, one in intervals])
    shares = np.mean(held, axis=0)
    assert (shares >= 0.93).all(), shares
    assert (shares <= 0.97).all(), shares


def test_a_true_line_is_called_a_miss_in_at_most_one_session_of_twenty() -> None:
    """Even where the noise is larger than what is reported."""
    generator, missed = np.random.default_rng(0), 0
    for _ in range(300):
        noise = np.exp(generator.normal(0, 0.1, (3, 5)))
        cases = [case(medians=list((10 + b) * own), batch=b) for b, own in zip((1, 8, 32), noise, strict=True)]
        missed += bool(only(cases).misses)
    assert missed <= 300 * 0.05


def test_flops_are_two_for_each_multiply_accumulate_of_the_batch() -> None:
    assert flops_per_second(case(1e-3, batch=8, macs=1_000_000)) == pytest.approx(16e9)
    assert flops_per_second(case(macs=None)) is None
