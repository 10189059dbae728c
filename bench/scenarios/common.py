"""What both scenarios do before and after: outputs, streams, reasons."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from bench.calibration import calibrate
from bench.cases import Case, opened
from bench.full_speed import Patience
from bench.machine.counters import own_cores
from bench.machine.interference import FEWEST_CORES_USED, Interference, disturbances, external_disturbances
from bench.measure import Process
from bench.parity import expected, nan_reasons, parity
from bench.records import counted, effort_reasons, model_reasons, process_reasons, thread_reasons
from bench.sampling import MOST_TIMES, Budget, garbage_collector_held
from bench.scenarios.once import LoadOnce
from bench.scenarios.streams import Done, Ready, Streams
from study.errors import StudyError
from study.records.measurement import Settings
from study.records.scenarios import OfflineProcess, ServerProcess

SHORTEST_SECONDS = 1.0
"""Of a measurement in one process: the system counts other processes' time in steps of 10 ms."""
MARGIN_SECONDS = 0.1
"""Between the order to begin and the beginning, with time to make the schedule."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Loaded:
    """A case in its streams."""

    call_seconds: float
    """Of the slowest stream."""
    settings: Settings
    stable: bool
    """Whether the latency settled in the warm-up."""
    output_reasons: tuple[str, ...]
    """Why its outputs make it not valid."""


def load(case: Case, streams: Streams, process: Process) -> Loaded:
    """Compare the outputs of a case with another engine's, and load it in every stream.

    Raises:
        StudyError: the engine does not load, uses another number of threads, or its outputs are wrong.
    """
    limit = process.budget.check_seconds
    pool = case.model.pool(case.batch)
    wanted = expected(case, pool, limit, process.most_checked)
    with garbage_collector_held(), opened(case, pool) as engine, engine.runtime.context():
        outputs = engine.outputs(limit, process.most_checked)
        _, reasons = parity(engine, outputs, wanted)
        reasons += nan_reasons(case, outputs)
    ready: list[Ready] = streams.load(case, limit)
    stable = all(one.warm_up.stable for one in ready)
    return Loaded(max(one.warm_up.call_seconds for one in ready), ready[0].settings, stable, tuple(reasons))


def begun_in_time(attempt: Callable[[], tuple[list[Done], Interference]]) -> tuple[list[Done], Interference]:
    """A job whose streams were all ready when it began; repeated a few times if the machine was too busy for that.

    Raises:
        StudyError: they never were.
    """
    for _ in range(ATTEMPTS):
        done, seen = attempt()
        if all(one.result.ready for one in done):
            return done, seen
    raise StudyError("the streams did not begin together: stop other programs on this machine")


def overhead(streams: Streams, scenario: str, once: Callable[[], float]) -> float:
    """Seconds that the harness takes for a call: the lowest of a few results of `once`, measured once in a process."""
    if scenario not in streams.overheads:
        streams.overheads[scenario] = min(once() for _ in range(ATTEMPTS))
    return streams.overheads[scenario]


def process_seconds(budget: Budget) -> float:
    """Time for the calls of a case in one process."""
    return 0.1 if budget.quick else max(SHORTEST_SECONDS, budget.seconds / budget.processes)


def patience(process: Process, seconds: float) -> Patience:
    """For full speed: at most as long as the case's calls take, and at least as long as any case."""
    budget = process.budget
    most = 0.0 if budget.quick else max(budget.patience_seconds, seconds)
    return Patience(process.level, most, calibrate, postpone=process.postpone)


def remedy(budget: Budget, seconds: float) -> str:
    """The option with which a measurement of so many seconds in a process fits."""
    if budget.quick:
        return "leave out --quick"
    return f"give --seconds {math.ceil(1.1 * seconds * budget.processes / MOST_TIMES)}"


def oversubscribed(case: Case, streams: int, cpus: Collection[int] | None = None) -> bool:
    """Whether the streams have more threads together than there are physical cores.

    Args:
        cpus: the cores of the streams, where they are others than those of this process.
    """
    mine = own_cores(cpus)
    return mine is not None and streams * case.threads > mine.physical


def disturbed(seen: Interference, case: Case, streams: int, loaded: Loaded) -> tuple[str, ...]:
    """Why a process is not valid, each with a remedy."""
    if oversubscribed(case, streams):  # the streams preempt each other, as they would in use
        reasons = external_disturbances(seen)
    else:
        reasons = disturbances(seen, case.threads * streams)
        if streams > 1 and case.threads == 1 and seen.cores_used < FEWEST_CORES_USED * streams:
            reasons.insert(0, f"{seen.cores_used:.2f} cores used by {streams} streams: stop other programs")
    if not loaded.stable:
        reasons.append("latency was still changing after the warm-up: let the machine rest")
    return tuple(reasons)


def fields(
    case: Case, results: Sequence[LoadOnce], budget: Budget, streams: int, more: Sequence[str]
) -> dict[str, Any]:
    """The keys that the records of both scenarios have.

    Args:
        more: reasons of the scenario.
    """
    used = counted(results)
    processes: list[OfflineProcess | ServerProcess] = [one.process for one in used]
    reasons = [
        *effort_reasons(used, budget),
        *more,
        *(reason for one in results for reason in one.output_reasons),
        *model_reasons(
            case, min(one.call_seconds for one in used), min(process.overhead_seconds for process in processes)
        ),
        *thread_reasons(case, [one.settings["threads"] for one in results]),
        *process_reasons(results),
    ]
    reasons = list(dict.fromkeys(reasons))
    return {
        "key": case.key,
        "quick": budget.quick,
        "valid": not reasons,
        "reasons": tuple(reasons),
        "streams": streams,
        "oversubscribed": any(one.oversubscribed for one in results),
        "threads_read_back": results[0].settings["threads"],
        "settings": results[0].settings,
        "processes": tuple(one.process for one in results),
    }
