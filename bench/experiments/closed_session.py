"""torch on two threads, after a closed ONNX Runtime session and without one, in fresh processes in turns.

Idle threads of one engine that spin-wait slow the other down up to 50-fold (onnxruntime issue 13808). A closed session
should make no difference.
"""

import multiprocessing
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np

from bench.cases import opened
from bench.experiments.common import case_of, made_with
from bench.parts import part
from bench.sampling import garbage_collector_held, warm_up
from study.student import mean_interval

WITHIN = 0.05
THREADS = 2
CALLS = 5_000


def torch_median(options: Namespace, after_a_session: bool) -> float:
    """Median seconds of a call in torch, optionally after an ONNX Runtime session was used and closed."""
    case = case_of(options, THREADS)
    pool = case.model.pool(case.batch)
    if after_a_session:
        with opened(replace(case, runtime="onnxruntime"), pool) as engine, engine.runtime.context():
            warm_up(engine.once)
    with opened(replace(case, runtime="torch"), pool) as engine, engine.runtime.context(), garbage_collector_held():
        warm_up(engine.once)
        return float(np.median(part(engine.call, engine.inputs, CALLS)))


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 20
    place = f"{options.model}, torch, {THREADS} threads, batch {options.batch}"
    print(f"{place}, {repetitions} processes with and without; {made_with()}")
    ratios = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as processes:
        for n in range(repetitions):
            medians = {b: processes.submit(torch_median, options, b).result() for b in (n % 2 == 0, n % 2 == 1)}
            ratios.append(medians[True] / medians[False])
            print(f"{n + 1:3}  with {medians[True] * 1e6:.1f} µs, without {medians[False] * 1e6:.1f} µs", flush=True)
    both = mean_interval(ratios)
    print(f"with over without: {both.value:.4f} ({both.low:.4f} to {both.high:.4f}); expected within {WITHIN:.0%}")
    return abs(both.value - 1) <= WITHIN
