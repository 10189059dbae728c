"""Sparsity measures: golden values worked out by hand, the invariances of their definitions, and where they end."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from analysis.measures import MEASURES, UNIFORM, Undefined, exact_zeros, gini, hoyer, measure

Array = NDArray[np.float64]

matrices = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(2, 6)),
    elements=st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.floats(-1e3, -1e-3)),
).filter(lambda w: bool(w.any()))


def test_hoyer_of_a_single_nonzero_weight_is_one() -> None:
    assert hoyer(np.array([0.0, 0.0, -3.0, 0.0])) == pytest.approx(1, abs=1e-12)


def test_hoyer_of_equal_magnitudes_is_zero() -> None:
    assert hoyer(np.array([2.0, -2.0, 2.0])) == pytest.approx(0, abs=1e-12)


def test_hoyer_of_1_3_5() -> None:
    by_hand = (math.sqrt(3) - 9 / math.sqrt(35)) / (math.sqrt(3) - 1)
    assert by_hand == pytest.approx(0.287921, abs=1e-6)
    assert hoyer(np.array([1, 3, 5])) == pytest.approx(by_hand, abs=1e-12)


def test_gini_of_a_single_nonzero_weight_among_four_is_three_quarters() -> None:
    assert gini(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(0.75, abs=1e-12)


def test_gini_of_1_3_5_is_8_27ths() -> None:
    assert gini(np.array([5, -1, 3])) == pytest.approx(8 / 27, abs=1e-12)


@given(matrices)
def test_gini_is_half_the_relative_mean_difference(weights: Array) -> None:
    """The other definition: the mean of |a - b| over all pairs, by twice the mean."""
    c = np.abs(weights).ravel()
    by_pairs = np.abs(c[:, None] - c[None, :]).mean() / (2 * c.mean())
    assert gini(weights) == pytest.approx(by_pairs, abs=1e-12)


def test_exact_zeros_counts_zeros_of_both_signs_and_nothing_else() -> None:
    assert exact_zeros(np.array([[0.0, -0.0], [1e-300, 5.0]])) == 0.5


def test_exact_zeros_of_an_all_zero_layer_is_one() -> None:
    assert exact_zeros(np.zeros((3, 2))) == 1


@pytest.mark.parametrize("name", MEASURES)
def test_a_large_uniform_layer_has_the_reference_value(name: str) -> None:
    weights = np.random.default_rng(0).uniform(-0.05, 0.05, (1000, 1000)).astype(np.float32)
    assert MEASURES[name](weights) == pytest.approx(UNIFORM[name], abs=1e-3)


def test_the_reference_values_are_those_of_the_literature() -> None:
    assert {name: round(value, 4) for name, value in UNIFORM.items()} == {
        "hoyer": 0.1340,
        "gini": 0.3333,
        "exact_zeros": 0,
    }


@pytest.mark.parametrize("name", MEASURES)
@given(weights=matrices, factor=st.floats(1e-6, 1e6))
def test_scale_changes_nothing(name: str, weights: Array, factor: float) -> None:
    assert MEASURES[name](weights * factor) == pytest.approx(MEASURES[name](weights), abs=1e-12)


@pytest.mark.parametrize("name", MEASURES)
@given(weights=matrices, seed=st.integers(0, 2**32 - 1))
def test_order_changes_nothing(name: str, weights: Array, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(weights.ravel())
    assert MEASURES[name](shuffled) == pytest.approx(MEASURES[name](weights), abs=1e-12)


@pytest.mark.parametrize("name", MEASURES)
@given(weights=matrices, seed=st.integers(0, 2**32 - 1))
def test_signs_change_nothing(name: str, weights: Array, seed: int) -> None:
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], weights.shape)
    assert MEASURES[name](weights * signs) == pytest.approx(MEASURES[name](weights), abs=1e-12)


@pytest.mark.parametrize("name", MEASURES)
@given(weights=matrices)
def test_transposing_changes_nothing(name: str, weights: Array) -> None:
    assert MEASURES[name](weights.T) == pytest.approx(MEASURES[name](weights), abs=1e-12)


@pytest.mark.parametrize("name", MEASURES)
@given(weights=matrices)
def test_every_value_lies_between_0_and_1(name: str, weights: Array) -> None:
    assert 0 <= MEASURES[name](weights) <= 1


@pytest.mark.parametrize("largest", [1e-320, 1e-200, 1e200])
@pytest.mark.parametrize("name", ["hoyer", "gini"])
def test_squares_neither_overflow_nor_vanish(name: str, largest: float) -> None:
    one_hot = np.array([0, 0, 0, largest])
    assert MEASURES[name](one_hot) == pytest.approx(MEASURES[name](np.array([0, 0, 0, 1.0])), abs=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_sums_are_taken_in_float64_whatever_the_weights_are(dtype: str) -> None:
    weights = np.tile(np.array([1, 3, 5], dtype), 10_000)
    root, n = math.sqrt(30_000), 10_000
    assert hoyer(weights) == pytest.approx((root - 9 * n / math.sqrt(35 * n)) / (root - 1), abs=1e-12)
    assert gini(weights) == pytest.approx(8 / 27, abs=1e-12)


@pytest.mark.parametrize("name", MEASURES)
def test_no_weights_have_no_value(name: str) -> None:
    with pytest.raises(Undefined, match="no weights"):
        MEASURES[name](np.zeros((0, 4)))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("intruder", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_leaves_no_value(name: str, intruder: float) -> None:
    with pytest.raises(Undefined, match="not finite"):
        MEASURES[name](np.array([0.0, 1.0, intruder]))


@pytest.mark.parametrize("name", ["hoyer", "gini"])
def test_all_zeros_have_no_value(name: str) -> None:
    with pytest.raises(Undefined, match="all weights are zero"):
        MEASURES[name](np.zeros((2, 2)))


@pytest.mark.parametrize("name", ["hoyer", "gini"])
def test_one_weight_has_no_value(name: str) -> None:
    with pytest.raises(Undefined, match="only one weight"):
        MEASURES[name](np.array([[7.0]]))


def test_measure_gives_the_value_without_a_reason_or_the_reason_without_a_value() -> None:
    assert measure("exact_zeros", np.array([0.0, 1.0])) == (0.5, "")
    assert measure("hoyer", np.zeros(3)) == (None, "all weights are zero")
