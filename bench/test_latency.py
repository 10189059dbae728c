"""Latency of every model in every engine: `pytest bench --benchmark-json=FILE`.

One call is one sample. What is timed is the call alone: engine-native images in, probabilities out, on images that
change from call to call. Before the clock starts the engine's threads are read back, its probabilities are compared
with the other engine's, and it is called until its latency is stable.
"""

import time
from typing import Any

from bench.cases import Case, parity, record
from bench.sampling import garbage_collector_held, sample_count, warm_up


def test_null(benchmark: Any) -> None:
    """What the harness itself costs: nothing at all, timed on the same path."""
    with garbage_collector_held():
        benchmark.pedantic(lambda _: None, setup=lambda: ((0,), {}), rounds=10_000, iterations=1)


def test_latency(benchmark: Any, case: Case, quick: bool) -> None:
    loaded = case.load()
    with loaded.context, garbage_collector_held():
        compared = parity(case, loaded)
        batches = case.batches(loaded)
        warmed = warm_up(lambda: loaded.call(next(batches)))
        rounds = sample_count(warmed.call_seconds, quick)

        wall, cpu = time.perf_counter(), time.process_time()
        benchmark.pedantic(loaded.call, setup=lambda: ((next(batches),), {}), rounds=rounds, iterations=1)
        cores_used = (time.process_time() - cpu) / (time.perf_counter() - wall)

    if benchmark.stats is not None:  # None under --benchmark-disable
        samples = benchmark.stats.stats.data
        benchmark.extra_info.update(record(case, samples, warmed, compared, loaded, cores_used, quick))
