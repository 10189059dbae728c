"""Latency of every model in every engine: `pytest bench --benchmark-json=FILE`.

One call is one sample. Only the call is timed: native inputs to native outputs, with inputs that change from call to
call. Before the clock starts, the engine's threads are read back, its outputs are compared with another engine's, and
it is warmed up until its latency is stable. Then each engine is paired with torch, and cold starts are measured in
fresh processes.
"""

import operator
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import cold_start, measure
from bench.cases import Case
from bench.sampling import TooSlowError, garbage_collector_held
from bench.session import Session
from study.artifacts import as_json
from study.records.bench import JournalEntry


def test_null(benchmark: Any, session: Session) -> None:
    """The overhead of the harness: an empty callable, timed on the same path."""
    with garbage_collector_held():
        benchmark.pedantic(operator.call, setup=lambda: ((lambda _: None, 0), {}), rounds=10_000, iterations=1)
    session.overhead_seconds = benchmark.stats.stats.median


def test_latency(benchmark: Any, case: Case, session: Session) -> None:
    def time_calls(given: Iterator[tuple[Callable[[Any], Any], Any]], calls: int) -> list[float]:
        benchmark.pedantic(operator.call, setup=lambda: (next(given), {}), rounds=calls, iterations=1)
        samples: list[float] = benchmark.stats.stats.data
        return samples

    record = measure.latency(case, session.budget, session.overhead_seconds, time_calls)
    benchmark.extra_info.update(as_json(record))
    session.keep(str(case), JournalEntry(case=record))


def test_comparison(pair: tuple[Case, Case], session: Session, request: pytest.FixtureRequest) -> None:
    measured = [session.cases_so_far.get(str(case)) for case in pair]
    speeds = [one.median_seconds.value if one else 0.0 for one in measured]
    if (seconds := measure.round_seconds(speeds)) > session.budget.most_seconds / 2:
        remedy = session.budget.remedy(sum(speeds), 4)
        raise TooSlowError(f"one round of the comparison takes {seconds:.1f} s; {remedy}")
    seed = secrets.randbits(32)
    record = measure.comparison(*pair, session.budget, seed, session.overhead_seconds)
    session.keep(request.node.callspec.id, JournalEntry(comparison=record))


def test_cold_start(starting: Case, session: Session) -> None:
    record = cold_start.measure(starting, session.budget)
    session.keep(f"cold start of {starting}", JournalEntry(cold_start=record))


def test_again(process: int, session: Session, request: pytest.FixtureRequest) -> None:
    """Repeat everything in another process; the JSON has the spread between processes."""
    session.measure_again(process, Path(request.config.invocation_params.dir))
