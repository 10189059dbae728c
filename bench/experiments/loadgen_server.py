"""The scenario server against MLPerf LoadGen's Server, with the same arrivals, in turns.

LoadGen sleeps until a query arrives, and the kernel wakes it some ten microseconds late; the bench spins. A batch of
256 images takes milliseconds, so that this is no part of the result. The kernel's slack for timers, 50 microseconds, is
set to a nanosecond for LoadGen.
"""

import ctypes
import sys
import time
from argparse import Namespace
from functools import partial
from itertools import count, cycle
from statistics import median
from typing import Any

import numpy as np

from bench.experiments.bare_loop import onnxruntime_call
from bench.experiments.loadgen_tests import reported, schedule, settings_of, test
from bench.sampling import garbage_collector_held, warm_up
from bench.scenarios.arrivals import joined, serve

BATCH, LOAD, QUERIES, TURNS = 256, 0.6, 1000, 3
WITHIN = 0.05
PR_SET_TIMERSLACK = 29


def server(options: Namespace) -> bool:
    """Print and judge p50, p90 and p99 of both."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    run, pool = onnxruntime_call(Namespace(**{**vars(options), "batch": BATCH}))
    call, inputs = partial(run, None), cycle(pool)
    rate = LOAD / warm_up(lambda: call(next(inputs))).call_seconds
    turns: dict[str, list[dict[int, float]]] = {"ours": [], "LoadGen": []}
    for seed in range(1, TURNS + 1):
        turns["ours"].append(ours(call, pool, rate, seed))
        turns["LoadGen"].append(theirs(call, pool, rate, seed))
    reached = True
    for percent in (50, 90, 99):
        times = {name: median(turn[percent] for turn in given) for name, given in turns.items()}
        ratio = median(a[percent] / b[percent] for a, b in zip(turns["ours"], turns["LoadGen"], strict=True))
        listed = ", ".join(f"{name} {value * 1e3:.3f} ms" for name, value in times.items())
        print(
            f"server, batch {BATCH}, {rate:.1f} queries a second, p{percent}: {listed}; ratio {ratio:.4f}", flush=True
        )
        reached &= abs(ratio - 1) <= WITHIN
    print(f"expected within {WITHIN:.0%}; {TURNS} schedules of {QUERIES} queries, the same for both")
    return reached


def ours(call: Any, pool: Any, rate: float, seed: int) -> dict[int, float]:
    """Seconds of each percentile, in the loop of the scenario server."""
    arrivals, inputs = schedule(rate, QUERIES, seed), cycle(pool)
    with garbage_collector_held():
        begin = time.perf_counter() + 0.01
        served = joined(arrivals, [serve(arrivals.tolist(), count().__next__, lambda: call(next(inputs)), begin)])
    return {percent: float(np.percentile(served.latencies, percent)) for percent in (50, 90, 99)}


def theirs(call: Any, pool: Any, rate: float, seed: int) -> dict[int, float]:
    """The same, as LoadGen reports them."""
    settings = settings_of("Server", QUERIES)
    settings.server_target_qps = rate
    settings.server_target_latency_ns = 10**10
    settings.schedule_rng_seed = seed
    return reported(test(call, pool, settings))
