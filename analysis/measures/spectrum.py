"""Ranks of a weight matrix from its singular values: how many directions the layer really has.

With s the singular values: the stable rank is sum s^2 / max s^2 = ||W||_F^2 / ||W||_2^2 (Rudelson & Vershynin, Sampling
from Large Matrices, Journal of the ACM 54, 2007), the effective rank exp(-sum p ln p) with p = s / sum s (Roy &
Vetterli, The Effective Rank, EUSIPCO 2007). Both are between 1 and the rank, and small changes of the weights change
them little, which is not so for the rank itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.measures.ranks import Undefined
from analysis.weights.matrix import Matrix
from analysis.weights.quantisation import Scale

MOST_WORK = 2**33
"""Rows * columns * the smaller of them: some seconds for the singular values of 2,048 x 2,048."""


@dataclass(frozen=True)
class Ranks:
    """The ranks of one matrix; `rank` is numpy's, of the singular values above max s * max(out, in) * eps."""

    stable: float
    effective: float
    rank: int


def ranks(matrix: Matrix) -> Ranks:
    """The ranks of a layer's weight; it is read into memory whole.

    Raises:
        Undefined: all weights are zero, one is not finite, a factor is unknown, or the matrix is too large.
    """
    if matrix.scale is Scale.UNKNOWN:
        raise Undefined("its scale is unknown")
    if matrix.size * min(matrix.shape) > MOST_WORK:
        raise Undefined(f"{matrix.shape[0]:,} x {matrix.shape[1]:,} weights")
    return of_values(singular_values(matrix.load().astype(np.float64)), max(matrix.shape))


def singular_values(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The singular values of (out, in), descending.

    Raises:
        Undefined: a weight is not finite.
    """
    if not np.isfinite(weight).all():
        raise Undefined("a weight is not finite")
    largest = np.abs(weight).max(initial=0.0)
    scaled = weight / largest if largest else weight  # so that no square overflows
    return np.asarray(np.linalg.svd(scaled, compute_uv=False) * largest, np.float64)


def of_values(s: NDArray[np.float64], longest: int) -> Ranks:
    """The ranks from singular values in descending order; `longest` is the longer side of the matrix.

    Raises:
        Undefined: all are zero.
    """
    if not s.size or s[0] == 0:
        raise Undefined("all weights are zero")
    shares = s / s[0]
    p = shares[shares > 0] / shares.sum()
    return Ranks(
        stable=float(np.square(shares).sum()),
        effective=float(np.exp(-(p * np.log(p)).sum())),
        rank=int((shares > longest * np.finfo(np.float32).eps).sum()),
    )
