"""A neighbour in the last-level cache: what it does to the engines, and which loop sees it.

First in pairs, without and with a process on another core that reads 16 MB; then for some minutes as the machine is: do
the times of an engine rise and fall with those of a loop? The calibration should slow down as much as an engine does.
"""

import math
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from statistics import median, quantiles

from scipy.stats import spearmanr

from bench.calibration import calibrate
from bench.cases import Engine, opened
from bench.experiments.common import beside, case_of, made_with
from bench.last_cache import half_bytes, reading
from bench.sampling import garbage_collector_held, warm_up
from bench.timing import timed_calls
from study.errors import StudyError
from study.student import mean_interval

PAIRS, SECONDS = 20, 300.0
FEWEST = 20
"""Snapshots from which a range is computed."""
SNAPSHOT_SECONDS = 0.1
"""Of each engine."""
SETTLE_SECONDS = 1.5
"""In which the neighbour starts."""
NEIGHBOUR = """
import numpy as np
large = np.ones(2**22, np.float32)
while True:
    large.max()
"""
ARITHMETIC, MEMORY, HALF = "calibration, arithmetic", "calibration, 4 MB", "half of the last cache"

Seconds = Mapping[str, float]


def run(options: Namespace) -> bool:
    size = half_bytes()
    if size is None:
        raise StudyError("the size of the last-level cache is not known, or under 16 MiB: run this on another machine")
    pairs, seconds = options.repetitions or PAIRS, options.seconds or SECONDS
    print(f"{options.model}, batch {options.batch}, {HALF}: {size / 2**20:.0f} MiB; {made_with()}")
    case = case_of(options)
    pool = case.model.pool(case.batch)
    half = reading(size)
    with garbage_collector_held(), ExitStack() as stack:
        loops: dict[str, tuple[Engine, int]] = {}
        for name in ("torch", options.runtime):
            engine = stack.enter_context(opened(replace(case, runtime=name), pool))
            stack.enter_context(engine.runtime.context())
            loops[name] = engine, max(1, int(SNAPSHOT_SECONDS / warm_up(engine.once).call_seconds))

        def snapshot() -> Seconds:
            speed = {name: median(timed_calls(one.call, one.inputs, calls)) for name, (one, calls) in loops.items()}
            calibration = calibrate()
            found = {ARITHMETIC: calibration.arithmetic_seconds, MEMORY: calibration.memory_seconds, HALF: half()}
            return {**speed, **found}

        slowed = _beside_a_neighbour(snapshot, pairs)
        _as_it_is(snapshot, seconds)
    seen, needed = max(slowed[ARITHMETIC], slowed[MEMORY]), max(slowed["torch"], slowed[options.runtime])
    print(f"the calibration takes {seen - 1:+.1%}, the slower engine {needed - 1:+.1%}; expected as much")
    return seen >= needed


def _beside_a_neighbour(snapshot: Callable[[], Seconds], pairs: int) -> Seconds:
    """How many times as long each takes beside the neighbour."""
    changes: dict[str, list[float]] = {}
    for _ in range(pairs):
        without = snapshot()
        with beside(NEIGHBOUR):
            time.sleep(SETTLE_SECONDS)
            for name, seconds in snapshot().items():
                changes.setdefault(name, []).append(seconds / without[name])
    print(f"beside a process that reads 16 MB, {pairs} pairs:")
    found = {name: mean_interval(several) for name, several in changes.items()}
    for name, one in found.items():
        print(f"  {name:24} {one.value - 1:+.1%} ({one.low - 1:+.1%} to {one.high - 1:+.1%})", flush=True)
    return {name: one.value for name, one in found.items()}


def _as_it_is(snapshot: Callable[[], Seconds], seconds: float) -> None:
    """Print how much each varies, and its rank correlation with torch."""
    until = time.perf_counter() + seconds
    series: list[Seconds] = []
    while len(series) < FEWEST or time.perf_counter() < until:
        series.append(snapshot())
    print(f"as the machine is, {len(series)} times in {seconds:.0f} s: median, 5 to 95 %, rank correlation with torch")
    torch = [one["torch"] for one in series]
    for name in series[0]:
        values = [one[name] for one in series]
        low, *_, high = quantiles(values, n=20)
        middle, rank = median(values), spearmanr(values, torch).statistic
        varies = f"{low / middle - 1:+.1%} to {high / middle - 1:+.1%}"
        shown = "" if name == "torch" or math.isnan(rank) else f"{rank:+.2f}"
        print(f"  {name:24} {middle * 1e6:8.1f} µs  {varies:18} {shown}", flush=True)
