"""Holm's allowance for many tests: the chance of even one false alarm among all of them stays at the level of one."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values, float64, of the shape of `p_values`: the tests of one family lie along the last axis.

    A test is significant at a family-wise level if its adjusted p-value is at most that. The i-th smallest of m is
    multiplied by m - i + 1 and is no smaller than those before it. It holds for dependent tests too. Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2), 1979, 65-70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, axis=-1)
    factors = np.arange(p.shape[-1], 0, -1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, -1) * factors, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), -1)
    return adjusted
