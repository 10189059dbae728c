"""Throughput with all the work at hand: what is counted, in how many streams, and what makes it not valid."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.cases import Case
from bench.machine.counters import OwnCores
from bench.measure import Process
from bench.models import Model
from bench.runtimes import Runtime, Setting
from bench.sampling import Budget, TooSlowError
from bench.scenarios import common, offline, server
from bench.scenarios.offline import count_calls
from bench.scenarios.once import LoadOnce
from bench.scenarios.streams import Streams
from study.errors import StudyError
from study.records.scenarios import OfflineProcess
from tests.bench.builders import of_weights
from tests.support import records

FAKE = "tests.bench.scenarios.test_offline:Constant"
CALL_SECONDS = 1e-3


class Constant(Runtime):
    """An engine whose calls take a millisecond, and compute nothing."""

    def __init__(self, model: Model, setting: Setting) -> None:
        self.threads = setting.threads
        if model.name == "broken":
            raise StudyError("it is broken")

    def run(self, inputs: Any) -> Any:
        until = time.perf_counter() + CALL_SECONDS
        while time.perf_counter() < until:
            pass
        return [np.zeros((1, 4), np.float32)]

    def settings(self) -> dict[str, Any]:
        return {"threads": self.threads}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return of_weights(tmp_path_factory.mktemp("model"), [[1, 2, 3, 4], [5, 6, 7, 8]]).model


@pytest.fixture(scope="module")
def streams() -> Iterator[Streams]:
    with Streams(2) as running:
        yield running


def fake(model: Model, batch: int = 1, **changes: Any) -> Case:
    return Case(dataclasses.replace(model, **changes), FAKE, batch)


def test_calls_in_the_window_count_and_those_across_its_borders_by_their_share_inside() -> None:
    now = 0.0

    def call() -> None:
        nonlocal now
        now += 2.0

    result = count_calls(call, begin=5.0, end=11.0, clock=lambda: now)
    assert result.ready
    assert result.calls == 3  # half of 4..6, 6..8, 8..10, half of 10..12
    now = 0.0
    assert (
        count_calls(call, begin=0.5, end=1.5, clock=lambda: now).calls == 0.5
    )  # one call lasts longer than the window
    assert not count_calls(call, begin=1.0, end=5.0, clock=lambda: now).ready  # it is 2 already


def test_each_stream_is_counted_and_together_they_are_the_throughput(model: Model, streams: Streams) -> None:
    process = offline.measure(fake(model), streams, Process(3, Budget(quick=True, processes=1), 0)).process
    assert len(process.calls_per_stream) == 2
    assert process.items_per_second == pytest.approx(sum(process.calls_per_stream) / process.window_seconds)
    most = process.window_seconds / CALL_SECONDS
    assert all(0 < calls <= most for calls in process.calls_per_stream)
    assert process.overhead_seconds > 0
    assert process.process == 3


def test_two_streams_serve_every_query_once_and_none_before_it_arrives(model: Model, streams: Streams) -> None:
    streams.load(fake(model), 1.0)
    result, _ = server.run(streams, rate=1000, queries=200, seed=5)
    assert not np.isnan(result.finished).any()
    assert (result.waits >= 0).all()
    assert (result.services >= CALL_SECONDS).all()
    running = [int(((result.started < begin) & (begin < result.finished)).sum()) for begin in result.started]
    assert max(running) <= 1, "at most two at once"


def test_a_stream_that_fails_names_the_cause_and_the_others_go_on(model: Model, streams: Streams) -> None:
    with pytest.raises(StudyError, match="it is broken"):
        streams.load(fake(model, name="broken"), 1.0)
    assert len(streams.load(fake(model), 1.0)) == 2


def test_calls_that_do_not_fit_into_the_time_are_left_out(model: Model, streams: Streams) -> None:
    budget = Budget(seconds=1e-4, processes=1, quick=True)
    with pytest.raises(TooSlowError, match=r"^10 calls take 0\.\d s; leave out --quick$"):
        offline.measure(fake(model), streams, Process(1, budget, 0))


def once(number: int, throughput: float, **changes: Any) -> LoadOnce:
    own: dict[str, Any] = {"calibration": records.CALIBRATION, "machine": records.QUIET, "cores_used": 2.0}
    own |= {"window_seconds": 2.0, "calls_per_stream": (1000.0, 990.0), "overhead_seconds": 1e-7}
    own |= {"valid": True, "reasons": ()}
    process = OfflineProcess(**own | {"process": number, "items_per_second": throughput} | changes)
    return LoadOnce(process, {"threads": 1}, (), False, 2e-3, 1.0)


def test_a_record_has_the_throughput_over_the_processes(model: Model) -> None:
    case = Case(model, "onnxruntime", 32)
    results = [once(n, value) for n, value in enumerate((900.0, 1000.0, 1000.0, 1000.0, 1111.1111), 1)]
    record = offline.record(case, results, Budget(), 2)
    assert record.items_per_second.value == pytest.approx(1000)
    # Student's t of 4 degrees of freedom 2.776; standard deviation of the logarithms ln(10/9) / sqrt(2)
    half = 2.776 * np.log(10 / 9) / np.sqrt(2) / np.sqrt(5)
    assert record.items_per_second.high == pytest.approx(1000 * np.exp(half), rel=1e-3)
    assert (record.valid, record.streams, len(record.processes)) == (True, 2, 5)
    quick = offline.record(case, results[:1], Budget(quick=True), 2)
    assert (quick.valid, len(quick.reasons)) == (False, 1)


def test_more_threads_than_physical_cores_are_oversubscribed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    two_hyper_threads = OwnCores(frozenset({0, 1}), 1, frozenset())
    monkeypatch.setattr(common, "own_cores", lambda cpus: two_hyper_threads)
    case = Case(model, "onnxruntime", 1)
    assert [common.oversubscribed(case, streams) for streams in (1, 2)] == [False, True]
