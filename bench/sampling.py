"""How many calls are made, and in which state of the process."""

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
"""So many blocks in a row whose medians lie within this share of each other end the warm-up."""
WARM_UP_SECONDS = 5.0
MOST_SAMPLES = 10_000
QUICK_SAMPLES = 70


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    seconds: float = 2.0
    """For the calls of one case, if they are then enough for the percentiles."""
    percentiles: tuple[float, ...] = (50, 90, 95, 99)
    """Those that must be told; p99.9 takes 6,636 calls a case."""
    loads: int = 5
    """So many times the model of a case is loaded; its calls are shared out among them."""
    cold_starts: int = 5
    """Fresh processes for each model and runtime."""
    quick: bool = False
    """Just enough to see that everything is in place."""

    def samples(self, call_seconds: float) -> int:
        """How many calls to time: as many as fit into the time, enough for the percentiles, few enough to store."""
        if self.quick:
            return QUICK_SAMPLES
        fewest = max(FEWEST_SAMPLES[percent] for percent in self.percentiles)
        return min(max(round(self.seconds / call_seconds), fewest), MOST_SAMPLES)

    @property
    def comparison_seconds(self) -> float:
        """For a paired comparison, in which four parts share a block."""
        return 0 if self.quick else 2 * self.seconds


@dataclass(frozen=True)
class WarmUp:
    """What was done before the clock started."""

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
    """Call until the latency no longer changes: first calls of each batch size compile and allocate."""
    call()  # alone: torch.compile takes half a minute for it, which is not to use up the limit
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
    """Collect, then keep the collector from running: outliers of 3 to 200 times the median (dynamo PR 12177)."""
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
