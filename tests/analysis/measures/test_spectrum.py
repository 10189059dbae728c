"""Stable and effective rank: matrices of known singular values, and numpy's norms and eigenvalues."""

from pathlib import Path

import numpy as np
import pytest

from analysis.measures.ranks import Undefined
from analysis.measures.spectrum import Ranks, of_values, ranks, singular_values
from analysis.weights.layers import read
from tests.support.study import write_model


def of(weight: np.ndarray) -> Ranks:
    return of_values(singular_values(weight.astype(np.float64)), max(weight.shape))


def test_a_matrix_with_equal_singular_values_uses_all_directions() -> None:
    found = of(3 * np.eye(5, 8))
    assert [found.stable, found.effective, found.rank] == pytest.approx([5, 5, 5])


def test_a_product_of_two_vectors_uses_one() -> None:
    found = of(np.outer([1, 2, 3], [4, 5, 6, 7]))
    assert [found.stable, found.effective, found.rank] == pytest.approx([1, 1, 1])


def test_singular_values_2_1_1_by_hand() -> None:
    """Stable (4 + 1 + 1) / 4; effective exp(-(1/2 ln 1/2 + 2 * 1/4 ln 1/4)) = 2^1.5."""
    found = of(np.diag([1.0, 2.0, 1.0]))
    assert [found.stable, found.effective] == pytest.approx([1.5, 2**1.5])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e300])
def test_ranks_agree_with_numpys_norms_and_the_eigenvalues_of_the_gram_matrix(scale: float) -> None:
    weight = np.random.default_rng(0).normal(size=(30, 20))
    found = of(weight * scale)
    assert found.stable == pytest.approx((np.linalg.norm(weight) / np.linalg.norm(weight, 2)) ** 2)
    s = np.sqrt(np.linalg.eigvalsh(weight.T @ weight))
    p = s / s.sum()
    assert found.effective == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert found.rank == np.linalg.matrix_rank(weight)


def test_a_layer_of_a_file_has_the_ranks_of_its_matrix(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).normal(size=(6, 9)).astype(np.float32)
    weight[2:] = weight[:2].repeat(2, axis=0)
    write_model(tmp_path / "m.onnx", {"fc": weight, "zero": np.zeros((2, 6), np.float32)})
    fc, zero = read(tmp_path / "m.onnx").layers
    assert ranks(fc.weight).rank == 2
    assert ranks(fc.weight).stable == pytest.approx((np.linalg.norm(weight) / np.linalg.norm(weight, 2)) ** 2)
    with pytest.raises(Undefined, match="all weights are zero"):
        ranks(zero.weight)


def test_what_is_not_finite_has_none() -> None:
    with pytest.raises(Undefined, match="not finite"):
        of(np.array([[1, np.inf]]))
