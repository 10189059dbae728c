"""Latency of every model in every engine: `pytest bench --benchmark-json=FILE`.

One call is one sample. Only the call is timed: native inputs to native outputs, with inputs that change from call to
call. Fresh processes measure, before these tests run: each times every case, compares each engine with torch and the
best setting of torch with the best of another engine (bench/best.py), in an order of its own (bench/session.py). The
tests hand the samples to pytest-benchmark.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bench.best import Families
from bench.cases import Case
from bench.profile.measure import ProfileTask
from bench.results import cold_start_name
from bench.scenarios.tasks import LoadTask
from bench.session import Session
from bench.tasks import CaseTask, PairTask
from study.record_files import as_json
from study.records.scenarios import OfflineRecord, ServerRecord

_clock: Iterator[float] = iter(())


def time_in_processes() -> float:
    """The clock of pytest-benchmark: it shows the times that the processes measured."""
    return next(_clock)


def give(benchmark: Any, samples: Sequence[float]) -> None:
    """Hand seconds that were measured already to pytest-benchmark, one a round."""
    global _clock
    _clock = (seconds for sample in samples for seconds in (0.0, sample))
    benchmark.pedantic(lambda: None, rounds=len(samples), iterations=1)


@pytest.mark.benchmark(timer=time_in_processes)
def test_latency(benchmark: Any, case: Case, session: Session) -> None:
    session.require(CaseTask(case).name)
    give(benchmark, session.samples(case))
    record = session.case(case)
    assert record is not None
    benchmark.extra_info.update(as_json(record))


def test_comparison(pair: tuple[Case, Case], session: Session) -> None:
    session.require(PairTask(*pair).name)


def test_best(families: Families, session: Session) -> None:
    """Best against best, whose two runtimes the pilot chooses."""
    session.require_best(families)


def test_cold_start(starting: Case, session: Session) -> None:
    session.require(cold_start_name(starting))


def test_profile(profiling: ProfileTask, session: Session) -> None:
    session.require(profiling.name)


@pytest.mark.benchmark(timer=time_in_processes)
def test_offline(benchmark: Any, offline: LoadTask, session: Session) -> None:
    """pytest-benchmark gets the seconds an item in each process, so that its operations a second are the throughput."""
    session.require(offline.name)
    record = session.loaded(offline)
    assert isinstance(record, OfflineRecord)
    give(benchmark, [1 / one.items_per_second for one in record.processes])


@pytest.mark.benchmark(timer=time_in_processes)
def test_server(benchmark: Any, server: LoadTask, session: Session) -> None:
    """pytest-benchmark gets the mean seconds between two queries in each process."""
    session.require(server.name)
    record = session.loaded(server)
    assert isinstance(record, ServerRecord)
    give(benchmark, [1 / one.rate for one in record.processes])
