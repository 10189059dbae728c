"""Series of one case or comparison on one machine over sessions, and the changes of their level.

Only valid sessions count. The whole set of series has a false alarm with at most a stated probability: each is tested
at that probability divided by the number of series (Bonferroni), which holds for dependent series too.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.history.change_points import SHORTEST, change_points, fewest
from bench.history.sessions import Session
from bench.keys import matched, short_name
from study.environment import describe
from study.records.base import Interval
from study.records.bench import BenchEnvironment, BenchRecord, CaseKey, CaseRecord, ComparisonRecord

NEAR = 2
"""Sessions by which the place of a change is often wrong, if it is small."""


@dataclass(frozen=True)
class Point:
    """One session of a series."""

    session: Session
    value: Interval
    """The case's median in seconds, or the comparison's ratio."""
    valid: bool
    circumstances: dict[str, str]
    """What may change the value beside the code: versions, settings, the model and its inputs."""


@dataclass(frozen=True)
class Series:
    """A case or a comparison on one machine, over sessions in the order of time."""

    key: CaseKey
    """Without seed and digest of the file."""
    reference: str | None
    """The engine that a comparison compares with; None for a case."""
    machine: str
    """Its fingerprint."""
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        return short_name(self.key, self.reference)

    @cached_property
    def valid(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.valid)


@dataclass(frozen=True)
class Change:
    """A change of the level of a series."""

    before: Point
    """The last valid session before."""
    after: Point
    """The first valid session after."""
    sessions: tuple[int, int]
    """Valid sessions of the segments before and after."""
    levels: tuple[float, float]
    """Geometric means of these segments."""
    ratio: Interval
    """After / before, with Welch's 95 % interval over the sessions of both segments."""
    p: float
    differences: tuple[str, ...]
    """What else changed within `NEAR` sessions, such as "onnxruntime 1.31.1 -> 1.32.0"."""


@dataclass(frozen=True)
class Examined:
    """A series with its changes."""

    series: Series
    changes: tuple[Change, ...] | None
    """None: it has too few valid sessions."""

    @property
    def slower(self) -> bool:
        """Whether the last change of a case made it slower."""
        return self.series.reference is None and any(change.ratio.value > 1 for change in (self.changes or ())[-1:])


@dataclass(frozen=True)
class History:
    """All series with their changes."""

    examined: tuple[Examined, ...]
    false_alarms: float
    """Largest probability of one false alarm among them."""
    needed: int
    """Valid sessions that a series needs."""

    @property
    def changes(self) -> Iterator[tuple[Series, Change]]:
        for one in self.examined:
            for change in one.changes or ():
                yield one.series, change


def series_of(sessions: Sequence[Session]) -> tuple[Series, ...]:
    """The series in sessions that are in the order of time: by machine, model, batch size and engine."""
    points: dict[tuple[CaseKey, str | None, str], list[Point]] = {}
    for session in sessions:
        record = session.record
        machine, cases = record.environment.fingerprint, {matched(case.key): case for case in record.cases}
        for measured in _measured(record):
            value = measured.ratio if isinstance(measured, ComparisonRecord) else measured.median_seconds
            reference = measured.reference if isinstance(measured, ComparisonRecord) else None
            key = matched(measured.key)
            point = Point(session, value, measured.valid, circumstances(record.environment, cases.get(key)))
            points.setdefault((key, reference, machine), []).append(point)
    machines = list(dict.fromkeys(machine for _, _, machine in points))
    made = [Series(*which, tuple(own)) for which, own in points.items()]
    return tuple(
        sorted(
            made,
            key=lambda series: (
                *(machines.index(series.machine), series.key.model, series.key.variant, series.key.device),
                *(series.reference is not None, series.key.batch, series.key.threads, series.key.mode),
                *(series.key.runtime, series.reference or ""),
            ),
        )
    )


def _measured(record: BenchRecord) -> Iterator[CaseRecord | ComparisonRecord]:
    yield from record.cases
    yield from record.comparisons


def circumstances(environment: BenchEnvironment, case: CaseRecord | None) -> dict[str, str]:
    """What may change a latency beside the code of the commit."""
    known: dict[str, object] = {"Python": environment.python, **environment.packages, "system": environment.system}
    known |= {"governor": environment.governor, "turbo": environment.turbo, "quota": environment.quota_cores}
    known |= {"microcode": environment.processor.microcode, "clock": environment.processor.clock_source}
    known |= environment.thread_variables
    if case:
        known |= {"parameters": case.parameters, "multiply-accumulates": case.macs, "file of bytes": case.onnx_bytes}
        known |= {"inputs": case.inputs_sha256[:8]}
    return {name: str(value) for name, value in known.items() if value is not None}


def differences(before: dict[str, str], after: dict[str, str]) -> tuple[str, ...]:
    """Each name whose value differs, with both values; "none" where one has it not."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return tuple(f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}" for name in names)


def examine(series: Sequence[Series], false_alarms: float) -> History:
    """Find the changes of all series, with at most this probability of one false change or more.

    Which series have enough sessions depends on their number alone, never on their values.
    """
    lengths = [len(one.valid) for one in series]
    needed = fewest(false_alarms / max(1, sum(n >= 2 * SHORTEST for n in lengths)))
    level = false_alarms / max(1, sum(n >= needed for n in lengths))
    examined = [
        Examined(one, changes(one, level) if n >= needed else None) for one, n in zip(series, lengths, strict=True)
    ]
    return History(tuple(examined), false_alarms, needed)


def changes(series: Series, level: float) -> tuple[Change, ...]:
    """The changes of one series, which is tested at `level`."""
    points = series.valid
    logs = np.log([point.value.value for point in points])
    found = change_points(logs, level)
    ends = [0, *(change.index for change in found), len(points)]
    return tuple(
        Change(
            before=points[here - 1],
            after=points[here],
            sessions=(here - begin, end - here),
            levels=(math.exp(logs[begin:here].mean()), math.exp(logs[here:end].mean())),
            ratio=size(logs[begin:here], logs[here:end]),
            p=change.p,
            differences=differences(
                points[max(0, here - 1 - NEAR)].circumstances, points[min(len(points) - 1, here + NEAR)].circumstances
            ),
        )
        for begin, here, end, change in zip(ends, ends[1:], ends[2:], found, strict=False)
    )


def size(before: np.ndarray, after: np.ndarray) -> Interval:
    """The ratio of the geometric means of two segments of logarithms, with Welch's 95 % interval."""
    from scipy.stats import ttest_ind  # imported here to keep --help fast

    interval = ttest_ind(after, before, equal_var=False).confidence_interval()
    middle = float(np.mean(after) - np.mean(before))
    if not math.isfinite(interval.low + interval.high):  # two constant segments
        return Interval(value=math.exp(middle), low=math.exp(middle), high=math.exp(middle))
    return Interval(value=math.exp(middle), low=math.exp(interval.low), high=math.exp(interval.high))


def machine_of(series: Series) -> str:
    """The machine of a series in words."""
    return describe(series.points[-1].session.record.environment).machine
