"""What a report keeps of a benchmark case: of its processes the medians, and in one row what the tables say of them.

The processes are nine tenths of a record, and a file may have 100,000.
"""

from collections.abc import Sequence
from statistics import median
from sys import intern
from typing import Any

from msgspec import Struct, structs

from analysis.measures.repeats import counted
from study.records.bench import CaseProcess, CaseRecord, WorkerProcess


class MedianOnly(Struct, frozen=True, gc=False):
    """A process, with nothing but what a fit of costs needs."""

    process: int
    valid: bool
    median_seconds: float


class OfProcesses(Struct, frozen=True, gc=False):
    """The columns of a table of cases that say something of the processes that count."""

    processes: int
    processes_left_out: int
    cores_used: float
    other_cores: float | None
    other_share: float | None
    steal_share: float | None
    throttled_share: float | None
    arithmetic_seconds: float
    memory_seconds: float
    drift: float
    spread: float
    warmup_calls: int


class KeptCase(CaseRecord):
    """A case whose `processes` are `MedianOnly`, without the settings and the shapes, which no table has."""

    of_processes: OfProcesses


def kept(case: CaseRecord) -> KeptCase:
    used: Sequence[CaseProcess] = counted(case.processes)
    row = OfProcesses(
        **conditions(case.processes),
        drift=max((process.drift for process in used), key=abs),
        spread=max(process.spread for process in used),
        warmup_calls=max(process.warmup.calls for process in used),
    )
    key = structs.replace(
        case.key, **{name: intern(value) for name, value in structs.asdict(case.key).items() if isinstance(value, str)}
    )
    medians = tuple(MedianOnly(one.process, one.valid, one.median_seconds) for one in case.processes)
    smaller = {"key": key, "processes": medians, "settings": {}, "input_shapes": {}}
    return KeptCase(**{**structs.asdict(case), **smaller}, of_processes=row)


def conditions(processes: Sequence[WorkerProcess]) -> dict[str, Any]:
    """The cells of the processes that count: the median of what is theirs, the highest of what may disturb one."""
    used = counted(processes)

    def highest(name: str) -> float | None:
        there = [value for process in used if (value := getattr(process.machine, name)) is not None]
        return max(there, default=None)

    return {
        "processes": len(used),
        "processes_left_out": len(processes) - len(used),
        "cores_used": median(process.cores_used for process in used),
        **{name: highest(name) for name in ("other_cores", "other_share", "steal_share", "throttled_share")},
        "arithmetic_seconds": median(process.calibration.arithmetic_seconds for process in used),
        "memory_seconds": median(process.calibration.memory_seconds for process in used),
    }
