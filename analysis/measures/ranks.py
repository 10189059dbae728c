"""Measures of the magnitudes in ascending order: Gini and u_theta.

Up to `SORTED` weights are sorted, which gives exact values. Sorting more would take more memory than the model's file
and ten times the time of reading it, so their magnitudes are counted in bins: by exponent and the first 7 bits of the
mantissa, bins that are 1/128 to 1/256 of their magnitude wide. The value is then the middle of an interval that is
certain to contain the true one, and comes with half its width: about 1e-6 for the Gini of weights of many magnitudes.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SORTED = 2**20
"""The most weights that are sorted, in 8 bytes each."""
BINS = 309 * 128
"""Enough for any float32 with any `unit`: 128 bins an octave, and the 309 octaves below 2^-714."""
DROPPED = 45
"""Bits of a float64 that do not matter for its bin: all but the exponent and the first 7 of the mantissa."""
AT_ONCE = 2**17
"""The most magnitudes added at once: their number and the sum of their places fit the 53 bits of one float64."""
_ONE = int(np.float64(2**35).view(np.int64))
_PLACE = (2**17 - 1) << 17
_ROUNDING = 2.0**-23


class Undefined(ValueError):  # noqa: N818 - a result about the weights, not a fault
    """The measure has no value for these weights; the message is the reason, in a few words."""


@dataclass
class Bins:
    """For each bin the number of magnitudes in it and the sum of their places; the smallest and largest of all.

    A bin is a range of bit patterns of float64, which have the order of their numbers. A place is the distance of a
    magnitude from the lower edge of its bin, a whole number of 2^17ths of the bin. Magnitudes are added as multiples of
    a `unit`, since these measures ignore scale. All sums are of whole numbers, hence exact.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    smallest: float = math.inf
    largest: float = 0.0

    def add(self, c: Floats) -> None:
        """Count the magnitudes `c`, (n,) with 0 < n <= `AT_ONCE`, finite, already multiplied by `unit`.

        Each has the weight 2^35 + place, as the bits of a float64: one call of `numpy.bincount`, which holds Python's
        lock, gives both sums.
        """
        bits = c.view(np.int64)
        weights = bits >> (DROPPED - 34)
        weights &= _PLACE
        weights |= _ONE
        sums = np.bincount(bits >> DROPPED, weights.view(np.float64)).astype(np.int64)
        self.counts[: sums.size] += sums >> 35
        self.places[: sums.size] += sums & (2**35 - 1)
        self.smallest = min(self.smallest, float(c.min()))
        self.largest = max(self.largest, float(c.max()))

    def merge(self, other: "Bins") -> None:
        """Add the counts of `other`."""
        self.counts += other.counts
        self.places += other.places
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)

    def filled(self) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
        """The bins that are not empty, ascending: number of magnitudes, their mean, the lower and upper edge.

        Places are rounded down, so the mean is known to half a 2^17th of the bin, 2^-25 of itself.
        """
        edges = (np.arange(BINS + 1) << DROPPED).view(np.float64)
        at = np.flatnonzero(self.counts)
        lower, upper = edges[at], edges[at + 1]
        means = lower + (upper - lower) * ((self.places[at] / self.counts[at] + 0.5) / 2**17)
        lower, upper = np.maximum(lower, self.smallest), np.minimum(upper, self.largest)
        return self.counts[at], np.clip(means, lower, upper), lower, upper


def unit(c: Floats) -> float:
    """The factor for magnitudes before they are binned, given the first of them, `c`, scaled below 2^128.

    It moves the smallest of `c` that is not zero to an edge, 30 octaves above the smallest normal float64. The weights
    of a quantised layer are small whole multiples of it, which lie on edges too: their bins have no spread.
    """
    present = c[c > 0]
    mantissa, exponent = math.frexp(float(present.min())) if present.size else (0.5, -149)
    return math.ldexp(1 / mantissa, -992 - min(max(exponent, -149), 30))  # a normal number, and BINS are enough


def gini(ordered: NDArray[Any] | Bins) -> tuple[float, float]:
    """1 - 2 sum_k (c_(k) / sum c) (N - k + 1/2) / N over ascending magnitudes: 0 to 1 - 1/N. Value, half-width.

    It equals half the relative mean difference, sum_k (2k - N - 1) c_(k) / (N sum c), which is computed here because it
    does not subtract from 1. With bins the Gini between them, with all magnitudes of a bin at its mean, is the lower
    bound. Within a bin the mean difference is largest if all lie on its two edges, with the same mean; adding that
    gives the upper bound (Gastwirth, The Estimation of the Lorenz Curve and Gini Index, Review of Economics and
    Statistics 54, 1972).

    Raises:
        Undefined: one weight (the only value would be 0), or all weights zero.
    """
    if isinstance(ordered, Bins):
        counts, means, lower, upper = ordered.filled()
        n, total = int(counts.sum()), float((counts * means).sum())
        _refuse(n, total)
        before = np.cumsum(counts) - counts
        between = float(((2.0 * before + counts - n) / n * (counts * means / total)).sum())
        width = np.maximum(upper - lower, np.finfo(np.float64).tiny)  # 0 for bins of one value, which spread nothing
        within = float(((counts / n) ** 2 * (means - lower) * ((upper - means) / width)).sum()) * n / total
        return between + within / 2, within / 2 + _ROUNDING  # three times the error of a mean, and some for the sums
    c = ordered.astype(np.float64)
    n, total = c.size, float(c.sum())
    _refuse(n, total)
    c *= 2.0 * np.arange(1, n + 1) - (n + 1)
    return min(max(float(c.sum()) / n / total, 0.0), 1.0), 0.0


def u_theta(ordered: NDArray[Any] | Bins, theta: float) -> tuple[float, float]:
    """1 - min_i (c_(i+m-1) - c_(i)) / (c_(N) - c_(1)), m = ceil(theta N): 0 to 1. Value, half-width.

    The part of the range outside the shortest interval that holds a share `theta` of the magnitudes. With bins c_(1)
    and c_(N) are known, and any other magnitude lies between the edges of the bin of its rank.

    Raises:
        Undefined: one weight, all magnitudes equal, or m = N.
    """
    n = int(ordered.counts.sum()) if isinstance(ordered, Bins) else ordered.size
    if n == 1:
        raise Undefined("only one weight")
    m = math.ceil(Fraction(repr(theta)) * n)  # as written: in floating point 0.07 * 100 is above 7
    if isinstance(ordered, Bins):
        smallest, largest = ordered.smallest, ordered.largest
    else:
        c = ordered.astype(np.float64)
        smallest, largest = float(c[0]), float(c[-1])
    if smallest == largest:
        raise Undefined("all weights are zero" if largest == 0 else "all magnitudes are equal")
    if m == n:
        raise Undefined("ceil(theta N) = N")
    if not isinstance(ordered, Bins):
        return 1 - float((c[m - 1 :] - c[: n - m + 1]).min()) / (largest - smallest), 0.0
    counts, _, lower, upper = ordered.filled()
    ends = np.cumsum(counts)
    # Ranks i at which c_(i) or c_(i+m-1) enters a bin: between two of them neither changes its bin.
    first = np.clip(np.concatenate([[0], ends, ends - m + 1]), 0, n - m)
    low, high = np.searchsorted(ends, first, "right"), np.searchsorted(ends, first + m - 1, "right")
    least = max(float((lower[high] - upper[low]).min()), 0.0) / (largest - smallest)
    most = float((upper[high] - lower[low]).min()) / (largest - smallest)
    return 1 - (least + most) / 2, (most - least) / 2 + 2.0**-50


def _refuse(n: int, total: float) -> None:
    if n == 1:
        raise Undefined("only one weight")
    if total == 0:
        raise Undefined("all weights are zero")
