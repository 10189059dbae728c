"""Do two engines compute the same?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Parity:
    """How far one engine's probabilities are from another's."""

    images: int
    max_abs_difference: float
    argmax_mismatches: int

    def holds(self, limit: float) -> bool:
        """Whether no probability differs by more than `limit`, and no class."""
        return self.max_abs_difference <= limit and self.argmax_mismatches == 0


def compare(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Parity:
    """Compare two arrays of probabilities [N, classes]; a NaN on either side is an infinite difference."""
    if not expected.size:
        return Parity(len(expected), 0.0, 0)
    difference = np.abs(expected.astype(np.float64) - found)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return Parity(len(expected), largest, int((expected.argmax(1) != found.argmax(1)).sum()))
