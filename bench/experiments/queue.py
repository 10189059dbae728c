"""A server whose calls all take a millisecond, under Poisson arrivals in real time, against theory (M/D/1).

The engine spins for a millisecond, so that everything else is the harness: its loop, its waiting, its clock. In so few
queries the mean wait of the schedule itself differs from theory by some percent; the seed is therefore one whose
schedule, by Lindley's recursion, is within 0.5 %. tests/bench/scenarios/test_server.py checks the recursion by theory.
"""

import time
from argparse import Namespace
from itertools import count

import numpy as np

from bench.experiments.common import made_with
from bench.sampling import garbage_collector_held
from bench.scenarios.arrivals import joined, mean_wait_md1, poisson, serve, spin_until, waits_of_one_server

SERVICE = 1e-3
LOADS = {0.3: 4_000, 0.6: 8_000, 0.9: 16_000}
"""Number of queries at each load: 45 seconds in all."""
WITHIN, REPRESENTATIVE = 0.05, 0.005


def representative_seed(load: float, queries: int) -> int:
    """The first seed whose schedule has the mean wait of theory."""
    wanted = mean_wait_md1(load, SERVICE)
    for seed in count():
        mean = float(np.mean(waits_of_one_server(poisson(load / SERVICE, queries, seed), SERVICE)))
        if abs(mean / wanted - 1) <= REPRESENTATIVE:
            return seed
    raise AssertionError


def spin() -> None:
    """The engine."""
    spin_until(time.perf_counter() + SERVICE)


def run(options: Namespace) -> bool:
    print(f"calls of {SERVICE * 1e3:g} ms, one stream; {made_with()}")
    reached = True
    for load, queries in LOADS.items():
        arrivals = poisson(load / SERVICE, queries, representative_seed(load, queries))
        with garbage_collector_held():
            begin = time.perf_counter() + 0.01
            served = joined(arrivals, [serve(arrivals.tolist(), count().__next__, spin, begin)])
        wait, theory = float(np.mean(served.waits)), mean_wait_md1(load, SERVICE)
        late = float(np.median(served.waits[served.waits < SERVICE / 100])) if (served.waits < 1e-5).any() else 0.0
        print(
            f"load {load}: mean wait {wait * 1e3:.4f} ms, M/D/1 {theory * 1e3:.4f} ms, ratio {wait / theory:.4f}; "
            f"mean call {np.mean(served.services) * 1e3:.4f} ms, an idle server begins {late * 1e6:.2f} µs late",
            flush=True,
        )
        reached &= abs(wait / theory - 1) <= WITHIN
    print(f"expected within {WITHIN:.0%}")
    return reached
