"""The bench's p50 and p90 against those of MLPerf LoadGen, SingleStream, same model and settings, in turns.

LoadGen's own cost, some two microseconds a query when called from Python, is measured the same way with a system under
test that does nothing, and subtracted.
"""

import re
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from bench.experiments.bare_loop import onnxruntime_call
from bench.experiments.common import made_with, session
from bench.sampling import garbage_collector_held
from study.errors import StudyError

WITHIN = 0.05
QUERIES = 20_000
PERCENTILE = re.compile(r"^(50|90)\.00 percentile latency \(ns\) *: *(\d+)$", re.MULTILINE)


def single_stream(infer: Callable[[Any], Any], pool: Sequence[Any]) -> dict[int, float]:
    """Seconds of p50 and p90 that LoadGen finds for `infer`, given those of the pool in turn."""
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
    return {int(percent): int(nanoseconds) / 1e9 for percent, nanoseconds in PERCENTILE.findall(summary)}


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 10
    print(f"{options.model}, onnxruntime, batch {options.batch}, {repetitions} turns each; {made_with()}")
    ratios: dict[int, list[float]] = {50: [], 90: []}
    for n in range(repetitions):
        call, pool = onnxruntime_call(options)
        null = single_stream(lambda _: None, pool)
        theirs = single_stream(partial(call, None), pool)
        (case,) = session(options, "onnxruntime")["cases"]
        line = [f"{n + 1:3}"]
        for percent, name in ((50, "median"), (90, "p90")):
            ours, found = case[f"{name}_seconds"], theirs[percent] - null[percent]
            ratios[percent].append(ours / found)
            own = f"{theirs[percent] * 1e6:.2f} - {null[percent] * 1e6:.2f}"
            line.append(f"p{percent} ours {ours * 1e6:.2f} µs, LoadGen {own} µs: {ours / found:.4f}")
        print("  ".join(line), flush=True)
    for percent, found_ratios in ratios.items():
        print(f"p{percent}: ours over LoadGen's, median {median(found_ratios):.4f}; expected within {WITHIN:.0%}")
    return all(abs(median(r) - 1) <= WITHIN for r in ratios.values())
