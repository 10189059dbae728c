"""The median of the bench against a bare `perf_counter_ns` loop around `session.run`, in turns, on the same images.

A second bare loop repeats one image: the difference is the effect of an input that is already in the cache.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from statistics import median
from typing import Any

import onnxruntime

from bench.experiments.common import case_of, made_with, session
from bench.models import Inputs
from bench.sampling import garbage_collector_held

WITHIN = 0.02
CALLS = 20_000
WARM_UP = 2_000


def bare_median(run: Callable[..., Any], pool: Sequence[Inputs]) -> float:
    """Median seconds of a call in the simplest possible loop."""
    for inputs in islice(cycle(pool), WARM_UP):
        run(None, inputs)
    durations = []
    with garbage_collector_held():
        for inputs in islice(cycle(pool), CALLS):
            begin = time.perf_counter_ns()
            run(None, inputs)
            durations.append(time.perf_counter_ns() - begin)
    return median(durations) / 1e9


def onnxruntime_call(options: Namespace) -> tuple[Callable[..., Any], Sequence[Inputs]]:
    """`session.run` of a new session with one thread, and the inputs that the bench uses."""
    case = case_of(options)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    created = onnxruntime.InferenceSession(case.model.onnx, settings, providers=["CPUExecutionProvider"])
    return created.run, case.model.pool(case.batch)


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 20
    print(f"{options.model}, onnxruntime, batch {options.batch}, {repetitions} turns each; {made_with()}")
    ratios, to_one_image = [], []
    for n in range(repetitions):
        call, pool = onnxruntime_call(options)
        before = bare_median(call, pool) if n % 2 else None
        ours = session(options, "onnxruntime").cases[0].median_seconds.value
        bare = before or bare_median(call, pool)
        one_image = bare_median(call, pool[:1])
        ratios.append(ours / bare)
        to_one_image.append(ours / one_image)
        times = f"ours {ours * 1e6:.2f} µs, bare {bare * 1e6:.2f} µs, with one image {one_image * 1e6:.2f} µs"
        print(f"{n + 1:3}  {times}: {ratios[-1]:.4f}", flush=True)
    ratio = float(median(ratios))
    print(f"ours over bare: median {ratio:.4f}, {min(ratios):.4f} to {max(ratios):.4f}; expected within {WITHIN:.0%}")
    print(f"ours over bare with one image: median {median(to_one_image):.4f}")
    return abs(ratio - 1) <= WITHIN
