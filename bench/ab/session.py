"""Two sides in N pairs of fresh processes: the record, with the interval and the verdict over the pairs."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from bench import regimes
from bench.ab import check
from bench.ab.pair import Inputs, Once, Sides, both_started, load, measure
from bench.ab.protocol import Greeting
from bench.ab.sides import Side
from bench.statistics.estimates import FEWEST_PROCESSES, control_holds
from study.environment import environment
from study.records.ab import AbComparison, AbRecord, Outputs, PairedProcess, SideRecord
from study.records.base import Interval
from study.records.bench import Calibration
from study.student import mean_interval, verdict

CHECK_SECONDS = 5.0
"""Longest time for the outputs of a side that are compared before the timing."""


@dataclass(frozen=True)
class Plan:
    """What is compared, and for how long."""

    sides: Sides
    batches: Sequence[int]
    processes: int
    seconds: float
    """Time of the turns at one batch size in one pair of processes."""
    margin: float
    seed: int
    words: tuple[str, ...] = ()


@dataclass
class Session:
    """What was measured so far."""

    plan: Plan
    say: Callable[[str], None]
    """Shows a line of progress."""
    greetings: list[Greeting] = field(default_factory=list)
    outputs: dict[int, Outputs] = field(default_factory=dict)
    measured: dict[int, list[Once]] = field(default_factory=dict)

    def run(self, folder: Path) -> None:
        """Compare the outputs, then measure; `folder` is for files that are not kept.

        Raises:
            StudyError: a side cannot be measured. `record` has what was finished.
        """
        plan = self.plan
        inputs = {batch: check.write_inputs(plan.sides, batch, folder) for batch in plan.batches}
        start = self._check(inputs, folder)
        forecast = plan.processes * (start + len(inputs) * plan.seconds * 1.5)
        self.say(f"{plan.processes} pairs of processes, about {forecast:.0f} s")
        seeds = np.random.SeedSequence(plan.seed).generate_state(2 * plan.processes)
        for number, seed in enumerate(map(int, seeds[: plan.processes]), 1):
            self._pair(inputs, number, seed)
        # What was disturbed is measured again, once; not on a machine that was never quiet.
        for number, seed in enumerate(map(int, seeds[plan.processes :]), plan.processes + 1):
            again = {batch: files for batch, files in inputs.items() if 0 < self._lacking(batch) < plan.processes}
            if not again:
                break
            self._pair(again, number, seed)

    def _check(self, inputs: Inputs, folder: Path) -> float:
        """Load and run both sides once, in processes of their own; returns the seconds that a start takes."""
        begin = time.perf_counter()
        chance = np.random.default_rng(self.plan.seed)
        with both_started(self.plan.sides, chance) as pair:
            self.greetings = [process.greeting for process in pair]
            start = time.perf_counter() - begin
            for batch, files in inputs.items():
                load(pair, files, chance, batch)
                self.outputs[batch] = check.outputs(pair, batch, folder, CHECK_SECONDS)
        return start

    def _pair(self, inputs: Inputs, number: int, seed: int) -> None:
        found = measure(self.plan.sides, inputs, self.plan.seconds, number, seed, (self._level(0), self._level(1)))
        for batch, once in found.items():
            self.measured.setdefault(batch, []).append(once)
        shown = (
            f"batch {batch} {once.record.ratio:.4f}{'' if once.record.valid else ' (disturbed)'}"
            for batch, once in sorted(found.items())
        )
        self.say(f"pair {number}: B / A {', '.join(shown)}")

    def _level(self, which: int) -> Calibration | None:
        """Full speed, as a side's processes have seen it."""
        seen = [one for several in self.measured.values() for once in several if (one := once.speeds[which])]
        return regimes.level(seen) if seen else None

    def _lacking(self, batch: int) -> int:
        """Pairs of processes that this batch size lacks."""
        return self.plan.processes - sum(once.record.valid for once in self.measured[batch])

    def record(self) -> AbRecord | None:
        """What was measured so far; None before the first pair has ended."""
        if not self.measured:
            return None
        a, b = (_side(*each) for each in zip(self.plan.sides, self.greetings, strict=True))
        comparisons = (self._comparison(batch) for batch in self.plan.batches if batch in self.measured)
        return AbRecord(
            environment=environment(),
            command=self.plan.words,
            a=a,
            b=b,
            mode=self.plan.sides[0].mode,
            comparisons=tuple(comparisons),
        )

    def _comparison(self, batch: int) -> AbComparison:
        one = self.measured[batch]
        cases = [side.case(batch).key for side in self.plan.sides]
        last = one[-1].settings
        processes = at_full_speed([once.record for once in one])
        counted, reasons = chosen(processes)
        if len(counted) < 2:
            reasons = [*reasons, f"{len(counted)} pair of processes has no interval"]
        controls = [[getattr(process, side).control for process in counted] for side in "ab"]
        for name, values in zip("AB", controls, strict=True):
            if not control_holds(values):
                reasons.append(f"{name} against itself is {mean_interval(values).value:.3f}, not 1: measure again")
        ratio = mean_interval([process.ratio for process in counted])
        medians = [mean_interval([getattr(each, side).median_seconds for each in counted]) for side in "ab"]
        return AbComparison(
            a=cases[0],
            b=cases[1],
            ratio=ratio,
            median_seconds_a=medians[0],
            median_seconds_b=medians[1],
            control_a=mean_interval(controls[0]),
            control_b=mean_interval(controls[1]),
            settings_a=last[0],
            settings_b=last[1],
            outputs=self.outputs[batch],
            processes=tuple(processes),
            margin=self.plan.margin,
            verdict="withheld" if reasons else verdict(inverse(ratio), self.plan.margin),
            valid=not reasons,
            reasons=tuple(dict.fromkeys(reasons)),
        )


def at_full_speed(processes: Sequence[PairedProcess]) -> list[PairedProcess]:
    """The pairs of processes, with a reason for those that were slower than the fastest because the machine was."""
    speeds = [(each.a.median_seconds * each.b.median_seconds) ** 0.5 for each in processes]
    slow = regimes.slow_processes([each.calibration for each in processes], speeds)
    return [
        replace(each, valid=False, reasons=(*each.reasons, reason)) if reason else each
        for each, reason in zip(processes, slow, strict=True)
    ]


def chosen(processes: Sequence[PairedProcess]) -> tuple[Sequence[PairedProcess], list[str]]:
    """The pairs that count, and why the comparison is not valid.

    If enough are valid only they count, because the reasons do not depend on the ratio; otherwise all do.
    """
    valid = [process for process in processes if process.valid]
    if len(valid) >= FEWEST_PROCESSES:
        return valid, []
    few = f"{len(valid)} undisturbed pairs of processes, expected at least {FEWEST_PROCESSES}"
    return processes, [few, *_together(processes)]


def _together(processes: Sequence[PairedProcess]) -> list[str]:
    """The reasons of the pairs; those that differ only in their numbers once, with those of the first pair."""
    alike: dict[str, list[tuple[int, str]]] = {}
    for process in processes:
        for reason in process.reasons:
            alike.setdefault(re.sub(r"[\d.]+", "0", reason), []).append((process.process, reason))
    return [
        f"pair{'s' if len(of) > 1 else ''} {', '.join(str(number) for number, _ in of)}: {of[0][1]}"
        for of in alike.values()
    ]


def inverse(ratio: Interval) -> Interval:
    """A / B from B / A."""
    return Interval(value=1 / ratio.value, low=1 / ratio.high, high=1 / ratio.low)


def _side(side: Side, greeting: Greeting) -> SideRecord:
    return SideRecord(
        word=side.word,
        options=dict(side.options),
        python=greeting.python,
        packages=greeting.packages,
        commit=greeting.commit,
        onnx_bytes=side.model.facts.bytes,
    )


def partial(record: AbRecord, why: str) -> AbRecord:
    """The record of a session that ended early: no comparison in it is valid."""
    comparisons = (
        replace(one, valid=False, verdict="withheld", reasons=(*one.reasons, f"ended early: {why}"))
        for one in record.comparisons
    )
    return replace(record, comparisons=tuple(comparisons))
