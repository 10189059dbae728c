"""The bench against MLPerf LoadGen, same model, settings and inputs, in turns: SingleStream, and then Server.

The overhead of LoadGen, 1 to 2 microseconds a query when called from Python, is measured with a system under test that
does nothing, and subtracted. That does not undo what LoadGen's work between two queries evicts from the processor's
caches, so the call is also timed within LoadGen's queries, after another one that is not timed: this is the call as
the bench defines it, right after another call. Everything runs once with one image and once with the bench's pool.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import measure
from bench.experiments.bare_loop import onnxruntime_call
from bench.experiments.common import budget_of, case_of, made_with
from bench.experiments.loadgen_server import server
from bench.experiments.loadgen_tests import reported, settings_of, test
from bench.measure import Process
from bench.models import Model

WITHIN = 0.03
QUERIES = 20_000
PERCENTILES = (50, 90)


class OneImage(Model):
    """A model whose pool is one batch of images."""

    def pool(self, batch: int) -> list[dict[str, NDArray[Any]]]:
        return super().pool(batch)[:1]


def single_stream(infer: Callable[[Any], Any], pool: Sequence[Any]) -> dict[int, float]:
    """Seconds of p50 and p90 that LoadGen reports for `infer` on the pool in turn."""
    return reported(test(infer, pool, settings_of("SingleStream", QUERIES)))


def timed_within(infer: Callable[[Any], Any], pool: Sequence[Any]) -> dict[int, float]:
    """Seconds of p50 and p90 of a call right after another one, timed within LoadGen's queries."""
    durations: list[float] = []

    def timed(inputs: Any) -> None:
        infer(inputs)
        begin = time.perf_counter()
        infer(inputs)
        durations.append(time.perf_counter() - begin)

    single_stream(timed, pool)
    return {percent: float(np.percentile(durations, percent)) for percent in PERCENTILES}


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 5
    print(f"{options.model}, onnxruntime, batch {options.batch}, {repetitions} turns each; {made_with()}")
    case = case_of(options)
    model = case.model
    one = OneImage(model.name, model.onnx, model.onnx_sha256, model.entry, model.run, model.data)
    reached = True
    for shown in (one, model):
        own = replace(case, model=shown)
        seconds: dict[str, list[dict[int, float]]] = {"ours": [], "LoadGen": [], "null": [], "within": []}
        for _ in range(repetitions):
            call = partial(onnxruntime_call(options)[0], None)
            pool = shown.pool(options.batch)
            ours = measure.latency(own, Process(1, replace(budget_of(options), processes=1), seed=0)).process
            seconds["ours"].append({50: ours.median_seconds, 90: ours.p90_seconds})
            seconds["LoadGen"].append(single_stream(call, pool))
            seconds["null"].append(single_stream(lambda _: None, pool))
            seconds["within"].append(timed_within(call, pool))
        for percent in PERCENTILES:
            times = {name: median(turn[percent] for turn in turns) for name, turns in seconds.items()}
            ratio, reported_ratio = times["ours"] / times["within"], times["ours"] / (times["LoadGen"] - times["null"])
            listed = ", ".join(f"{name} {value * 1e6:.2f} µs" for name, value in times.items())
            print(
                f"{len(pool)} inputs, p{percent}: {listed}; ours over within {ratio:.4f}, over LoadGen less null "
                f"{reported_ratio:.4f}",
                flush=True,
            )
            reached &= abs(ratio - 1) <= WITHIN
    print(f"expected within {WITHIN:.0%}; 'within' is a call after another one, timed in LoadGen's queries")
    return server(options) and reached
