"""How busy the last-level cache is, which a virtual machine shares with its neighbours.

The calibration reads its 4 MB so often that they stay in that cache. Half of the cache does not stay there if a
neighbour uses it: see `python -m bench.experiments last-cache --batch 32` and its result in docs/method.md.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.calibration import MEMORY_BYTES, fastest_seconds
from study.processor import processor
from study.system_files import ROOT

SMALLEST_BYTES = 2 * MEMORY_BYTES
TURNS = 4
"""The fastest of so many readings counts: the first brings back what other work has displaced."""


def half_bytes(root: Path = ROOT) -> int | None:
    """Half the size of the last-level cache; None if it is unknown, or too small to differ from the calibration's."""
    half = max((one.size_bytes for one in processor(root).caches if one.level >= 3), default=0) // 2
    return half if half >= SMALLEST_BYTES else None


def reading(size_bytes: int) -> Callable[[], float]:
    """A function that reads so many bytes and returns the seconds that it took, the fastest of a few turns."""
    numbers = np.ones(size_bytes // 4, dtype=np.float32)
    return lambda: fastest_seconds(numbers.max, TURNS)
