"""Histogram of the weights of one layer, in bins that are symmetric about zero.

Weights that are exactly zero are counted apart from small ones, since only they can be left out without any loss. The
weights come in blocks, which may be read from disk: two passes over them, with one block in memory at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 61
"""Number of bins: odd, so that the smallest weights of either sign share the bin whose middle is zero."""


@dataclass(frozen=True)
class Histogram:
    """`counts[k]` weights lie from `edges[k]` to `edges[k + 1]`.

    `counts` is int64 [BINS] and `edges` float64 [BINS + 1]; both are empty if no weight is finite and not zero. `zeros`
    weights are exactly zero (0.0 or -0.0), `not_finite` are NaN or infinite; neither are in `counts`.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    zeros: int
    not_finite: int

    def rows(self) -> Iterator[dict[str, float | None]]:
        """The histogram as rows of low, high and count; the counts add up to the number of weights.

        After the bins come a row for the exact zeros, from 0 to 0, and, if there are any, one for the weights that are
        not finite, without low and high.
        """
        for low, high, count in zip(self.edges[:-1], self.edges[1:], self.counts, strict=True):
            yield {"low": float(low), "high": float(high), "count": int(count)}
        yield {"low": 0.0, "high": 0.0, "count": self.zeros}
        if self.not_finite:
            yield {"low": None, "high": None, "count": self.not_finite}


def largest_magnitude(blocks: Sequence[NDArray[Any]]) -> float:
    """The largest |w| of the finite weights in arrays of any shape and real dtype; 0 if there are none."""
    largest = 0.0
    for block in blocks:
        weights = _finite(block)
        if weights.size:
            largest = max(largest, float(weights.max()), -float(weights.min()))
    return largest


def histogram(blocks: Sequence[NDArray[Any]], reach: float | None = None) -> Histogram:
    """The histogram of the weights in arrays of any shape and real dtype, from -`reach` to `reach`.

    Without `reach` it is the largest magnitude; the counts of layers with one `reach` are comparable. A weight on an
    edge belongs to the bin farther from zero, so that w and -w lie in mirrored bins; the two ends belong to the
    outermost bins.

    Raises:
        ValueError: a weight lies beyond `reach`.
    """
    reach = largest_magnitude(blocks) if reach is None else reach
    counts, zeros, not_finite = np.zeros(BINS, dtype=np.int64), 0, 0
    middle = BINS // 2
    for block in blocks:
        weights = _finite(block)
        present = weights[weights != 0]
        not_finite += block.size - weights.size
        zeros += weights.size - present.size
        relative = np.abs(present) / reach if present.size else present
        if relative.size and relative.max() > 1:
            raise ValueError(
                f"expected weights from -{reach} to {reach}, found one of magnitude {np.abs(present).max()}"
            )
        steps = np.minimum((relative * (BINS / 2) + 0.5).astype(np.int64), middle)
        counts += np.bincount(middle + np.where(present < 0, -steps, steps), minlength=BINS)
    if not counts.any():
        return Histogram(np.empty(0), np.empty(0, dtype=np.int64), zeros, not_finite)
    # Fractions of the reach, not multiples of a width: twice the reach may overflow a float64.
    edges = reach * (np.arange(-BINS, BINS + 1, 2) / BINS)
    return Histogram(edges, counts, zeros, not_finite)


def _finite(block: NDArray[Any]) -> NDArray[np.float64]:
    weights = np.asarray(block, dtype=np.float64).ravel()
    finite: NDArray[np.float64] = weights[np.isfinite(weights)]
    return finite
