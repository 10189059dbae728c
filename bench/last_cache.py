"""How busy the last-level cache is, which a virtual machine shares with its neighbours.

The calibration reads 4 MB so often that they stay in that cache, whatever a neighbour does. Half of the cache does not
stay: `python -m bench.experiments last-cache --batch 32`, with its result in docs/method.md.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from study.processor import caches
from study.system_files import CPUS, ROOT, cpu_list

CALIBRATION_BYTES = 2**22
SMALLEST_BYTES = 2 * CALIBRATION_BYTES
TURNS = 4
"""The fastest of so many readings counts: the first brings back what other work has displaced."""


def half_bytes(root: Path = ROOT) -> int | None:
    """Half the size of the last-level cache; None if it is unknown, or too small to differ from the calibration's."""
    sizes = [one.size_bytes for one in caches(sorted(cpu_list(root / CPUS / "online") or ()), root) if one.level >= 3]
    half = max(sizes, default=0) // 2
    return half if half >= SMALLEST_BYTES else None


def reading(size_bytes: int, clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A function that reads so many bytes and returns the seconds that it took, the fastest of a few turns."""
    numbers = np.ones(size_bytes // 4, dtype=np.float32)

    def seconds() -> float:
        durations = []
        for _ in range(TURNS):
            before = clock()
            numbers.max()
            durations.append(clock() - before)
        return min(durations)

    return seconds
