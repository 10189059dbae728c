"""The bench's median against a bare `perf_counter_ns` loop around `session.run`, in turns."""

import time
from argparse import Namespace
from collections.abc import Callable
from statistics import median
from typing import Any

import onnxruntime

from bench.experiments.common import case_of, made_with, session
from bench.sampling import garbage_collector_held

WITHIN = 0.02
CALLS = 20_000
WARM_UP = 2_000


def bare_median(options: Namespace) -> float:
    """Seconds of a call, as somebody would time it who has never seen this project."""
    run, inputs = onnxruntime_call(options)
    for _ in range(WARM_UP):
        run(None, inputs)
    durations = []
    with garbage_collector_held():
        for _ in range(CALLS):
            begin = time.perf_counter_ns()
            run(None, inputs)
            durations.append(time.perf_counter_ns() - begin)
    return median(durations) / 1e9


def onnxruntime_call(options: Namespace) -> tuple[Callable[..., Any], dict[str, Any]]:
    """`session.run` of a new session with one thread, and one input for it."""
    case = case_of(options)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    created = onnxruntime.InferenceSession(case.model.onnx, settings, providers=["CPUExecutionProvider"])
    return created.run, case.model.pool(case.batch)[0]


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 20
    print(f"{options.model}, onnxruntime, batch {options.batch}, {repetitions} turns each; {made_with()}")
    ratios = []
    for n in range(repetitions):
        bare = [bare_median(options)] if n % 2 else []
        (case,) = session(options, "onnxruntime")["cases"]
        ours = case["median_seconds"]
        bare = bare or [bare_median(options)]
        ratios.append(ours / bare[0])
        print(f"{n + 1:3}  ours {ours * 1e6:.2f} µs, bare {bare[0] * 1e6:.2f} µs: {ratios[-1]:.4f}", flush=True)
    ratio = float(median(ratios))
    print(f"ours over bare: median {ratio:.4f}, {min(ratios):.4f} to {max(ratios):.4f}; expected within {WITHIN:.0%}")
    return abs(ratio - 1) <= WITHIN
