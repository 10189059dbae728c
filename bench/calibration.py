"""How fast the machine is now: the time of two fixed pieces of work that do not depend on the engines.

One is bound by arithmetic: products of two matrices of 9 KB, which stay in the L1 cache. The other is bound by memory:
the largest of 4 MB of numbers, which exceed the L2 cache of nearly all processors. A neighbour on the sibling
hyper-thread slows the first, one that shares a cache or the memory bus the second.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from study.records.bench import Calibration

ARITHMETIC_TURNS, MEMORY_TURNS = 3, 12
"""About 50 microseconds each when warm: 1.1 ms, 2 % of a block. The fastest counts: the others may have been
interrupted, and the engines have displaced the 4 MB from the caches, which take them back only bit by bit, over some
six turns (docs/log.md)."""
MEMORY_BYTES = 2**22
REPETITIONS = 11
"""About 9 ms, before and after a measurement."""
PRODUCTS = 16
_MATRIX = np.sin(np.arange(48 * 48, dtype=np.float32)).reshape(48, 48)
"""OpenBLAS uses several threads only for products above 64 x 64 x 64."""
_PRODUCT = np.empty_like(_MATRIX)


def calibrate(clock: Callable[[], float] = time.perf_counter) -> Calibration:
    """The speed before or after a measurement: the median of several brief calibrations, in 9 ms."""
    several = [calibrate_briefly(clock) for _ in range(1 + REPETITIONS)][1:]
    return median(several)


def calibrate_briefly(clock: Callable[[], float] = time.perf_counter) -> Calibration:
    """The speed in 1.1 ms, to be interleaved with what is measured."""
    return Calibration(
        arithmetic_seconds=fastest_seconds(_arithmetic, ARITHMETIC_TURNS, clock),
        memory_seconds=fastest_seconds(_memory, MEMORY_TURNS, clock),
    )


def median(several: Sequence[Calibration]) -> Calibration:
    """The median of each kind."""
    return Calibration(
        arithmetic_seconds=statistics.median(one.arithmetic_seconds for one in several),
        memory_seconds=statistics.median(one.memory_seconds for one in several),
    )


def mean(a: Calibration, b: Calibration) -> Calibration:
    """The geometric mean of two, for instance of one before and one after a measurement."""
    return Calibration(
        arithmetic_seconds=math.sqrt(a.arithmetic_seconds * b.arithmetic_seconds),
        memory_seconds=math.sqrt(a.memory_seconds * b.memory_seconds),
    )


def fastest_seconds(work: Callable[[], object], turns: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """The shortest time that the work took in so many turns."""
    durations = []
    for _ in range(turns):
        before = clock()
        work()
        durations.append(clock() - before)
    return min(durations)


def _arithmetic() -> None:
    for _ in range(PRODUCTS):
        np.matmul(_MATRIX, _MATRIX, out=_PRODUCT)


def _memory() -> None:
    _buffer().max()  # a sum would be bound by arithmetic: it takes three times as long


@cache
def _buffer() -> NDArray[np.float32]:
    return np.ones(MEMORY_BYTES // 4, dtype=np.float32)
