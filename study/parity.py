"""Do two engines compute the same?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INT8_DIFFERENCE = 0.05
"""The largest difference of two probabilities in two engines where a network computes in 8-bit integers: that of a few
steps, for where a number lies between two, the last digit before it decides."""
INT8_MISMATCHES = 0.01
"""The largest share of images that may be of another class there: two classes are often as probable as each other."""


@dataclass(frozen=True)
class Parity:
    """How far one engine's probabilities are from another's."""

    images: int
    max_abs_difference: float
    argmax_mismatches: int

    def holds(self, limit: float, mismatches: float = 0.0) -> bool:
        """Whether no probability differs by more than `limit`, and no more than this share of the classes."""
        return self.max_abs_difference <= limit and self.argmax_mismatches <= mismatches * self.images


def compare(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Parity:
    """Compare two arrays of probabilities [N, classes]; a NaN on either side is an infinite difference."""
    if not expected.size:
        return Parity(len(expected), 0.0, 0)
    difference = np.abs(expected.astype(np.float64) - found)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return Parity(len(expected), largest, int((expected.argmax(1) != found.argmax(1)).sum()))
