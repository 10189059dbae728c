"""Information in the weights of a layer: bits per weight, by the entropy of the values it has.

Shannon, A Mathematical Theory of Communication, Bell System Technical Journal 27 (1948): H = -sum p log2 p, with p the
share of the weights that have each distinct value. It is the least number of bits per weight that a code for single
weights needs, if the table of the code is not counted. Trained float32 weights are nearly all distinct, which gives
about log2 N; where many are exactly zero, or after quantisation, it is far below the bits they are stored in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.measures.histogram import largest_magnitude
from analysis.measures.ranks import Undefined

MOST = 2**26
"""Weights whose distinct values are counted: they are sorted, in 8 bytes each at most."""
STEPS = 127
"""Steps of a symmetric int8 quantisation on either side of 0."""


def entropy(counts: NDArray[np.integer]) -> float:
    """H of a distribution in bits, from how often each value comes; 0 log 0 is 0.

    Args:
        counts: (n,), of n distinct values.
    """
    present = counts[counts > 0].astype(np.float64)
    total = present.sum()
    return max(0.0, float(np.log2(total) - (present * np.log2(present)).sum() / total)) if total else 0.0


def value_bits(blocks: Sequence[NDArray[Any]], size: int) -> float:
    """Entropy over the distinct values of `size` weights, in bits per weight; 0.0 and -0.0 are one value.

    Raises:
        Undefined: there are none, or more than `MOST`.
    """
    _refuse(size)
    values = np.concatenate([block.reshape(-1) for block in blocks])
    values += 0  # -0.0 + 0 is 0.0
    _, counts = np.unique(values, return_counts=True)
    return entropy(counts)


def int8_bits(blocks: Sequence[NDArray[Any]], size: int) -> float:
    """Entropy after symmetric quantisation to round(127 w / max |w|), in bits per weight.

    Raises:
        Undefined: there are no weights, or one is not finite.
    """
    _refuse(size, most=None)
    scale = largest_magnitude(blocks)
    counts = np.zeros(2 * STEPS + 1, np.int64)
    for block in blocks:
        if not np.isfinite(block).all():
            raise Undefined("a weight is not finite")
        steps = np.rint(block.astype(np.float64).reshape(-1) * (STEPS / scale)) if scale else np.zeros(block.size)
        counts += np.bincount(steps.astype(np.int64) + STEPS, minlength=counts.size)
    return entropy(counts)


def _refuse(size: int, most: int | None = MOST) -> None:
    if not size:
        raise Undefined("no weights")
    if most is not None and size > most:
        raise Undefined(f"more than {most:,} weights")
