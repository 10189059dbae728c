"""One `pytest bench`: a pilot, the worker processes, and what they have given so far."""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from msgspec.structs import replace as changed

from bench import cold_start, regimes
from bench.cases import Case
from bench.effort import planned
from bench.journal import Journal
from bench.keys import short_name
from bench.measure import Process
from bench.processes import run as run_worker
from bench.records import case_record, comparison_record, counted, judged
from bench.sampling import Budget, TooSlowError
from bench.scenarios import offline, server
from bench.scenarios.tasks import LoadTask
from bench.statistics.forecast import more_processes, text
from bench.statistics.pilot import Shares
from bench.surroundings import load_average
from bench.tasks import CaseTask, PairTask, Task
from bench.worker import Job
from study.errors import StudyError
from study.records.bench import (
    BenchEnvironment,
    BenchRecord,
    Calibration,
    CaseRecord,
    ColdStartRecord,
    ComparisonRecord,
    JournalEntry,
    Pilot,
)
from study.records.scenarios import OfflineRecord, ServerRecord

CHECKED = 8
"""Number of calls whose outputs each process compares after the first, which compares all."""
COLD_START_SECONDS = 2.0
"""Time of a cold start: a guess for the forecast."""
PILOTS, PILOT_SHARE = 2, 0.1
"""Number of processes of the pilot, and their time as a share of that of the session."""
MOST_REPLACEMENTS = 5
"""Number of further processes for the tasks that the machine disturbed in some, not in all. Where a neighbour runs half
of the time two leave half of the ratios withheld, five 15 % (bench.experiments two-speeds-simulated)."""


class Watcher:
    """What a session reports while it measures; this one reports nothing."""

    def say(self, line: str) -> None:
        """A line for the user."""

    def begin(self, title: str, number: int) -> None:
        """A process begins, with so many measurements."""

    def measuring(self, name: str) -> None:
        """One of its measurements begins."""

    def end(self) -> None:
        """It has ended."""


@dataclass
class Session:
    """The tasks of a session, and their results so far."""

    cases: list[Case]
    pairs: list[tuple[Case, Case]]
    """Reference and runtime."""
    starting: list[Case]
    """The cases whose cold start is measured."""
    budget: Budget
    environment: BenchEnvironment
    margin: float = 0.02
    precision: float | None = None
    cpus: frozenset[int] | None = None
    scenarios: Sequence[LoadTask] = ()
    """Cases under load, instead of the others."""
    notes: Sequence[str] = ()
    """Lines for the end: what is left out, and which inputs are drawn."""
    results: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """What each process gave, by the name of the task."""
    cold_starts: dict[str, ColdStartRecord] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why measurements were left out, by name."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why measurements failed, by name."""
    overheads: list[float] = field(default_factory=list)
    pilot: Pilot | None = None
    processes: int = 0
    """Number of processes so far."""
    complete: bool = False
    """Whether everything was measured and the JSON is in its place."""
    _checked: bool = False
    """Whether a process has compared the outputs of the whole pool."""
    _calibrations: list[Calibration] = field(default_factory=list)
    _journal: Journal | None = None

    def begin_journal(self, target: Path) -> None:
        """Write a journal beside the JSON at `target` from now on."""
        self._journal = Journal(target.with_name(f"{target.name}.journal"), self.environment)

    @property
    def path(self) -> Path | None:
        """The journal's file."""
        return self._journal.path if self._journal else None

    @property
    def level(self) -> Calibration | None:
        """Full speed of the machine, as far as it has been seen."""
        return regimes.level(self._calibrations) if self._calibrations else None

    @property
    def overhead_seconds(self) -> float | None:
        """Smallest overhead of the harness that a process saw."""
        return min(self.overheads, default=None)

    def run(self, tasks: Sequence[Task], starting: Sequence[Case], watcher: Watcher) -> None:
        """Measure these: the pilot, the processes, more of them for what was disturbed or is not precise, cold starts.

        A task that fails is not tried again.
        """
        shares: Mapping[str, Shares] = {}
        if tasks and not self.budget.quick and not self.scenarios:
            shares = self._pilot(tasks, watcher, len(starting) * self.budget.cold_starts * COLD_START_SECONDS)
        self._processes(tasks, self.budget.processes, shares, watcher)
        if not self.budget.quick:
            for left in range(MOST_REPLACEMENTS, 0, -1):  # where enough may become valid
                self._processes([task for task in self._open(tasks) if self._lacks(task, left)], 1, shares, watcher)
            if self.precision:
                self._processes(tasks, more_processes(self._ratios(tasks), self.precision), shares, watcher)
        if starting:
            self._start_cold(starting, watcher)

    def _pilot(self, tasks: Sequence[Task], watcher: Watcher, cold_start_seconds: float) -> Mapping[str, Shares]:
        """Measure briefly, decide on the effort, and say what it will give."""
        began, busy = time.monotonic(), 0.0
        short = replace(self.budget, seconds=self.budget.seconds * PILOT_SHARE, percentiles=(50,), processes=PILOTS)
        results: dict[str, list[Any]] = defaultdict(list)
        for n in range(PILOTS):
            for task, result in self._once(tasks, f"pilot {n + 1} of {PILOTS}", short, {}, n, watcher, again=False):
                results[task.name].append(result)
                self._calibrations.append(result.process.calibration)
                busy += result.seconds
        seconds = time.monotonic() - began
        plan = planned(self._open(tasks), results, max(0.0, seconds - busy) / PILOTS, self.budget, self.precision)
        self.pilot = Pilot(
            processes=PILOTS,
            seconds=seconds,
            forecast_seconds=plan.expected.seconds,
            forecast_half_widths=plan.expected.half_widths,
        )
        self.budget = self.budget.extended(plan.expected.processes)
        for line in text(plan.expected, PILOTS, seconds, cold_start_seconds):
            watcher.say(line)
        return plan.shares

    def _processes(self, tasks: Sequence[Task], number: int, shares: Mapping[str, Shares], watcher: Watcher) -> None:
        """Let so many fresh processes measure the tasks, except those that have failed."""
        for n in range(number):
            if not (left := self._open(tasks)):
                return
            self.processes += 1
            title = f"process {n + 1} of {number}" if len(left) > 1 else left[0].name
            for task, result in self._once(
                left, title, self.budget, shares, self.processes, watcher, not self.budget.quick
            ):
                earlier = [one for one in self.results[task.name] if one.process.process != self.processes]
                self.results[task.name] = [*earlier, result]  # instead of one that was disturbed
                self._calibrations.append(result.process.calibration)
                self._keep(task)

    def _fastest(self) -> dict[str, float]:
        """The smallest mean time of a call of each comparison so far."""
        names = [PairTask(*pair).name for pair in self.pairs]
        return {name: min(one.call_seconds for one in self.results[name]) for name in names if self.results[name]}

    def _once(
        self,
        tasks: Sequence[Task],
        title: str,
        budget: Budget,
        shares: Mapping[str, Shares],
        number: int,
        watcher: Watcher,
        again: bool = True,
    ) -> Iterator[tuple[Task, Any]]:
        """What one fresh process gives, in the order it comes; for some tasks a second result in place of the first."""
        by_name = {task.name: task for task in self._open(tasks)}
        checked = None if not self._checked else CHECKED
        process = Process(number, budget, secrets.randbits(32), checked, shares, self.level, self._fastest())
        watcher.begin(title, len(by_name))
        for message in run_worker(Job(tuple(by_name.values()), process, again, self.cpus)):
            if message.overhead_seconds is not None:
                self.overheads.append(message.overhead_seconds)
            elif message.began:
                watcher.measuring(message.name)
            elif message.failed:
                self.failed[message.name] = message.failed
            elif message.left_out:
                self.left_out[message.name] = message.left_out
            else:
                yield by_name[message.name], message.result
        self._checked = True
        watcher.end()

    def _open(self, tasks: Iterable[Task]) -> list[Task]:
        """Those that have neither failed nor been left out."""
        return [task for task in tasks if task.name not in self.failed and task.name not in self.left_out]

    def _valid(self, task: Task) -> int:
        """In how many processes a task was valid."""
        return sum(one.process.valid for one in self._judged(task))

    def _lacks(self, task: Task, left: int) -> bool:
        """Whether a task lacks valid processes, has some, and may have enough after `left` further ones."""
        valid = self._valid(task)
        return 0 < valid < self.budget.processes <= valid + left

    def _judged(self, task: Task) -> list[Any]:
        """The results of a task, those marked that were not made at the machine's full speed."""
        results = self.results[task.name]
        if not results or not isinstance(task, PairTask):
            return judged(results) if results else []
        cases = [self.results[CaseTask(case).name] for case in (task.reference, task.runtime)]
        fastest = [min(one.process.median_seconds for one in case) for case in cases if case]
        return judged(results, geometric_mean(fastest) if len(fastest) == 2 else None)

    def _ratios(self, tasks: Iterable[Task]) -> dict[str, list[float]]:
        """The ratio of each comparison in each process that counts."""
        pairs = [task for task in self._open(tasks) if isinstance(task, PairTask)]
        return {task.name: [one.process.ratio for one in counted(self._judged(task))] for task in pairs}

    def _start_cold(self, starting: Sequence[Case], watcher: Watcher) -> None:
        watcher.begin("cold starts", len(starting))
        for case in starting:
            name = cold_start_name(case)
            watcher.measuring(name)
            try:
                self.cold_starts[name] = cold_start.measure(case, self.budget, self.cpus)
            except TooSlowError as error:
                self.left_out[name] = str(error)
            except StudyError as error:
                self.failed[name] = str(error)
            else:
                self.write(JournalEntry(cold_start=self.cold_starts[name]))
        watcher.end()

    def require(self, name: str) -> None:
        """Return if a measurement succeeded.

        Raises:
            StudyError: it failed.
            TooSlowError: it was left out.
        """
        if name in self.failed:
            raise StudyError(self.failed[name])
        if name in self.left_out:
            raise TooSlowError(self.left_out[name])

    # ---- the records

    def case(self, case: Case) -> CaseRecord | None:
        """The record of a case over the processes so far; None if none has measured it."""
        if not (results := self._judged(CaseTask(case))):
            return None
        return case_record(case, results, self.budget, self.overhead_seconds)

    def comparison(self, reference: Case, runtime: Case) -> ComparisonRecord | None:
        """The record of a comparison over the processes so far; None if none has measured it."""
        if not (results := self._judged(PairTask(reference, runtime))):
            return None
        cases = [record for case in (reference, runtime) if (record := self.case(case))]
        given = (self.budget, self.overhead_seconds, self.margin)
        return comparison_record(reference, runtime, results, *given, cases)

    def loaded(self, task: LoadTask) -> OfflineRecord | ServerRecord | None:
        """The record of a case under load over the processes so far; None if none has measured it."""
        if not (results := self._judged(task)):
            return None
        if task.goal is None:
            return offline.record(task.case, results, self.budget, task.streams)
        return server.record(task.case, results, self.budget, task.goal, task.streams)

    def samples(self, case: Case) -> list[float]:
        """Seconds of each call of the processes that count, process after process."""
        return [seconds for one in counted(self._judged(CaseTask(case))) for seconds in one.samples]

    def record(self) -> BenchRecord:
        """Everything so far."""
        return BenchRecord(
            environment=changed(self.environment, load_after=load_average()),
            harness_overhead_seconds=self.overhead_seconds,
            processes=max(1, self.processes),
            pilot=self.pilot,
            comparisons=tuple(one for pair in self.pairs if (one := self.comparison(*pair))),
            cold_starts=tuple(self.cold_starts.values()),
            cases=tuple(record for case in self.cases if (record := self.case(case))),
            offline=tuple(load for task in self.scenarios if isinstance(load := self.loaded(task), OfflineRecord)),
            server=tuple(load for task in self.scenarios if isinstance(load := self.loaded(task), ServerRecord)),
            left_out=dict(self.left_out),
            failed=dict(self.failed),
        )

    def _keep(self, task: Task) -> None:
        """Write what is known of a task to the journal."""
        if isinstance(task, PairTask):
            self.write(JournalEntry(comparison=self.comparison(task.reference, task.runtime)))
        elif isinstance(task, CaseTask):
            self.write(JournalEntry(case=self.case(task.case)))
        elif isinstance(task, LoadTask):
            record = self.loaded(task)
            self.write(
                JournalEntry(offline=record) if isinstance(record, OfflineRecord) else JournalEntry(server=record)
            )

    def write(self, entry: JournalEntry) -> None:
        """Write to the journal, if there is one."""
        if self._journal:
            self._journal.write(entry)


def cold_start_name(case: Case) -> str:
    return f"cold start, {short_name(case.key)}"
