"""Server: latency of queries that arrive at random, and the highest rate at which its 99th percentile keeps a bound.

A query is one call. Arrivals are a Poisson process, whose schedule is made beforehand. The streams serve one queue: a
free stream takes the next query and spins until it arrives, so nothing is handed from one thread to another, and no
sleeping thread has to be woken up.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.calibration import median
from bench.cases import Case
from bench.machine.interference import Interference
from bench.measure import Process
from bench.output.units import readable
from bench.records import counted
from bench.sampling import QUICK_SAMPLES, Budget, TooSlowError
from bench.scenarios import common
from bench.scenarios.arrivals import Seconds, Served, joined, poisson, serve
from bench.scenarios.once import LoadOnce
from bench.scenarios.search import LONG_TIMES, USUAL_SHORT, BoundTooLowError, Search, Trial, highest_rate
from bench.scenarios.streams import Done, Streams, Take
from bench.statistics.percentiles import FEWEST_SAMPLES
from study.records.base import Interval
from study.records.bench import Calibration
from study.records.scenarios import ServerProcess, ServerRecord
from study.student import mean_interval

NULL_QUERIES = 2000
FEWEST = FEWEST_SAMPLES[99]


@dataclass(frozen=True)
class Goal:
    """Exactly one of them."""

    bound_seconds: float | None = None
    """Of the 99th percentile."""
    rate: float | None = None
    """Queries a second."""


@dataclass(frozen=True)
class OneStream:
    """What a stream served."""

    numbers: list[int]
    started: list[float]
    finished: list[float]
    ready: bool
    """Whether it was waiting when the run began."""


@dataclass(frozen=True)
class Serve:
    """The job: serve a schedule from `begin` on, a reading of the performance counter."""

    rate: float
    """Of Poisson arrivals; infinite: all queries are there at the beginning."""
    queries: int
    seed: int
    begin: float
    null: bool = False
    """Time the harness alone, with a call that does nothing."""

    @property
    def arrivals(self) -> Seconds:
        return poisson(self.rate, self.queries, self.seed)

    def __call__(self, call: Callable[[], object], take: Take) -> OneStream:
        arrivals = self.arrivals.tolist()
        ready = time.perf_counter() <= self.begin
        parts = serve(arrivals, take, _nothing if self.null else call, self.begin)
        return OneStream(*parts, ready)


def _nothing() -> None:
    pass


def run(streams: Streams, rate: float, queries: int, seed: int, null: bool = False) -> tuple[Served, Interference]:
    """Serve a Poisson schedule with all streams.

    Raises:
        StudyError: a stream ended, or the machine is too busy for them to begin together.
    """
    made: list[Serve] = []

    def attempt() -> tuple[list[Done], Interference]:
        begin = time.perf_counter() + common.MARGIN_SECONDS + 1e-6 * queries
        made.append(Serve(rate, queries, seed, begin, null))
        return streams.do(made[-1])

    done, seen = common.begun_in_time(attempt)
    parts = [(one.result.numbers, one.result.started, one.result.finished) for one in done]
    return joined(made[-1].arrivals, parts), seen


def measure(case: Case, streams: Streams, goal: Goal, process: Process) -> LoadOnce:
    """Latency under load of a case in this process's streams.

    Raises:
        StudyError: the engine does not load, uses another number of threads, or its outputs are wrong.
        TooSlowError: too few calls fit into the time for a measurement, or even the latency of an engine that is
            hardly used exceeds the bound.
        SlowMachineError: the machine is slow, and the process postpones measurements.
    """
    began = time.perf_counter()
    loaded = common.load(case, streams, process)

    def nothing() -> float:
        served, _ = run(streams, np.inf, NULL_QUERIES, 0, null=True)
        return float(served.finished.max()) * streams.number / NULL_QUERIES

    overhead = common.overhead(streams, "server", nothing)
    seed = process.seed_of(str(case))
    seen: list[Interference] = []

    patience = common.patience(process, USUAL_SHORT / LONG_TIMES * common.process_seconds(process.budget))
    speeds: list[Calibration] = []

    def once(rate: float, queries: int, own: int) -> Served:
        (served, around), *both = patience.steadily(lambda: run(streams, rate, queries, own))
        seen.append(around)
        speeds.extend(both)
        return served

    trial, above, trials = _reach(goal, once, loaded.call_seconds, streams.number, process.budget, seed)
    pace = median(speeds)
    streams.unload()
    reasons = common.disturbed(seen[-1], case, streams.number, loaded)
    p50, p90, p99 = (float(p) for p in np.quantile(trial.served.latencies, (0.5, 0.9, 0.99)))
    measured = ServerProcess(
        process=process.number,
        calibration=pace,
        machine=seen[-1].machine,
        cores_used=seen[-1].cores_used,
        waited_seconds=patience.waited,
        valid=not reasons,
        reasons=reasons,
        rate=trial.rate,
        queries=len(trial.served.arrivals),
        random_seed=seed,
        p50_seconds=p50,
        p90_seconds=p90,
        p99_seconds=p99,
        mean_wait_seconds=float(np.mean(trial.served.waits)),
        load=trial.load,
        overhead_seconds=overhead,
        trials=trials,
        above_rate=above.rate if above else None,
        above_p99_seconds=above.p99 if above else None,
    )
    services = float(np.mean(trial.served.services))
    crowded, seconds = common.oversubscribed(case, streams.number), time.perf_counter() - began
    return LoadOnce(measured, loaded.settings, loaded.output_reasons, crowded, services, seconds)


def _reach(
    goal: Goal, once: Callable[[float, int, int], Served], call_seconds: float, streams: int, budget: Budget, seed: int
) -> tuple[Trial, Trial | None, int]:
    """The run at the rate asked for, or the search's; the next higher rate tried, and how many were tried."""
    fewest, seconds = (QUICK_SAMPLES if budget.quick else FEWEST), common.process_seconds(budget)
    if goal.rate is not None:
        queries = max(fewest, round(goal.rate * seconds))
        if (needed := queries * max(1 / goal.rate, call_seconds / streams)) > budget.process_seconds:
            raise TooSlowError(f"{queries} queries take {needed:.0f} s; {common.remedy(budget, needed)}")
        return Trial(goal.rate, once(goal.rate, queries, seed), streams, np.inf), None, 0
    assert goal.bound_seconds is not None
    capacity = streams / call_seconds
    trial_seconds = seconds / LONG_TIMES
    if (needed := USUAL_SHORT * max(fewest / capacity, trial_seconds)) > budget.process_seconds:
        raise TooSlowError(f"the search for the highest rate takes {needed:.0f} s; {common.remedy(budget, needed)}")
    try:
        found: Search = highest_rate(once, goal.bound_seconds, capacity, streams, trial_seconds, fewest, seed)
    except BoundTooLowError as error:
        bound = readable(goal.bound_seconds)
        raise TooSlowError(
            f"--bound {bound}: {error}, and a call alone takes {readable(call_seconds)}; give a higher bound, or stop "
            "other programs"
        ) from None
    return found.highest, found.above, found.trials


def record(case: Case, results: Sequence[LoadOnce], budget: Budget, goal: Goal, streams: int) -> ServerRecord:
    """The record over the processes so far."""
    used: list[ServerProcess] = [one.process for one in counted(results)]
    fewest = min(process.queries for process in used)

    def percentile(values: Sequence[float], percent: float) -> Interval | None:
        return mean_interval(values) if fewest >= FEWEST_SAMPLES[percent] else None

    load = mean_interval([process.load for process in used])
    grows = f"the load is {load.value:.2f}: the queue grows for as long as queries arrive; give a lower --rate"
    return ServerRecord(
        **common.fields(case, results, budget, streams, [grows] if load.value >= 1 else []),
        bound_seconds=goal.bound_seconds,
        rate=mean_interval([process.rate for process in used]),
        p50_seconds=percentile([process.p50_seconds for process in used], 50),
        p90_seconds=percentile([process.p90_seconds for process in used], 90),
        p99_seconds=percentile([process.p99_seconds for process in used], 99),
        load=load,
    )
