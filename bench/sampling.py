"""How many calls are made, and in which state of the process."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BLOCK_SECONDS = 0.02
BLOCK_CALLS = 5
STABLE = 0.03
"""Three blocks in a row whose medians lie within this share of each other end the warm-up."""
WARM_UP_SECONDS = 5.0

SAMPLE_SECONDS = 2.0
FEWEST_SAMPLES = 700  # p99 with its interval needs 662
MOST_SAMPLES = 10_000
QUICK_SAMPLES = 70


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
    started = clock()
    medians: list[float] = []
    calls = 0
    stable = False
    while not stable and clock() - started < limit_seconds:
        block: list[float] = []
        while len(block) < BLOCK_CALLS or sum(block) < BLOCK_SECONDS:
            before = clock()
            call()
            block.append(clock() - before)
        calls += len(block)
        medians.append(statistics.median(block))
        last = medians[-3:]
        stable = len(last) == 3 and max(last) - min(last) <= STABLE * min(last)
    return WarmUp(calls, clock() - started, stable, medians[-1])


def sample_count(call_seconds: float, quick: bool) -> int:
    """How many calls to time: as many as fit into the time budget, enough for p99, few enough to store."""
    if quick:
        return QUICK_SAMPLES
    return min(max(round(SAMPLE_SECONDS / call_seconds), FEWEST_SAMPLES), MOST_SAMPLES)


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
