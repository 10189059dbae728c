"""What the gate compares of two files: one value a process for each quantity, and the reasons to withhold it."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from msgspec import to_builtins

from bench.gate.limits import METRICS
from bench.keys import case_name, matched, model_name
from study.errors import StudyError
from study.records.bench import (
    BenchRecord,
    Calibration,
    CaseKey,
    CaseProcess,
    CaseRecord,
    ColdStartRecord,
    ComparisonRecord,
    Measurement,
)
from study.records.gate import Metric

MOST_MACHINE_CHANGE = 0.10
"""Change of a calibration loop above which a verdict is withheld: another speed of the machine. Between the two speeds
of a cloud machine the loop differed by 1.7, the engines by 1.2 to 1.8: not by one factor that could be divided by."""
M = TypeVar("M", bound=Measurement)
Key = tuple[CaseKey, str | None]
Pair = tuple[M, M]


@dataclass(frozen=True)
class Quantity:
    """One quantity in both files."""

    metric: Metric
    name: str
    old: tuple[float, ...]
    """One value a valid process; of a size the value alone."""
    new: tuple[float, ...]
    machine: tuple[float, ...] = ()
    """Change of the calibration loops beside it, as logarithms."""
    remarks: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why its verdict is withheld."""


def by_key(records: Sequence[M], which: str) -> dict[Key, M]:
    """The records by what must be equal in two files: the key, and the reference of a comparison."""
    found: dict[Key, M] = {}
    for record in records:
        reference = getattr(record, "reference", None)
        key = matched(record.key), reference
        if key in found:
            name = case_name(record.key, reference)
            raise StudyError(f"the {which} file has {name} twice; measure each once, in a file of its own")
        found[key] = record
    return found


def in_both(old: Sequence[M], new: Sequence[M]) -> list[Pair[M]]:
    """The pairs of measurements that two files have in common."""
    before, after = by_key(old, "old"), by_key(new, "new")
    return [(record, after[key]) for key, record in before.items() if key in after]


def quantities(old: BenchRecord, new: BenchRecord, metrics: Sequence[Metric]) -> Iterator[Quantity]:
    """The quantities of these metrics that both files have, metric by metric."""
    cases, starts = in_both(old.cases, new.cases), in_both(old.cold_starts, new.cold_starts)
    machine = machine_change([it.processes for it in old.cases], [it.processes for it in new.cases])
    sized: set[str] = set()
    for metric in METRICS:
        if metric not in metrics:
            continue
        if metric in ("cold-start", "memory"):
            yield from (_of_start(metric, pair, machine) for pair in starts)
            continue
        for pair in cases:
            if metric == "size":
                if (name := model_name(pair[0].key)) not in sized:
                    sized.add(name)
                    yield Quantity("size", name, (pair[0].onnx_bytes,), (pair[1].onnx_bytes,))
            elif metric == "median" or (pair[0].p99_seconds and pair[1].p99_seconds):
                yield _of_case(metric, pair)


def machine_change(
    old: Sequence[Sequence[CaseProcess]], new: Sequence[Sequence[CaseProcess]]
) -> tuple[float, float] | tuple[()]:
    """ln(new / old) of the two calibration loops, arithmetic and memory, over the valid processes of these cases."""

    def speed(cases: Sequence[Sequence[CaseProcess]]) -> tuple[float, float] | None:
        loops: list[Calibration] = [it.calibration for case in cases for it in case if it.valid]
        if not loops:
            return None
        return fmean(math.log(it.arithmetic_seconds) for it in loops), fmean(
            math.log(it.memory_seconds) for it in loops
        )

    before, after = speed(old), speed(new)
    return (after[0] - before[0], after[1] - before[1]) if before and after else ()


def _of_case(metric: Metric, pair: Pair[CaseRecord]) -> Quantity:
    def values(record: CaseRecord) -> tuple[float, ...]:
        counted = [it for it in record.processes if it.valid] or record.processes
        return tuple(it.median_seconds if metric == "median" else it.p99_seconds for it in counted)

    old, new = pair
    reasons = doubts(pair)
    if old.inputs_sha256 != new.inputs_sha256:
        reasons.append("the inputs differ from those of the old file")
    remarks = ["different ONNX file"] if old.key.onnx_sha256 != new.key.onnx_sha256 else []
    before, after = to_builtins(old.settings), to_builtins(new.settings)
    if settings := sorted(key for key in before | after if before.get(key) != after.get(key)):
        remarks.append(f"different settings: {', '.join(settings)}")
    machine = machine_change([old.processes], [new.processes])
    return _checked(metric, case_name(new.key), (values(old), values(new)), machine, remarks, reasons)


def _of_start(metric: Metric, pair: Pair[ColdStartRecord], machine: tuple[float, ...]) -> Quantity:
    """The calibration is that of the session, because a cold start has none; memory does not depend on the speed."""
    ranges = [it.total_seconds if metric == "cold-start" else it.peak_bytes for it in pair]
    values = (tuple(map(float, ranges[0].values)), tuple(map(float, ranges[1].values)))
    speed = machine if metric == "cold-start" else ()
    return _checked(metric, case_name(pair[1].key), values, speed, [], doubts(pair))


def _checked(
    metric: Metric,
    name: str,
    values: tuple[tuple[float, ...], tuple[float, ...]],
    machine: tuple[float, ...],
    remarks: list[str],
    reasons: list[str],
) -> Quantity:
    for which, of_file in (("old", values[0]), ("new", values[1])):
        if len(of_file) < 2:
            reasons.append(f"{which}: fewer than 2 valid processes")
        elif min(of_file) <= 0:
            reasons.append(f"{which}: a value of 0, which has no ratio")
    for loop, change in zip(("arithmetic", "memory"), machine, strict=False):
        if abs(change) > math.log1p(MOST_MACHINE_CHANGE):
            reasons.append(
                f"the machine ran at another speed ({loop} loop {math.expm1(change):+.0%}); measure both again, in "
                f"turns with `python -m bench ab`"
            )
    return Quantity(metric, name, *values, machine, tuple(remarks), tuple(reasons))


def doubts(pair: tuple[Measurement, Measurement]) -> list[str]:
    """Why two measurements cannot be compared: either is quick or not valid."""
    return [
        f"{which}: {reason}"
        for which, record in zip(("old", "new"), pair, strict=True)
        if record.quick or not record.valid
        for reason in record.reasons or ("a quick run",)
    ]


def per_process(record: CaseRecord | ComparisonRecord) -> dict[int, float]:
    """The median, or the ratio, of each valid process, by its number."""
    values: dict[int, float] = {}
    for it in record.processes:
        if it.valid:
            values[it.process] = it.median_seconds if isinstance(it, CaseProcess) else it.ratio
    return values


def mean(values: Collection[float]) -> float:
    """The geometric mean; 0 if there is none, or a value is 0."""
    return math.exp(fmean(map(math.log, values))) if values and min(values) > 0 else 0.0
