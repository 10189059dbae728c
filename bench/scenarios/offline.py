"""Offline: how many items a second the machine processes when all of them are at hand.

Each stream calls back to back. Calls count from a common beginning to a common end, and all streams call from before
the beginning until after the end, so that none has a core's caches or its clock frequency for itself in between. A call
across either moment counts by its share inside.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.calibration import mean
from bench.cases import Case
from bench.measure import Process
from bench.records import counted
from bench.sampling import Budget, TooSlowError
from bench.scenarios import common
from bench.scenarios.once import LoadOnce
from bench.scenarios.streams import Streams, Take
from study.records.scenarios import OfflineProcess, OfflineRecord
from study.student import mean_interval

FEWEST_CALLS = 10
"""In the window."""
NULL_WINDOWS, NULL_SECONDS = 20, 0.001


@dataclass(frozen=True)
class Counted:
    """The calls of one stream in the window."""

    calls: float
    ready: bool
    """Whether it was calling when the window began."""


@dataclass(frozen=True)
class BackToBack:
    """The job: call until `end`, and count what is done from `begin` on; readings of the performance counter."""

    begin: float
    end: float
    null: bool = False
    """Time the harness alone, with a call that does nothing."""

    def __call__(self, call: Callable[[], object], take: Take) -> Counted:
        if not self.null:
            return count_calls(call, self.begin, self.end)
        windows = []
        for _ in range(NULL_WINDOWS):  # short ones, of which some are not interrupted
            begin = time.perf_counter() + 1e-4
            windows.append(count_calls(_nothing, begin, begin + NULL_SECONDS).calls)
        return Counted(max(windows), ready=True)


def count_calls(
    call: Callable[[], object], begin: float, end: float, clock: Callable[[], float] = time.perf_counter
) -> Counted:
    """Call back to back until `end` has passed; how many calls lie within begin..end, parts of calls included."""
    counted, after = 0.0, clock()
    ready = after <= begin
    while after < end:
        before = after
        call()
        after = clock()
        if after > begin:
            counted += 1.0 if begin <= before and after <= end else _inside(before, after, begin, end)
    return Counted(counted, ready)


def _inside(before: float, after: float, begin: float, end: float) -> float:
    """Share of a call that lies in the window."""
    return (min(after, end) - max(before, begin)) / (after - before)


def _nothing() -> None:
    pass


def measure(case: Case, streams: Streams, process: Process) -> LoadOnce:
    """The throughput of a case in this process's streams.

    Raises:
        StudyError: the engine does not load, uses another number of threads, or its outputs are wrong.
        TooSlowError: too few calls fit into the time for a measurement.
        SlowMachineError: the machine is slow, and the process postpones measurements.
    """
    started, budget = time.perf_counter(), process.budget
    loaded = common.load(case, streams, process)
    window = max(common.process_seconds(budget), FEWEST_CALLS * loaded.call_seconds)
    if window > budget.process_seconds:
        raise TooSlowError(f"{FEWEST_CALLS} calls take {window:.1f} s; {common.remedy(budget, window)}")
    lead = common.MARGIN_SECONDS + 2 * loaded.call_seconds

    def job(seconds: float, null: bool) -> BackToBack:
        begin = time.perf_counter() + (common.MARGIN_SECONDS if null else lead)
        return BackToBack(begin, begin + seconds, null)

    def nothing() -> float:
        done, _ = common.begun_in_time(lambda: streams.do(job(NULL_SECONDS, null=True)))
        return float(max(NULL_SECONDS / max(one.result.calls, 1.0) for one in done))

    overhead = common.overhead(streams, "offline", nothing)
    patience = common.patience(process, window)
    (done, seen), before, after = patience.steadily(
        lambda: common.begun_in_time(lambda: streams.do(job(window, null=False)))
    )
    pace = mean(before, after)
    streams.unload()
    calls = tuple(one.result.calls for one in done)
    reasons = common.disturbed(seen, case, streams.number, loaded)
    measured = OfflineProcess(
        process=process.number,
        calibration=pace,
        machine=seen.machine,
        cores_used=seen.cores_used,
        waited_seconds=patience.waited,
        valid=not reasons,
        reasons=reasons,
        window_seconds=window,
        calls_per_stream=calls,
        items_per_second=sum(calls) * case.batch / window,
        overhead_seconds=overhead,
    )
    call_seconds = window * streams.number / sum(calls)
    seconds = time.perf_counter() - started
    crowded = common.oversubscribed(case, streams.number)
    return LoadOnce(measured, done[0].settings, loaded.output_reasons, crowded, call_seconds, seconds)


def record(case: Case, results: Sequence[LoadOnce], budget: Budget, streams: int) -> OfflineRecord:
    """The record over the processes so far."""
    throughputs = [one.process.items_per_second for one in counted(results)]
    return OfflineRecord(
        **common.fields(case, results, budget, streams, ()), items_per_second=mean_interval(throughputs)
    )
