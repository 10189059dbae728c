"""Latency of every model in every engine: `pytest bench --benchmark-json=FILE`.

One call is one sample. Only the call is timed: native inputs to native outputs, with inputs that change from call to
call. Fresh processes measure, before these tests run: each times every case, and compares each engine with torch, in
an order of its own (bench/session.py). The tests hand the samples to pytest-benchmark.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from bench.cases import Case
from bench.session import Session, cold_start_name
from bench.tasks import CaseTask, PairTask
from study.artifacts import as_json

_clock: Iterator[float] = iter(())


def time_in_processes() -> float:
    """The clock of pytest-benchmark: it shows the times that the processes measured."""
    return next(_clock)


@pytest.mark.benchmark(timer=time_in_processes)
def test_latency(benchmark: Any, case: Case, session: Session) -> None:
    session.require(CaseTask(case).name)
    global _clock
    samples = session.samples(case)
    _clock = (seconds for sample in samples for seconds in (0.0, sample))
    benchmark.pedantic(lambda: None, rounds=len(samples), iterations=1)
    record = session.case(case)
    assert record is not None
    benchmark.extra_info.update(as_json(record))


def test_comparison(pair: tuple[Case, Case], session: Session) -> None:
    session.require(PairTask(*pair).name)


def test_cold_start(starting: Case, session: Session) -> None:
    session.require(cold_start_name(starting))
