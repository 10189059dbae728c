"""Run MLPerf LoadGen from Python, and reproduce its schedule."""

import re
import tempfile
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from bench.sampling import garbage_collector_held
from bench.scenarios.arrivals import Seconds
from study.errors import StudyError

SUMMARY = re.compile(r"^(50|90|99)\.00 percentile latency \(ns\) *: *(\d+)$", re.MULTILINE)


def loadgen() -> Any:
    """LoadGen's module.

    Raises:
        StudyError: it is not installed.
    """
    try:
        import mlperf_loadgen
    except ImportError:
        raise StudyError("LoadGen is not installed; run `pip install mlcommons-loadgen`") from None
    return mlperf_loadgen


def settings_of(scenario: str, queries: int) -> Any:
    """LoadGen's settings for a number of queries."""
    lg = loadgen()
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_query_count = settings.max_query_count = queries
    settings.min_duration_ms = 0
    return settings


def reported(summary: str) -> dict[int, float]:
    """Seconds of each percentile of a summary."""
    return {int(percent): int(nanoseconds) / 1e9 for percent, nanoseconds in SUMMARY.findall(summary)}


def test(infer: Callable[[Any], Any], pool: Sequence[Any], settings: Any) -> str:
    """LoadGen's summary of a test of `infer` on the pool in turn."""
    lg, inputs = loadgen(), cycle(pool)

    def issue(samples: Any) -> None:
        for sample in samples:
            infer(next(inputs))
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])

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
        return (Path(folder) / "mlperf_log_summary.txt").read_text()


def schedule(rate: float, queries: int, seed: int) -> Seconds:
    """The arrivals [queries] of LoadGen's Server with this `schedule_rng_seed`, in seconds.

    The first is at 0. Gaps are those of libstdc++'s exponential distribution on mt19937, two draws of 32 bits each,
    rounded down to nanoseconds (GenerateQueries in loadgen.cc). tests/bench/scenarios/test_server.py has some of them.
    """
    bits = np.random.RandomState(seed).randint(0, 2**32, size=2 * (queries - 1), dtype=np.uint32).astype(np.float64)
    uniform = (bits[0::2] + bits[1::2] * 2.0**32) / 2.0**64
    gaps = np.floor(-np.log(1 - uniform) / rate * 1e9)
    return np.concatenate(([0.0], np.cumsum(gaps))) / 1e9
