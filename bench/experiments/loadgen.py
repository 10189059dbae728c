"""The bench's p50 and p90 against those of MLPerf LoadGen, SingleStream, same model, settings and inputs, in turns.

The overhead of LoadGen, 1 to 2 microseconds a query when called from Python, is measured with a system under test that
does nothing, and subtracted. The effect of LoadGen's work on the processor's caches cannot be subtracted, so the call
alone is also timed within LoadGen's queries. Everything runs once with one image and once with the bench's pool.
"""

import re
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import measure
from bench.experiments.bare_loop import onnxruntime_call
from bench.experiments.common import budget_of, case_of, made_with
from bench.measure import Process
from bench.models import Model
from bench.sampling import garbage_collector_held
from study.errors import StudyError

WITHIN = 0.05
QUERIES = 20_000
PERCENTILES = (50, 90)
SUMMARY = re.compile(r"^(50|90)\.00 percentile latency \(ns\) *: *(\d+)$", re.MULTILINE)


class OneImage(Model):
    """A model whose pool is one batch of images."""

    def pool(self, batch: int) -> list[dict[str, NDArray[Any]]]:
        return super().pool(batch)[:1]


def single_stream(infer: Callable[[Any], Any], pool: Sequence[Any]) -> dict[int, float]:
    """Seconds of p50 and p90 that LoadGen reports for `infer` on the pool in turn."""
    try:
        import mlperf_loadgen as lg
    except ImportError:
        raise StudyError("LoadGen is not installed; run `pip install mlcommons-loadgen`") from None
    inputs = cycle(pool)

    def issue(samples: Any) -> None:
        for sample in samples:
            infer(next(inputs))
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])

    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.SingleStream
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_query_count = settings.max_query_count = QUERIES
    settings.min_duration_ms = 0
    with tempfile.TemporaryDirectory() as folder:
        output = lg.LogOutputSettings()
        output.outdir = folder
        log = lg.LogSettings()
        log.log_output = output
        log.enable_trace = False
        system = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(1, 1, lambda _: None, lambda _: None)
        with garbage_collector_held():
            lg.StartTestWithLogSettings(system, library, settings, log)
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    return {int(percent): int(nanoseconds) / 1e9 for percent, nanoseconds in SUMMARY.findall(summary)}


def timed_within(infer: Callable[[Any], Any], pool: Sequence[Any]) -> dict[int, float]:
    """Seconds of p50 and p90 of the call alone, timed within LoadGen's queries."""
    durations: list[float] = []

    def timed(inputs: Any) -> None:
        begin = time.perf_counter()
        infer(inputs)
        durations.append(time.perf_counter() - begin)

    single_stream(timed, pool)
    return {percent: float(np.percentile(durations, percent)) for percent in PERCENTILES}


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 10
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
            ratio = times["ours"] / (times["LoadGen"] - times["null"])
            listed = ", ".join(f"{name} {value * 1e6:.2f} µs" for name, value in times.items())
            print(f"{len(pool)} inputs, p{percent}: {listed}; ours over LoadGen less null {ratio:.4f}", flush=True)
            reached &= abs(ratio - 1) <= WITHIN
    print(f"expected within {WITHIN:.0%}; 'within' is the call alone, timed between LoadGen's queries")
    return reached
