"""What a call costs over the batch size: a fixed cost and a cost per item, t(b) = f + c b, each with its interval.

The fresh process is the unit: each gives a line through its own medians, and Student's interval is over the lines. All
processes have the same weights, one over the mean time at a batch size, so that relative errors count and a fit is
linear in the times. Nothing is assumed of the signs: a fixed cost below 0 is what the times say of a straight line.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from study.records.bench import CaseKey, CaseProcess, CaseRecord
from study.student import CONFIDENCE, Estimate, arithmetic_interval, student

Array = NDArray[np.float64]

MISS = 0.05
"""Smallest distance of a median from the line, as a share of the median, that is reported."""


@dataclass(frozen=True)
class Fit:
    """The lines of N processes through their medians at k batch sizes."""

    fixed: Array
    """[N], seconds."""
    per_item: Array
    """[N], seconds."""
    misses: Array
    """[N, k]: time less that of the line, as a share of the mean time at that batch size."""


def fit(batches: Sequence[int], seconds: Array) -> Fit:
    """The line of each process, by least squares of relative errors.

    Args:
        batches: k different batch sizes, at least two.
        seconds: [N, k], medians.
    """
    mean = seconds.mean(axis=0)
    design = np.stack([np.ones(len(batches)), np.asarray(batches, dtype=np.float64)], axis=1)
    lines = seconds / mean @ np.linalg.pinv(design / mean[:, None]).T
    return Fit(lines[:, 0], lines[:, 1], (seconds - lines @ design.T) / mean)


@dataclass(frozen=True)
class Costs:
    """A model in one engine, with one number of threads, in one mode: cases of one session that differ in the batch."""

    cases: tuple[CaseRecord, ...]
    """By batch size, at least two."""
    processes: tuple[int, ...]
    """Numbers of the processes that count in all of these cases."""

    @property
    def key(self) -> CaseKey:
        """That of the smallest batch."""
        return self.cases[0].key

    @property
    def batches(self) -> tuple[int, ...]:
        return tuple(case.key.batch for case in self.cases)

    @property
    def valid(self) -> bool:
        """Whether all cases are, and processes in common give an interval."""
        return len(self.processes) > 1 and all(case.valid for case in self.cases)

    @cached_property
    def fit(self) -> Fit:
        medians = [_medians(case) for case in self.cases]
        seconds = [[of_case[process] for of_case in medians] for process in self.processes]
        return fit(self.batches, np.array(seconds))

    @cached_property
    def fixed(self) -> Estimate:
        """Cost of a call, in seconds."""
        return arithmetic_interval(self.fit.fixed)

    @cached_property
    def per_item(self) -> Estimate:
        """Cost of each item of the batch, in seconds."""
        return arithmetic_interval(self.fit.per_item)

    @property
    def misses(self) -> Mapping[int, float]:
        """Lack of fit: where the line misses the median by over 5 %, beyond the noise; the largest first.

        By batch size, the median less the line as a share of the median: above 0 a call takes longer than the line
        says. The interval over the processes must exclude 0, at 95 % for all batch sizes together (Bonferroni). Two
        batch sizes have no such test.
        """
        if len(self.batches) < 3 or len(self.processes) < 2:
            return {}
        confidence = 1 - (1 - CONFIDENCE) / len(self.batches)
        found = {}
        for i in np.flatnonzero(np.abs(self.fit.misses.mean(axis=0)) > MISS):
            one = arithmetic_interval(self.fit.misses[:, i], confidence)
            if not one.low <= 0 <= one.high:
                found[self.batches[i]] = one.value
        return dict(sorted(found.items(), key=lambda item: -abs(item[1])))

    def ratios(self, other: "Costs") -> "Ratios":
        """These costs over those of another engine, in the processes that both have."""
        common = [process for process in self.processes if process in other.processes]
        if len(common) < 2:
            return Ratios(None, None)
        mine, theirs = ([each.processes.index(process) for process in common] for each in (self, other))
        return Ratios(
            positive_ratio(self.fit.fixed[mine], other.fit.fixed[theirs]),
            positive_ratio(self.fit.per_item[mine], other.fit.per_item[theirs]),
        )


@dataclass(frozen=True)
class Ratios:
    """How many times as much one engine costs as another; None where one of the two costs may be 0 or less."""

    fixed: Estimate | None
    """The ratio of the times towards an empty batch."""
    per_item: Estimate | None
    """The ratio of the times towards a large batch."""


def costs(cases: Sequence[CaseRecord]) -> list[Costs]:
    """The costs of all models and engines of one session that were measured at two batch sizes or more."""
    groups: dict[CaseKey, list[CaseRecord]] = {}
    for case in cases:
        groups.setdefault(replace(case.key, batch=1), []).append(case)
    made = []
    for group in groups.values():
        ordered = sorted(group, key=lambda case: case.key.batch)
        common = sorted(set[int].intersection(*(set(_medians(case)) for case in ordered)))
        if len(ordered) > 1 and common:
            made.append(Costs(tuple(ordered), tuple(common)))
    return made


def _medians(case: CaseRecord) -> dict[int, float]:
    """The median of each process that counts: of the valid ones, or, if there are none, of all."""
    valid: Sequence[CaseProcess] = [one for one in case.processes if one.valid] or case.processes
    return {one.process: one.median_seconds for one in valid}


def reference(several: Sequence[Costs], one: Costs) -> Costs | None:
    """What an engine is compared with: torch in the same setting, else its first engine; None for that one itself."""
    alike = [other for other in several if setting(other.key) == setting(one.key)]
    first = next((other for other in alike if other.key.runtime == "torch"), alike[0])
    return None if first is one else first


def setting(key: CaseKey) -> CaseKey:
    """What those that are compared have in common: all of a key but the engine and the batch size."""
    return replace(key, runtime="", batch=1)


def positive_ratio(a: Array, b: Array) -> Estimate | None:
    """The ratio of the means of paired values [N], with its 95 % interval by Fieller's theorem; None unless Student's
    intervals of both means lie above 0.

    The interval is all r for which the mean of a - r b does not differ from 0 (Fieller, Some problems in interval
    estimation, Journal of the Royal Statistical Society B 16(2), 1954).
    """
    if min(arithmetic_interval(a).low, arithmetic_interval(b).low) <= 0:
        return None
    variances = np.cov(a, b) * student(len(a)) ** 2 / len(a)
    mean_a, mean_b = float(a.mean()), float(b.mean())
    square, middle = mean_b**2 - variances[1, 1], mean_a * mean_b - variances[0, 1]
    half = math.sqrt(max(0.0, middle**2 - square * (mean_a**2 - variances[0, 0])))
    return Estimate(mean_a / mean_b, float(middle - half) / square, float(middle + half) / square)


def flops_per_second(case: CaseRecord) -> float | None:
    """Two floating-point operations for each multiply-accumulate of the batch / median; None if they are not known."""
    return 2 * case.macs * case.key.batch / case.median_seconds.value if case.macs else None
