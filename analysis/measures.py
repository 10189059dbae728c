"""Sparsity measures of a weight array: one number each, larger means sparser.

Every measure is a function of the magnitudes |w| of an array of any shape and real dtype, computed in float64, and
listed in `MEASURES` by its name. Where a measure has no meaning its function raises `Undefined` with the reason:
never 0, 1 or NaN in place of an answer.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[Any]
Measure = Callable[[Weights], float]


class Undefined(ValueError):  # noqa: N818 - an answer about the array, not a fault
    """The measure has no value for this array; the message is the reason, in a few words."""


def hoyer(weights: Weights) -> float:
    """(sqrt N - l1 / l2) / (sqrt N - 1): 0 where all magnitudes are equal, 1 where only one weight is not zero.

    Source: Hoyer, Non-negative Matrix Factorization with Sparseness Constraints, JMLR 5 (2004), section 3.1.

    Raises:
        Undefined: N < 2, all weights zero, or one of them not finite.
    """
    c = _relative_magnitudes(weights)
    root = math.sqrt(c.size)
    return _unit((root - float(c.sum()) / math.sqrt(float(np.square(c).sum()))) / (root - 1))


def gini(weights: Weights) -> float:
    """1 - 2 sum_k (c_(k) / sum c) (N - k + 1/2) / N over the magnitudes c in ascending order: 0 to 1 - 1/N.

    Source: Hurley & Rickard, Comparing Measures of Sparsity, arXiv 0811.4706, Table I.

    Raises:
        Undefined: N < 2 (its only value would be 0), all weights zero, or one of them not finite.
    """
    c = np.sort(_relative_magnitudes(weights))
    n = c.size
    shares_above = (n - np.arange(1, n + 1) + 0.5) / n
    return _unit(1 - 2 * float((c / c.sum() * shares_above).sum()))


def exact_zeros(weights: Weights) -> float:
    """The share, 0 to 1, of weights that are exactly zero: what a runtime could leave out without any loss.

    It is l0 / N of Hurley & Rickard's Table I. -0.0 is zero; there is no tolerance, which would be arbitrary.

    Raises:
        Undefined: no weights, or one of them not finite.
    """
    c = _magnitudes(weights)
    return float(np.count_nonzero(c == 0)) / c.size


MEASURES: dict[str, Measure] = {"hoyer": hoyer, "gini": gini, "exact_zeros": exact_zeros}

UNIFORM: dict[str, float] = {"hoyer": 1 - math.sqrt(3) / 2, "gini": 1 / 3, "exact_zeros": 0.0}
"""Each measure of weights drawn uniformly from [-a, a], the initialisation of `torch.nn.Linear`, as N grows.

Hoyer tends to 1 - E|w| / sqrt(E w^2) = 1 - (a / 2) / (a / sqrt 3) = 1 - sqrt(3) / 2. The Gini coefficient of |w|, with
distribution function F and mean m, is 1 - (1 / m) integral of (1 - F)^2 (Dorfman 1979), here 1 - (2 / a)(a / 3) = 1/3.
A trained layer with these values has not become sparser than noise.
"""


def measure(name: str, weights: Weights) -> tuple[float | None, str]:
    """The value of the measure called `name` and "", or None and the reason why it is undefined."""
    try:
        return MEASURES[name](weights), ""
    except Undefined as reason:
        return None, str(reason)


def _magnitudes(weights: Weights) -> NDArray[np.float64]:
    c = np.abs(np.asarray(weights, dtype=np.float64)).ravel()
    if c.size == 0:
        raise Undefined("no weights")
    if not np.isfinite(c).all():
        raise Undefined("a weight is not finite")
    return c


def _relative_magnitudes(weights: Weights) -> NDArray[np.float64]:
    """|w| / max |w|, so that no square overflows or vanishes; only for measures that ignore scale."""
    c = _magnitudes(weights)
    if c.size == 1:
        raise Undefined("only one weight")
    largest = c.max()
    if largest == 0:
        raise Undefined("all weights are zero")
    relative: NDArray[np.float64] = c / largest
    return relative


def _unit(value: float) -> float:
    """`value` without the rounding error that takes it out of 0..1."""
    return min(max(value, 0.0), 1.0)
