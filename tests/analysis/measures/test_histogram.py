"""The histogram of a layer's weights, by hand and against numpy."""

import math

import numpy as np
import pytest

from analysis.measures.histogram import BINS, histogram, largest_magnitude


def test_bins_are_symmetric_and_zeros_apart() -> None:
    result = histogram([np.array([[-3.05, 0.0, 0.001], [-0.001, -0.0, 0.11]]), np.array([3.05])])
    assert BINS == 61  # so that a bin is 0.1 wide: the middle one from -0.05 to 0.05
    assert result.edges == pytest.approx(np.arange(-3.05, 3.06, 0.1))
    assert {int(k): int(result.counts[k]) for k in np.flatnonzero(result.counts)} == {0: 1, 30: 2, 31: 1, 60: 1}
    assert (result.zeros, result.not_finite) == (2, 0)


def test_w_and_minus_w_are_in_mirrored_bins_even_on_an_edge() -> None:
    values = np.arange(1, 62) / 61  # edges are odd multiples of 1/61
    assert histogram([values]).counts.tolist() == histogram([-values]).counts.tolist()[::-1]


def test_counts_are_those_of_numpy_whatever_the_blocks() -> None:
    values = np.random.default_rng(0).normal(size=9_999).astype(np.float32)
    result = histogram([values[:10].reshape(2, 5), values[10:10], values[10:]])
    largest = float(np.abs(values).max())
    by_numpy, edges = np.histogram(values.astype(float), bins=61, range=(-largest, largest))
    assert result.counts.tolist() == by_numpy.tolist()
    assert result.edges == pytest.approx(edges)


def test_a_common_reach_gives_common_bins() -> None:
    one, other = np.array([0.5]), np.array([2.0, -1.0])
    reach = max(largest_magnitude([one]), largest_magnitude([other]))
    assert reach == 2
    assert histogram([one], reach).edges.tolist() == histogram([other], reach).edges.tolist()
    with pytest.raises(ValueError, match="magnitude 2"):
        histogram([other], 0.5)


def test_the_smallest_and_the_largest_numbers_have_bins() -> None:
    for largest in (5e-324, 1e-310, 1e-45, 1.7e308):
        result = histogram([np.array([largest, -largest])])
        assert (result.counts[0], result.counts[-1], result.counts.sum()) == (1, 1, 2), largest
        assert np.isfinite(result.edges).all()


def test_weights_that_are_not_finite_are_counted_in_a_row_of_their_own() -> None:
    result = histogram([np.array([math.nan, math.inf, -math.inf, 1.0, 0.0])])
    assert (result.counts.sum(), result.zeros, result.not_finite) == (1, 1, 3)
    assert result.edges[-1] == 1
    rows = list(result.rows())
    assert (len(rows), sum(row["count"] or 0 for row in rows)) == (BINS + 2, 5)
    assert rows[-1] == {"low": None, "high": None, "count": 3}


def test_without_weights_other_than_zero_there_are_no_bins() -> None:
    for values in ([], [0.0, 0.0], [math.nan]):
        result = histogram([np.array(values)])
        assert (result.edges.size, result.counts.size) == (0, 0)
        assert next(result.rows()) == {"low": 0, "high": 0, "count": values.count(0)}
