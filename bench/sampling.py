"""The number of calls, the warm-up before them and the state of the garbage collector."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.statistics.percentiles import FEWEST_SAMPLES

if TYPE_CHECKING:
    from bench.statistics.pilot import Shares

BLOCK_SECONDS = 0.02
BLOCK_CALLS = 5
STABLE, STABLE_BLOCKS = 0.03, 3
"""The warm-up ends after this many consecutive blocks with medians within this share of each other."""
WARM_UP_SECONDS, AGAIN_SECONDS = 5.0, 0.003
"""Longest time of a warm-up, and time of that of a later load, whose engine this process has warmed up before."""
CALLS_OF_A_LOAD = 4 * (1 + STABLE_BLOCKS * BLOCK_CALLS)
"""A slow model is loaded again if there is time for so many calls."""
MOST_SAMPLES = 10_000
QUICK_SAMPLES = 70
LOADS = 2
"""Number of loads in a process, without a pilot."""
PATIENCE_SECONDS = 1.0
MOST_TIMES, QUICK_MOST_TIMES = 60, 8
"""Longest time for one measurement, as a multiple of `--seconds`; 662 calls, for p99, take it at 80 ms a call."""


class TooSlowError(Exception):
    """A measurement that does not fit into its time and is left out; the message has the reason and a remedy."""


@dataclass(frozen=True)
class Budget:
    """How long and how often to measure; times and calls are those of all processes of a session together."""

    seconds: float = 1.0
    """Time for the calls of one case; the percentiles may require more."""
    percentiles: tuple[float, ...] = (50, 90, 95)
    """Percentiles that each case must report; others are reported where the calls suffice. p99 takes 662 calls a case,
    p99.9 6,636."""
    processes: int = 5
    """Number of fresh processes, among which time and calls are divided."""
    cold_starts: int = 5
    """Number of fresh processes for each model and runtime."""
    quick: bool = False
    """A smoke test: few calls in one process, and results that are not valid."""

    @property
    def most_seconds(self) -> float:
        """Longest time for one measurement: a case, a comparison, or one process of a cold start."""
        return self.seconds * (QUICK_MOST_TIMES if self.quick else MOST_TIMES)

    @property
    def process_seconds(self) -> float:
        """Longest time for one measurement in one process."""
        return self.most_seconds / self.processes

    @property
    def patience_seconds(self) -> float:
        """Longest time in which a case waits in a process for the machine's full speed; a comparison has twice that."""
        return 0 if self.quick else max(PATIENCE_SECONDS, self.seconds / self.processes)

    @property
    def check_seconds(self) -> float:
        """Longest time in a process for the outputs that are compared before the timed calls, and for a warm-up."""
        return self.process_seconds / 5

    def schedule(self, call_seconds: float, left: float, shares: "Shares | None" = None) -> "Schedule":
        """How a process measures a case if `left` seconds are left: as `shares` has it, or without a pilot `samples`
        calls; or as many as fit, at least one.

        A slow model is loaded less often.
        """
        wanted = shares.calls * shares.loads if shares and not self.quick else self.samples(call_seconds)
        fitting = int(max(left, 0) / call_seconds)
        loads = 1 if self.quick else shares.loads if shares else LOADS
        again = again_calls(call_seconds)
        if wanted + loads * again <= fitting:
            return Schedule(wanted, min(loads, wanted))
        loads = max(1, min(loads, fitting // CALLS_OF_A_LOAD))
        return Schedule(max(1, min(wanted, fitting - loads * again)), loads)

    def extended(self, processes: int) -> "Budget":
        """For another number of processes, each of which takes as long as before, as it was forecast."""
        return replace(self, processes=processes, seconds=self.seconds * processes / self.processes)

    def remedy(self, call_seconds: float, calls: int) -> str:
        """The option with which this number of calls fits into a measurement, beside its check and warm-ups."""
        if self.quick:
            return "leave out --quick"
        return f"give --seconds {math.ceil(max(2 * self.seconds, 4 * (calls + 4) * call_seconds / MOST_TIMES))}"

    def samples(self, call_seconds: float) -> int:
        """Number of calls that a process times: its part of `seconds`, of the calls that the percentiles need, and of
        the calls that are stored."""
        if self.quick:
            return QUICK_SAMPLES
        in_time = math.ceil(min(self.seconds / call_seconds, MOST_SAMPLES) / self.processes)
        return max(in_time, self.fewest_samples)

    @property
    def fewest_samples(self) -> int:
        """Number of calls of a process that the percentiles need."""
        return math.ceil(max(FEWEST_SAMPLES[percent] for percent in self.percentiles) / self.processes)

    @property
    def comparison_seconds(self) -> float:
        """Time for a paired comparison in one process; its blocks have four parts."""
        return 0 if self.quick else 3 * self.seconds / self.processes


@dataclass(frozen=True)
class Schedule:
    """The timed calls of a case in one process, divided among the loads."""

    calls: int
    loads: int


@dataclass(frozen=True)
class WarmUp:
    """The warm-up of one load."""

    calls: int
    seconds: float
    stable: bool
    call_seconds: float
    """Median latency in the last block."""

    enough: bool = True
    """Whether there was time for as many blocks as show a stable latency."""


def warm_up(
    call: Callable[[], object],
    limit_seconds: float = WARM_UP_SECONDS,
    most_seconds: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
    called: bool = False,
) -> WarmUp:
    """Call until the latency is stable: the first calls at each batch size compile and allocate.

    Args:
        limit_seconds: time after which a latency that still changes is given up; three blocks may take longer.
        most_seconds: no block begins later; if three blocks do not fit, their calls are reduced to one.
        called: the engine has been called at this batch size, so that the first call counts towards `most_seconds`.
            Else it does not: torch.compile takes half a minute for it.
    """
    before = clock()
    call()
    started = clock()
    first = started - before
    latest = (before if called else started) + most_seconds
    medians: list[float] = []
    calls = 1
    stable = False
    fewest = BLOCK_CALLS
    while not stable and clock() < latest and (len(medians) < STABLE_BLOCKS or clock() - started < limit_seconds):
        block: list[float] = []
        begun = now = clock()
        while len(block) < fewest or now - begun < BLOCK_SECONDS:
            before = clock()
            call()
            now = clock()
            block.append(now - before)
            if not medians and STABLE_BLOCKS * BLOCK_CALLS * block[0] > most_seconds:
                fewest = 1
        calls += len(block)
        medians.append(statistics.median(block))
        last = medians[-STABLE_BLOCKS:]
        stable = len(last) == STABLE_BLOCKS and max(last) - min(last) <= STABLE * min(last)
    enough = len(medians) >= STABLE_BLOCKS
    return WarmUp(calls, clock() - started, stable, medians[-1] if medians else first, enough)


def again_calls(call_seconds: float) -> int:
    """Number of calls with which an engine warms up that this process has warmed up before: 3 ms, at least one.

    Warm-ups of 3 to 200 ms after a load gave the same ratio of torch and ONNX Runtime at batch 1, within its noise.
    """
    return math.ceil(AGAIN_SECONDS / call_seconds)


@contextmanager
def garbage_collector_held() -> Iterator[None]:
    """Collect, then disable the collector, which causes outliers of 3 to 200 times the median (dynamo PR 12177).

    What is left is frozen, so that the next collection is quick: within another block of these, 0.1 s less with torch.
    """
    if not gc.isenabled():  # held already, or for good
        gc.collect()
        gc.freeze()
        yield
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
