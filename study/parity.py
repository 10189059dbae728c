"""Do two engines compute the same?"""

import numpy as np
from numpy.typing import NDArray

from study.records.base import Parity

INT8_DIFFERENCE = 0.05
"""The largest difference of two probabilities in two engines where a network computes in 8-bit integers: that of a few
steps, for where a number lies between two, the last digit before it decides."""
INT8_MISMATCHES = 0.01
"""The largest share of images that may be of another class there: two classes are often as probable as each other."""


def compare(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Parity:
    """Compare two arrays of probabilities [N, classes]; a NaN on either side is an infinite difference."""
    if not expected.size:
        return Parity(images=len(expected), max_abs_difference=0.0, argmax_mismatches=0)
    difference = np.abs(expected.astype(np.float64) - found)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    mismatches = int((expected.argmax(1) != found.argmax(1)).sum())
    return Parity(images=len(expected), max_abs_difference=largest, argmax_mismatches=mismatches)
