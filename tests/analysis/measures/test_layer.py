"""Weight statistics of a layer, by hand on small matrices and by numpy on larger ones."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.measures import layer as module
from analysis.measures.layer import WeightStatistics, weight_statistics
from analysis.weights import matrix as matrices
from analysis.weights.matrix import Matrix
from analysis.weights.tensors import Held


def matrix(weight: Any, *, transposed: bool = False, dtype: Any = np.float32) -> Matrix:
    """A weight (out, in), stored as it is or `transposed`."""
    array = np.asarray(weight, dtype)
    rows, columns = array.T.shape if transposed else array.shape
    numbers = (array.T if transposed else array).reshape(-1)
    held = numbers if array.dtype.isbuiltin else numbers.astype(np.float32)
    return Matrix(Held(held, array.dtype), rows, columns, columns, transposed)


def of(weight: Any, **how: Any) -> WeightStatistics:
    return weight_statistics(matrix(weight, **how))


@pytest.mark.parametrize("transposed", [False, True])
def test_dead_rows_are_outputs_and_dead_columns_inputs(transposed: bool) -> None:
    result = of([[0, 1, 0, 2], [0, 0, 0, 0], [0, 3, 0, -0.0]], transposed=transposed)
    assert (result.dead_rows, result.dead_columns) == (1, 2)


def test_shares_near_zero_are_of_magnitudes_at_or_below_the_threshold() -> None:
    result = of([[0.0, -1e-6, 1e-6, 1e-5], [0.5, -0.5, 1.0, 2.0]], dtype=np.float64)
    assert result.near_zero == {1e-8: 1 / 8, 1e-6: 3 / 8, 1e-4: 4 / 8, 1e-3: 4 / 8}


def test_the_share_near_zero_by_the_rms_does_not_depend_on_scale() -> None:
    weight = np.array([[3.0, 4.0, 0.02, 0.05]])  # rms is 2.5: 1 % of it lies between the two small ones
    assert of(weight).near_zero_rms == of(weight * 1e-20, dtype=np.float64).near_zero_rms == 1 / 4


@pytest.mark.parametrize("transposed", [False, True])
def test_groups_of_four_go_along_the_inputs(transposed: bool) -> None:
    weight = [
        [0, 0, 1, 1, 0, 1, 1, 1, 9],  # the first group has two zeros; the ninth weight is in no whole group
        [0, 0, 0, 0, 1, 1, 1, 1, 0],
    ]
    assert of(weight, transposed=transposed).two_of_four == 2 / 4


def test_with_fewer_than_four_inputs_there_are_no_groups() -> None:
    assert of([[0, 0, 1]]).two_of_four is None


def test_equal_weights_are_all_effective_and_a_single_one_is_one() -> None:
    assert of([[2, -2], [2, 2]]).effective == pytest.approx(4)
    assert of([[0, -7], [0, 0]]).effective == pytest.approx(1)
    assert of([[1, 2]]).effective == pytest.approx(9 / 5)


def test_subnormal_is_below_the_smallest_normal_number_of_the_stored_type() -> None:
    exponents: dict[Any, int] = {np.float16: -14, np.float32: -126, np.float64: -1022, ml_dtypes.bfloat16: -126}
    for dtype, exponent in exponents.items():
        smallest = 2.0**exponent
        assert of([[smallest, smallest / 2, -smallest / 4, 0.0]], dtype=dtype).subnormal == 2, dtype


def test_weights_that_are_not_finite_are_counted_and_left_out() -> None:
    result = of([[math.nan, math.inf, -math.inf, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert (result.nan, result.infinite) == (1, 2)
    assert result.near_zero[1e-3] == 1 / 5
    assert result.effective == pytest.approx(4)
    assert result.dead_rows == 0


def test_an_all_zero_layer_is_dead_throughout() -> None:
    result = of(np.zeros((3, 4)))
    assert (result.dead_rows, result.dead_columns, result.two_of_four) == (3, 4, 1.0)
    assert (result.effective, result.row_hoyer, result.near_zero_rms) == (None, None, None)
    assert set(result.near_zero.values()) == {1.0}


def test_the_quartiles_of_hoyer_are_over_the_rows_that_are_not_dead() -> None:
    """One-hot rows have 1, constant rows 0: of 0, 0, 1, 1, 1 the quartiles are 0, 1, 1."""
    rows = [[1, 1, 1, 1], [2, 2, 2, 2], [0, 0, 0, 5], [0, -5, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert of(rows).row_hoyer == pytest.approx((0, 1, 1), abs=1e-7)


def test_weights_too_large_to_be_squared_have_a_row_hoyer() -> None:
    assert of([[1e300, 0], [1e300, 1e300]], dtype=np.float64).row_hoyer == pytest.approx((0.25, 0.5, 0.75))


@pytest.mark.parametrize("transposed", [False, True])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, transposed: bool) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((13, 23)) * (random.random((13, 23)) < 0.4)
    weight[3], weight[:, 7] = 0, 0
    whole = of(weight, transposed=transposed).named()
    assert whole["two_of_four"] == by_numpy(weight)
    for block in (4, 8, 64, 300, 4096):
        monkeypatch.setattr(matrices, "BLOCK", block)
        assert of(weight, transposed=transposed).named() == pytest.approx(whole, rel=1e-12), block


def by_numpy(weight: NDArray[np.float64]) -> float:
    return float(((weight[:, :20] == 0).reshape(13, 5, 4).sum(2) >= 2).mean())


def test_what_would_take_too_much_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    result = of(np.ones((3, 2)))
    assert (result.dead_rows, result.row_hoyer) == (None, None)
    assert result.dead_columns == 0


def test_an_empty_layer_has_no_facts() -> None:
    result = of(np.zeros((0, 4)))
    assert (result.dead_rows, result.two_of_four, result.near_zero[1e-8]) == (None, None, None)
