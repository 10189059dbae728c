"""Compare two results of `pytest bench`, quantity by quantity: slower, within the limit, or undecided.

Pure functions of the records of two sessions; `python -m bench compare OLD NEW` prints the result. The fresh process is
the unit: a quantity has one value a process, and two sessions are compared with Welch's t over their logarithms.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from bench.gate.conditions import differences, refuse
from bench.gate.decision import decide, exact, exit_code
from bench.gate.limits import METRICS
from bench.gate.quantities import Quantity, by_key, in_both, mean, per_process, quantities
from bench.gate.speed_ups import speed_ups
from bench.gate.welch import contrast, stacked
from bench.keys import case_name, short_name
from study.errors import StudyError
from study.families import best_pairs, changed_pairs
from study.records.base import Interval
from study.records.bench import BenchRecord, CaseKey, CaseRecord, Measurement
from study.records.gate import Change, GateRecord, GateVerdict, Metric

NAMED = 100
"""Cases that a note names at most."""


def compare(
    old: BenchRecord,
    new: BenchRecord,
    limits: Mapping[Metric, float],
    metrics: Sequence[Metric] | None = None,
    allowed: Collection[str] = (),
) -> GateRecord:
    """Compare two sessions; by default in every metric that both have.

    `allowed` are the words of `bench.gate.conditions.ALLOWABLE` that may differ. The speed-ups are compared too, but a
    changed speed-up is no regression: it depends on the reference as much as on the runtime.

    Raises:
        StudyError: the files have no case in common, one has a case twice, or the measurement conditions differ.
    """
    pairs = in_both(old.cases, new.cases)
    if not pairs:
        has, other = (", ".join(case_name(it.key) for it in record.cases) or "none" for record in (old, new))
        raise StudyError(
            f"no case is in both files: the old one has {has}; the new one has {other}; measure the same cases"
        )
    found = differences(old.environment, new.environment, pairs)
    refuse(found, allowed)
    wanted = metrics or METRICS
    changes = _changes(list(quantities(old, new, wanted)), limits)
    missing, added = _only(old, new, wanted), _only(new, old, wanted)
    notes = list(_absent(old, new, wanted))
    if metrics:  # those that the user names may not be left out
        missing, notes = [*missing, *notes], []
    decided: list[GateVerdict] = [change.verdict for change in changes]
    return GateRecord(
        exit_code=exit_code([*decided, *("withheld" for _ in missing)]),
        geometric_mean=geometric_mean(
            [pair for pair, change in zip(pairs, changes, strict=False) if not change.reasons]
            if changes and changes[0].metric == "median"
            else []
        ),
        changes=changes,
        speed_ups=speed_ups(in_both(old.comparisons, new.comparisons)),
        missing=tuple(missing),
        added=tuple(added),
        notes=(*notes, *_other_best(old, new)),
        differences=found,
    )


def _changes(compared: Sequence[Quantity], limits: Mapping[Metric, float]) -> tuple[Change, ...]:
    """The verdicts of all quantities, which are one family; a size is exact and has no part in it."""
    tested = [it for it in compared if it.metric != "size" and not it.reasons]
    contrasts = [contrast(it.old, it.new) for it in tested]
    verdicts: dict[int, tuple[Interval, GateVerdict]] = {}
    if tested:
        decided = decide(
            stacked(contrasts),
            np.log1p([limits[it.metric] for it in tested]),
            slowed=np.array([max(0.0, 0.0, *it.machine) for it in tested]),
            quickened=np.array([min(0.0, 0.0, *it.machine) for it in tested]),
        )
        for quantity, each, verdict in zip(tested, contrasts, decided.tolist(), strict=True):
            verdicts[id(quantity)] = (each.interval(), verdict)
    for quantity in compared:
        if quantity.metric == "size" and not quantity.reasons:
            ratio = quantity.new[0] / quantity.old[0]
            whole = Interval(value=ratio, low=ratio, high=ratio)
            verdicts[id(quantity)] = (whole, exact(ratio, limits["size"]))
    return tuple(_change(it, limits[it.metric], verdicts.get(id(it))) for it in compared)


def _change(quantity: Quantity, limit: float, decided: tuple[Interval, GateVerdict] | None) -> Change:
    return Change(
        metric=quantity.metric,
        name=quantity.name,
        old=mean(quantity.old),
        new=mean(quantity.new),
        ratio=decided[0] if decided else None,
        limit=limit,
        machine=tuple(math.expm1(it) for it in quantity.machine),
        verdict=decided[1] if decided else "withheld",
        remarks=quantity.remarks,
        reasons=quantity.reasons,
    )


def geometric_mean(pairs: Sequence[tuple[CaseRecord, CaseRecord]]) -> Interval | None:
    """The geometric mean of the ratios of these cases; None of fewer than two.

    A process measures every case, so its cases are not independent: the mean is taken over the cases of each process
    first, and Welch's t over the processes that have them all.
    """
    sides = []
    for records in zip(*pairs, strict=True):
        values = [per_process(record) for record in records]
        whole = set.intersection(*map(set, values))
        sides.append([mean([of_case[number] for of_case in values]) for number in sorted(whole)])
    if len(pairs) < 2 or min(map(len, sides)) < 2:
        return None
    return contrast(*sides).interval()


def _only(one: BenchRecord, other: BenchRecord, metrics: Collection[Metric]) -> list[str]:
    """Names of the measurements that the other file lacks, where it has some of their kind."""
    names = list(map(case_name, _lacking(one.cases, other.cases)))
    if other.cold_starts and {"cold-start", "memory"} & set(metrics):
        names += [f"cold start of {case_name(key)}" for key in _lacking(one.cold_starts, other.cold_starts)]
    return names


def _lacking(one: Sequence[Measurement], other: Sequence[Measurement]) -> list[CaseKey]:
    """The keys of `one` that `other` does not have."""
    there = by_key(other, "")
    return [key for key, reference in by_key(one, "") if (key, reference) not in there]


def _other_best(old: BenchRecord, new: BenchRecord) -> Iterator[str]:
    """Where best against best is another pair than before, so that no speed-up of it is compared."""
    before, after = best_pairs(old.comparisons), best_pairs(new.comparisons)
    for key in changed_pairs([old.comparisons, new.comparisons]):
        yield f"{short_name(key)} is another pair: {before[key]} in the old file, {after[key]} in the new one"


def _absent(old: BenchRecord, new: BenchRecord, metrics: Collection[Metric]) -> Iterator[str]:
    """The metrics that not both files have, with the reason."""
    for which, record in (("old", old), ("new", new)):
        if {"cold-start", "memory"} & set(metrics) and not record.cold_starts:
            yield f"cold start and memory are not compared: the {which} file has no cold starts"
    few = [case_name(pair[0].key) for pair in in_both(old.cases, new.cases) if not all(it.p99_seconds for it in pair)]
    if "p99" in metrics and few:
        more = [f"and {len(few) - NAMED:,} more"] if len(few) > NAMED else []
        yield f"p99 is not compared, because the samples are too few: {', '.join([*few[:NAMED], *more])}"
