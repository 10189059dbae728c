"""Queries at random: the queue against theory, the search for the highest rate, and what the record says."""

from bisect import bisect_left
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

from bench.cases import Case
from bench.experiments.loadgen_tests import schedule
from bench.models import Model
from bench.sampling import Budget
from bench.scenarios import server
from bench.scenarios.arrivals import Served, joined, mean_wait_md1, poisson, serve, waits_of_one_server
from bench.scenarios.once import LoadOnce
from bench.scenarios.search import TOLERANCE, BoundTooLowError, highest_rate
from bench.scenarios.server import Goal
from study.records.scenarios import ServerProcess
from tests.bench.builders import of_weights
from tests.support import records


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return of_weights(tmp_path_factory.mktemp("model"), [[1, 2, 3, 4], [5, 6, 7, 8]]).model


class Clock:
    """Time that passes only in calls and waits."""

    def __init__(self, service: float) -> None:
        self.now, self.service = 100.0, service

    def read(self) -> float:
        return self.now

    def wait(self, due: float) -> None:
        self.now = max(self.now, due)

    def call(self) -> None:
        self.now += self.service


def served(arrivals: Any, service: float) -> Served:
    """What one stream serves whose calls all take as long."""
    clock = Clock(service)
    part = serve(arrivals.tolist(), count().__next__, clock.call, clock.now, clock.read, clock.wait)
    return joined(arrivals, [part])


def test_queries_wait_for_those_before_them_and_latency_counts_from_the_scheduled_arrival() -> None:
    arrivals = np.array([1.0, 1.5, 6.0])  # the second arrives while the first is served
    result = served(arrivals, 2.0)
    assert result.started.tolist() == [1, 3, 6]
    assert result.waits.tolist() == [0, 1.5, 0]
    assert result.latencies.tolist() == [2, 3.5, 2]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_mean_wait_of_a_constant_service_time_is_that_of_m_d_1(load: float) -> None:
    service = 1e-3
    short = poisson(load / service, 20_000, seed=1)
    waits = served(short, service).waits
    np.testing.assert_allclose(waits, waits_of_one_server(short, service), atol=1e-9)  # Lindley's recursion
    long = waits_of_one_server(poisson(load / service, 3_000_000, seed=2), service)
    assert float(np.mean(long)) == pytest.approx(mean_wait_md1(load, service), rel=0.05)


def test_two_streams_serve_one_queue_in_the_order_of_arrival() -> None:
    """Each stream's part is recorded by its numbers, however they are shared."""
    arrivals = np.array([0.0, 0.1, 0.2])
    result = joined(arrivals, [([0, 2], [0.0, 1.0], [1.0, 2.0]), ([1], [0.1], [1.1])])
    assert result.started.tolist() == [0, 0.1, 1.0]
    assert result.latencies.tolist() == [1.0, 1.0, 1.8]


def test_a_schedule_is_that_of_its_seed_and_scales_with_the_rate() -> None:
    one, same, other = (poisson(10, 50_000, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(poisson(20, 50_000, 1), one / 2)
    gaps = np.diff(one)
    assert float(np.mean(gaps)) == pytest.approx(0.1, rel=0.02)
    assert float(np.std(gaps)) == pytest.approx(0.1, rel=0.02)  # of an exponential distribution it is the mean


def test_the_schedule_of_loadgen_is_reproduced() -> None:
    """The first arrivals in the trace of mlcommons-loadgen 6.0 at 2,000 queries a second, schedule_rng_seed 12345."""
    traced = [0, 1104.341e-6, 1174.378e-6, 1194.663e-6, 2070.267e-6]
    np.testing.assert_allclose(schedule(2000, 5, seed=12345), traced, atol=1e-12)


def simulated(service: float) -> Callable[[float, int, int], Served]:
    """Runs of one server whose calls all take as long."""

    def run(rate: float, queries: int, seed: int) -> Served:
        arrivals = poisson(rate, queries, seed)
        started = arrivals + waits_of_one_server(arrivals, service)
        return Served(arrivals, started, started + service)

    return run


@pytest.mark.parametrize("times", [3, 5, 20])
def test_the_highest_rate_is_the_one_whose_p99_equals_the_bound(times: int) -> None:
    """On the average of ten schedules; the true rate is that of 400,000 queries."""
    service, bound = 1e-3, times * 1e-3
    run = simulated(service)
    rates = np.linspace(100, 1000, 1000, endpoint=False)
    true = rates[bisect_left(rates, bound, key=lambda rate: float(np.quantile(run(rate, 400_000, 7).latencies, 0.99)))]
    found = [highest_rate(run, bound, 1 / service, 1, 5.0, 662, seed).highest.rate for seed in range(0, 100, 10)]
    assert float(np.mean(found)) == pytest.approx(true, rel=0.04)


@pytest.mark.parametrize("capacity", [300, 1000, 3000])
def test_the_search_reports_a_rate_that_held_and_one_just_above_that_did_not(capacity: float) -> None:
    found = highest_rate(simulated(1e-3), 5e-3, capacity, 1, 10.0, 662, seed=3)  # which is really 1000
    assert found.highest.p99 <= 5e-3 < found.above.p99
    assert found.highest.load < 1
    assert found.highest.rate < found.above.rate <= found.highest.rate * (1 + TOLERANCE)


def test_a_short_run_above_the_capacity_does_not_count_although_its_queue_is_still_short() -> None:
    found = highest_rate(simulated(1e-3), 10.0, 1000, 1, 1.0, 662, seed=3)  # so few calls never take 10 s
    assert 980 <= found.highest.rate <= 1000 < found.above.rate
    assert found.above.p99 < 10.0


def test_a_bound_below_the_time_of_a_call_is_refused() -> None:
    with pytest.raises(BoundTooLowError, match="even at 5% of the capacity"):
        highest_rate(simulated(1e-3), 0.9e-3, 1000, 1, 1.0, 662, seed=3)


SETTINGS = {"threads": 1}


def once(number: int, rate: float = 100.0, **changes: Any) -> LoadOnce:
    """A server process whose p99 is 9 ms."""
    own: dict[str, Any] = {"calibration": records.CALIBRATION, "machine": records.QUIET, "cores_used": 1.0}
    own |= {"valid": True, "reasons": (), "queries": 5000, "random_seed": number, "mean_wait_seconds": 1e-3}
    own |= {"p50_seconds": 2e-3, "p90_seconds": 5e-3, "p99_seconds": 9e-3, "load": 0.5, "overhead_seconds": 1e-6}
    own |= {"trials": 9, "above_rate": rate * 1.01, "above_p99_seconds": 0.011}
    process = ServerProcess(**own | {"process": number, "rate": rate} | changes)
    return LoadOnce(process, SETTINGS, (), False, 1e-3, 1.0)


def test_a_record_has_the_rate_over_the_processes(model: Model) -> None:
    case, goal = Case(model, "onnxruntime", 1), Goal(bound_seconds=0.01)
    results = [once(n, rate) for n, rate in enumerate((100.0, 110.0, 121.0, 110.0, 110.0), 1)]
    record = server.record(case, results, Budget(), goal, 1)
    assert record.rate.value == pytest.approx(110)  # the geometric mean
    assert record.rate.low < 110 < record.rate.high
    assert record.p99_seconds is not None
    assert record.p99_seconds.value == pytest.approx(9e-3)
    assert (record.valid, record.bound_seconds, len(record.processes)) == (True, 0.01, 5)


def test_a_record_is_not_valid_if_its_processes_are_few_disturbed_or_their_queue_grows(model: Model) -> None:
    case, goal = Case(model, "onnxruntime", 1), Goal(rate=100.0)
    reasons = {
        "few": [once(n) for n in range(1, 5)],
        "disturbed": [once(n, valid=n > 1, reasons=("disturbed",) * (n == 1)) for n in range(1, 6)],
        "grows": [once(n, load=1.2) for n in range(1, 6)],
    }
    found = {name: server.record(case, results, Budget(), goal, 1).reasons for name, results in reasons.items()}
    assert found["few"] == ("4 valid processes are too few, expected 5: measure again on an idle machine",)
    assert found["disturbed"][1] == "disturbed (in 1 of 5 processes)"
    assert found["grows"] == ("the load is 1.20: the queue grows for as long as queries arrive; give a lower --rate",)


def test_percentiles_for_which_the_queries_are_too_few_are_null(model: Model) -> None:
    """p90 needs 64 samples, p99 662."""
    case = Case(model, "onnxruntime", 1)
    record = server.record(case, [once(n, queries=100) for n in range(1, 6)], Budget(), Goal(rate=100.0), 1)
    assert (record.p99_seconds, record.p90_seconds is None) == (None, False)
