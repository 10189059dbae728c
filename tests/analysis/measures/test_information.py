"""Bits per weight: by hand, and against scipy's entropy."""

import numpy as np
import pytest
from scipy import stats

from analysis.measures import information
from analysis.measures.information import entropy, int8_bits, value_bits
from analysis.measures.ranks import Undefined


@pytest.mark.parametrize(
    ("counts", "bits"),
    [([4], 0.0), ([1, 1], 1.0), ([2, 1, 1], 1.5), ([1] * 8, 3.0), ([6, 0, 2], 2 - 0.75 * np.log2(3)), ([], 0.0)],
)
def test_the_entropy_of_a_few_values_by_hand(counts: list[int], bits: float) -> None:
    assert entropy(np.array(counts, np.int64)) == pytest.approx(bits)


def test_half_of_the_weights_zero_is_one_bit_and_half_of_the_rest() -> None:
    """1024 distinct weights and as many zeros, some of them -0.0: 1 + 10 / 2 bits."""
    random = np.random.default_rng(0)
    zeros = np.where(np.arange(1024) % 2, 0.0, -0.0).astype(np.float32)
    weights = np.concatenate([zeros, random.permutation(1024).astype(np.float32) + 1])
    assert value_bits([weights[:100], weights[100:].reshape(-1, 4)], weights.size) == pytest.approx(6.0)


def test_int8_entropy_is_scipys_of_the_rounded_weights() -> None:
    weights = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    steps = np.round(weights.astype(np.float64) * 127 / np.abs(weights).max())
    _, counts = np.unique(steps, return_counts=True)
    assert int8_bits([weights], weights.size) == pytest.approx(stats.entropy(counts, base=2))


def test_all_zero_is_no_information_and_none_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    zero = [np.zeros((3, 4), np.float32)]
    assert (value_bits(zero, 12), int8_bits(zero, 12)) == (0.0, 0.0)
    with pytest.raises(Undefined, match="no weights"):
        value_bits([], 0)
    with pytest.raises(Undefined, match="not finite"):
        int8_bits([np.array([1, np.nan])], 2)
    with pytest.raises(Undefined, match="more than 67,108,864 weights"):
        value_bits([], information.MOST + 1)
