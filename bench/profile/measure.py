"""Profile a case: calls with and without the profiler in turns, and the same of two graphs of known length."""

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.cases import Case, Engine, opened
from bench.keys import short_name
from bench.machine.interference import external_disturbances, monitor
from bench.measure import Process
from bench.models import Inputs
from bench.profile import Source, source_of
from bench.profile.accounts import Accounts, Cost, Event, Slowed, accounts, calibrated
from bench.sampling import Budget, TooSlowError, warm_up
from bench.session_folder import folder as session_folder
from bench.statistics.estimates import FEWEST_PROCESSES
from bench.timing import timed_calls
from study.errors import StudyError
from study.records.bench import CaseKey
from study.records.profile import OperatorRecord, ProfileRecord

TURNS = 10
SLOWER = 0.05
"""Share by which the median of a turn may exceed that of the fastest turn."""
LEAD_IN = 5
"""Calls of a turn that do not count: the other engine has displaced this one from the caches."""
MOST_CALLS, QUICK_CALLS, FEWEST_CALLS = 2000, 50, 10
"""Recorded calls: at most, with `--quick`, and of a slow model."""
MOST_EVENTS = 50_000
"""Events of the profiler that are held in memory."""
CHAINS, CHAIN_CALLS = (1, 5), 100
"""Lengths of the graphs that a profiler is calibrated on, and the calls of a turn."""
WITHIN = 0.10
"""How far operators and the time outside may be from the median without the profiler."""


@dataclass(frozen=True)
class ProfileOnce:
    """The result of a profile."""

    record: ProfileRecord

    @property
    def process(self) -> ProfileRecord:
        """What says whether it is valid."""
        return self.record


@dataclass(frozen=True)
class ProfileTask:
    """The profile of a case, which a fresh process makes."""

    case: Case

    @property
    def key(self) -> CaseKey:
        return self.case.key

    @property
    def name(self) -> str:
        return f"profile, {short_name(self.key)}"

    def measure(self, process: Process) -> ProfileOnce:
        with tempfile.TemporaryDirectory(dir=session_folder()) as folder:
            return ProfileOnce(profile(self.case, process.budget, Path(folder)))

    def without_reference(self) -> None:
        return None


def find_profiles(cases: Sequence[Case]) -> list[ProfileTask]:
    """The profiles of these cases, in mode native and on the CPU, of the engines that have a profiler."""
    tasks = [ProfileTask(replace(case, mode="native", against=())) for case in cases if case.device == "cpu"]
    return [task for task in tasks if source_of(task.case.runtime)]


def without_profiler(cases: Sequence[Case]) -> list[str]:
    """A line on the engines that cannot be profiled."""
    names = dict.fromkeys(case.runtime for case in cases if case.device != "cpu" or not source_of(case.runtime))
    return [f"no profile of {', '.join(names)}: only some engines have a profiler, on the CPU"] if names else []


@dataclass(frozen=True)
class Recorded:
    """Calls with and without the profiler, in the turns in which the machine ran at its full speed."""

    plain: Sequence[float]
    """Seconds of each call."""
    walls: Sequence[float]
    """Of each recorded call."""
    calls: Sequence[Sequence[Event]]

    @property
    def slowed(self) -> Slowed:
        events = statistics.median(sum(one.events for one in call) for call in self.calls)
        return Slowed(statistics.median(self.plain), statistics.median(self.walls), round(events))


def profile(case: Case, budget: Budget, folder: Path) -> ProfileRecord:
    """The profile of a case in this process.

    Raises:
        StudyError: the engine has no profiler, does not load or run the model, or its profile cannot be read.
        TooSlowError: a few calls take longer than a measurement may.
    """
    kind = source_of(case.runtime)
    if kind is None:
        raise StudyError(f"{case.runtime} has no profiler")
    pool = case.model.pool(case.batch)
    with opened(case, pool) as plain:
        with plain.runtime.context():
            seconds = warm_up(plain.once, most_seconds=budget.check_seconds).call_seconds
        if 2 * FEWEST_CALLS * seconds > budget.most_seconds:
            needed = f"{2 * FEWEST_CALLS} calls take {2 * FEWEST_CALLS * seconds:.0f} s"
            raise TooSlowError(f"{needed}; {budget.remedy(seconds, 2 * FEWEST_CALLS)}")
        with monitor() as monitored:
            cost = _cost(kind, plain, folder)
            events = recorded(kind(folder), plain, pool, FEWEST_CALLS, turns=1).slowed.events
            most = min(QUICK_CALLS if budget.quick else MOST_CALLS, MOST_EVENTS / events)
            wanted = min(FEWEST_PROCESSES * budget.seconds / budget.processes / seconds, most)
            source = kind(folder)
            result = recorded(source, plain, pool, max(FEWEST_CALLS, round(wanted)), TURNS)
        found = accounts(result.calls, result.walls, cost)
        found = replace(found, operators=tuple(source.located(plain, found.operators)))
    return _record(case, budget, result, found, cost, source, external_disturbances(monitored.interference))


def recorded(source: Source, plain: Engine, pool: Sequence[Inputs], calls: int, turns: int) -> Recorded:
    """So many calls with and without the profiler, in turns; those in which the machine is slow do not count."""
    each = math.ceil(calls / turns)
    lead_in = min(LEAD_IN, each)
    walls: list[float] = []
    without: list[float] = []
    with source.opened(plain, pool) as watched:
        for _ in range(turns):
            with plain.runtime.context():
                without += timed_calls(plain.call, plain.inputs, lead_in + each)
            with watched.runtime.context(), source.recording():
                walls += timed_calls(watched.call, source.inputs(watched), lead_in + each)
        events = source.calls(watched, walls)
    if len(events) != len(walls) or not any(events):
        raise StudyError(f"{plain.case}: expected the profile of {len(walls)} calls, found that of {len(events)}")
    counted, kept = (at_full_speed(seconds, turns, lead_in) for seconds in (without, walls))
    return Recorded([without[i] for i in counted], [walls[i] for i in kept], [events[i] for i in kept])


def at_full_speed(seconds: Sequence[float], turns: int, lead_in: int) -> list[int]:
    """The calls that count: those after the first ones of each turn whose median is near to that of the fastest."""
    by_turn = [part[lead_in:] for part in np.array_split(np.arange(len(seconds)), turns)]
    medians = [float(np.median(np.asarray(seconds)[part])) for part in by_turn]
    near = (1 + SLOWER) * min(medians)
    return [int(i) for part, median in zip(by_turn, medians, strict=True) if median <= near for i in part]


def _cost(kind: type[Source], plain: Engine, folder: Path) -> Cost:
    """What the profiler costs in this process."""
    slowed: list[Slowed] = []
    for length in CHAINS:
        with kind(folder).chain(plain, length) as chain:
            slowed.append(recorded(kind(folder), chain, chain.pool, TURNS * CHAIN_CALLS, TURNS).slowed)
    small, large = slowed
    return calibrated(small, large, kind.own_share, kind.most_per_call)


def _record(
    case: Case,
    budget: Budget,
    result: Recorded,
    found: Accounts,
    cost: Cost,
    source: Source,
    disturbed: Sequence[str],
) -> ProfileRecord:
    accounted = found.total / result.slowed.plain
    reasons = ["a quick run: a short profile is only a smoke test; leave out --quick"] if budget.quick else []
    reasons += disturbed
    if abs(accounted - 1) > WITHIN and not budget.quick:
        reasons.append(
            f"operators and the time outside of them are {accounted:.0%} of the median without the profiler, expected "
            f"within {WITHIN:.0%}: its cost is not known well enough; measure a larger batch, or again"
        )
    return ProfileRecord(
        key=case.key,
        quick=budget.quick,
        valid=not reasons,
        reasons=tuple(reasons),
        unprofiled_seconds=result.slowed.plain,
        profiled_seconds=result.slowed.recorded,
        calls=len(result.walls),
        events=found.events,
        event_seconds=cost.event,
        call_seconds=cost.call,
        resolution_seconds=source.resolution_seconds,
        outside_seconds=found.outside,
        accounted=accounted,
        operators=tuple(
            OperatorRecord(name=one.name, kind=one.kind, kernel=one.kernel, module=one.module, seconds=one.seconds)
            for one in found.operators
        ),
    )
