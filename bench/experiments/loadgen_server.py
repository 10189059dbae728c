"""The scenario server against MLPerf LoadGen's Server, with the same arrivals, in turns.

LoadGen sleeps until a query arrives; the bench spins. After a sleep the kernel is some ten microseconds late, and the
caches and the core are cold: the call takes longer, and in a queue the waits grow by a multiple of that. So the loop of
the bench serves the arrivals twice, spinning and sleeping, and is expected to agree with LoadGen where both sleep. A
batch of 256 images takes milliseconds, so that the lateness itself is no part of the result. The kernel's slack for
timers, 50 microseconds, is set to a nanosecond.
"""

import ctypes
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from itertools import count, cycle
from statistics import median
from typing import Any

import numpy as np

from bench.experiments.bare_loop import onnxruntime_call
from bench.experiments.loadgen_tests import reported, schedule, settings_of, test
from bench.sampling import garbage_collector_held, warm_up
from bench.scenarios.arrivals import joined, serve, spin_until

BATCH, LOAD, QUERIES, TURNS = 256, 0.6, 1000, 5
WITHIN = 0.05
PR_SET_TIMERSLACK = 29


def server(options: Namespace) -> bool:
    """Print and judge p50, p90 and p99 of both."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    run, pool = onnxruntime_call(Namespace(**{**vars(options), "batch": BATCH}))
    call, inputs = partial(run, None), cycle(pool)
    rate = LOAD / warm_up(lambda: call(next(inputs))).call_seconds
    print(f"server, batch {BATCH}, {rate:.1f} queries a second, {TURNS} schedules of {QUERIES} queries")
    ways: dict[str, Callable[[int], dict[str, float]]] = {
        "spinning": lambda seed: ours(call, pool, rate, seed, spin_until),
        "sleeping": lambda seed: ours(call, pool, rate, seed, sleep_until),
        "LoadGen": lambda seed: theirs(call, pool, rate, seed),
    }
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for seed in range(1, TURNS + 1):
        for name, way in ways.items():
            turns[name].append(way(seed))
    reached = True
    for quantity in ("call", "p50", "p90", "p99"):
        times = {name: median(turn[quantity] for turn in given) for name, given in turns.items()}
        ratios = {
            name: median(a[quantity] / b[quantity] for a, b in zip(given, turns["LoadGen"], strict=True))
            for name, given in turns.items()
            if name != "LoadGen"
        }
        listed = ", ".join(f"{name} {value * 1e3:.3f} ms" for name, value in times.items())
        over = ", ".join(f"{name} {ratio:.4f}" for name, ratio in ratios.items())
        print(f"{quantity}: {listed}; over LoadGen: {over}", flush=True)
        reached &= abs(ratios["sleeping"] - 1) <= WITHIN
    print(f"expected within {WITHIN:.0%}, sleeping")
    return reached


def sleep_until(due: float) -> None:
    """Wait as LoadGen does: give the core away."""
    while (left := due - time.perf_counter()) > 0:
        time.sleep(left)


def ours(call: Any, pool: Any, rate: float, seed: int, wait: Callable[[float], None]) -> dict[str, float]:
    """Seconds of a call (median) and of each percentile, in the loop of the scenario server."""
    arrivals, inputs = schedule(rate, QUERIES, seed), cycle(pool)
    with garbage_collector_held():
        begin = time.perf_counter() + 0.01
        part = serve(arrivals.tolist(), count().__next__, lambda: call(next(inputs)), begin, wait=wait)
    served = joined(arrivals, [part])
    percentiles = {f"p{percent}": float(np.percentile(served.latencies, percent)) for percent in (50, 90, 99)}
    return {"call": float(np.median(served.services)), **percentiles}


def theirs(call: Any, pool: Any, rate: float, seed: int) -> dict[str, float]:
    """The same, as LoadGen reports them; the time of a call is taken within its queries."""
    settings = settings_of("Server", QUERIES)
    settings.server_target_qps = rate
    settings.server_target_latency_ns = 10**10
    settings.schedule_rng_seed = seed
    durations: list[float] = []

    def timed(inputs: Any) -> None:
        before = time.perf_counter()
        call(inputs)
        durations.append(time.perf_counter() - before)

    found = reported(test(timed, pool, settings))
    return {"call": median(durations), **{f"p{percent}": seconds for percent, seconds in found.items()}}
