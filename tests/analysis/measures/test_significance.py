"""When a difference between two models is more than noise, by hand."""

import math
import statistics

import numpy as np
import pytest

from analysis.measures.significance import Difference, Wrong, difference, image_variance


def wrong(*runs: tuple[int, int], images: int = 10_000) -> Wrong:
    """A run for each (first, last): it gets the images from `first` on and before `last` wrong."""
    return np.array([[first <= i < last for i in range(images)] for first, last in runs])


class TestDifference:
    def test_the_noise_is_twice_the_standard_error_of_the_mean_difference(self) -> None:
        model = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
        baseline = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 1]], dtype=bool)
        e = [1 - 1 / 3, 1 / 2 - 1, 0 - 1, 0 - 2 / 3]
        seeds = statistics.variance([2 / 4, 1 / 4]) / 2 + 0  # all runs of the baseline have three errors
        result = difference(model, baseline)
        assert result.test_error_change == pytest.approx(statistics.mean(e), abs=1e-15)
        assert result.test_error_change == pytest.approx(3 / 8 - 3 / 4, abs=1e-15)
        assert result.test_error_noise == pytest.approx(2 * math.sqrt(seeds + statistics.variance(e) / 4))

    @pytest.mark.parametrize(("b", "c"), [(60, 40), (30, 100), (7, 0)])
    def test_with_one_run_each_the_choice_of_images_gives_mcnemars_statistic(self, b: int, c: int) -> None:
        n, both = 10_000, 500
        model, baseline = wrong((0, both + b)), wrong((0, both)) | wrong((n - c, n))
        z = (model.mean() - baseline.mean()) / math.sqrt(image_variance(model, baseline))
        assert z == pytest.approx((b - c) / math.sqrt(b + c), rel=5e-3)
        exactly = (b - c) / math.sqrt((b + c - (b - c) ** 2 / n) / (1 - 1 / n))
        assert z == pytest.approx(exactly, rel=1e-12)

    def test_pairing_tells_apart_what_unpaired_errors_do_not(self) -> None:
        """8.5 and 8 %, and whatever the one gets wrong the other does too."""
        model, baseline = wrong((0, 850), (0, 850)), wrong((0, 800), (0, 800))
        result = difference(model, baseline)
        assert result.verdict == "worse"
        assert difference(baseline, model).verdict == "better"
        unpaired = 2 * math.sqrt(0.085 * 0.915 / 10_000 + 0.08 * 0.92 / 10_000)
        assert result.test_error_noise is not None
        assert result.test_error_noise < result.test_error_change < unpaired

    def test_the_same_errors_on_other_images_are_not_told_apart(self) -> None:
        result = difference(wrong((0, 850), (0, 850)), wrong((900, 1700), (900, 1700)))
        assert result.test_error_change == pytest.approx(0.005)
        assert result.verdict == "not distinguishable"

    def test_a_difference_no_larger_than_that_between_seeds_is_not_told_apart(self) -> None:
        assert difference(wrong((0, 400), (0, 1600)), wrong((0, 800), (0, 810))).verdict == "not distinguishable"

    def test_the_same_runs_are_not_told_apart(self) -> None:
        runs = wrong((0, 800), (100, 920))
        result = difference(runs, runs[::-1])
        assert (result.test_error_change, result.verdict) == (0, "not distinguishable")

    @pytest.mark.parametrize(("runs", "others"), [(1, 3), (3, 1)])
    def test_one_run_of_either_is_not_tested(self, runs: int, others: int) -> None:
        result = difference(wrong(*[(0, 5000)] * runs), wrong(*[(0, 800)] * others))
        assert result == Difference("not judged", result.test_error_change)
        assert result.test_error_change == pytest.approx(0.42)
