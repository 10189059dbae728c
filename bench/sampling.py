"""The number of calls, the warm-up before them and the state of the garbage collector."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.percentiles import FEWEST_SAMPLES

BLOCK_SECONDS = 0.02
BLOCK_CALLS = 5
STABLE, STABLE_BLOCKS = 0.03, 3
"""The warm-up ends after this many consecutive blocks with medians within this share of each other."""
WARM_UP_SECONDS = 5.0
MOST_SAMPLES = 10_000
QUICK_SAMPLES = 70


@dataclass(frozen=True)
class Budget:
    """How long and how often to measure."""

    seconds: float = 2.0
    """Time for the calls of one case; the percentiles may require more."""
    percentiles: tuple[float, ...] = (50, 90, 95, 99)
    """Percentiles that each case must report; p99.9 takes 6,636 calls a case."""
    loads: int = 5
    """Number of times that the model of a case is loaded; its calls are divided among the loads."""
    cold_starts: int = 5
    """Number of fresh processes for each model and runtime."""
    quick: bool = False
    """A smoke test: few calls, and results that are not valid."""

    def samples(self, call_seconds: float) -> int:
        """Number of calls to time: what fits into `seconds`, but enough for the percentiles and few enough to store."""
        if self.quick:
            return QUICK_SAMPLES
        fewest = max(FEWEST_SAMPLES[percent] for percent in self.percentiles)
        return min(max(round(self.seconds / call_seconds), fewest), MOST_SAMPLES)

    @property
    def comparison_seconds(self) -> float:
        """Time for a paired comparison, whose blocks have four parts."""
        return 0 if self.quick else 2 * self.seconds


@dataclass(frozen=True)
class WarmUp:
    """The warm-up of one load."""

    calls: int
    seconds: float
    stable: bool
    call_seconds: float
    """Median latency in the last block."""


def warm_up(
    call: Callable[[], object],
    limit_seconds: float = WARM_UP_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> WarmUp:
    """Call until the latency is stable: the first calls at each batch size compile and allocate."""
    call()  # outside the limit: torch.compile takes half a minute for it
    started = clock()
    medians: list[float] = []
    calls = 1
    stable = False
    while len(medians) < STABLE_BLOCKS or (not stable and clock() - started < limit_seconds):
        block: list[float] = []
        while len(block) < BLOCK_CALLS or sum(block) < BLOCK_SECONDS:
            before = clock()
            call()
            block.append(clock() - before)
        calls += len(block)
        medians.append(statistics.median(block))
        last = medians[-STABLE_BLOCKS:]
        stable = len(last) == STABLE_BLOCKS and max(last) - min(last) <= STABLE * min(last)
    return WarmUp(calls, clock() - started, stable, medians[-1])


@contextmanager
def garbage_collector_held() -> Iterator[None]:
    """Collect, then disable the collector, which causes outliers of 3 to 200 times the median (dynamo PR 12177)."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
