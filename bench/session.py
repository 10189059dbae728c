"""One `pytest bench`: a pilot, the worker processes, and cold starts."""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench import cold_start, peak
from bench.best import Families, in_words
from bench.cases import Case
from bench.effort import planned
from bench.measure import PairOnce, Process
from bench.pairing import FEWEST_ROUNDS
from bench.processes import run as run_worker
from bench.profile.measure import ProfileTask
from bench.results import Results, cold_start_name
from bench.sampling import Budget, TooSlowError
from bench.statistics.forecast import more_processes, text
from bench.statistics.pilot import Shares
from bench.tasks import CaseTask, Task
from bench.worker import Job
from study.errors import StudyError
from study.records.bench import (
    JournalEntry,
    Pilot,
)

CHECKED = 8
"""Number of calls whose outputs each process compares after the first, which compares all."""
COLD_START_SECONDS = 2.0
"""Time of a cold start: a guess for the forecast."""
PILOTS, PILOT_SHARE = 2, 0.1
"""Number of processes of the pilot, and their time as a share of that of the session."""
SHORT_ROUNDS = 3
"""Of a comparison in the pilot and with `--quick`."""
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
class Session(Results):
    """Measures, and keeps the results."""

    precision: float | None = None
    """Half-width that the intervals of the ratios should have; 0.01 is 1 %."""
    cpus: frozenset[int] | None = None
    """The cores that its processes run on; None: any."""
    _checked: bool = False
    """Whether a process has compared the outputs of the whole pool."""
    _lead_in: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Lead-in calls that the pilot found necessary, for each comparison."""

    def run(
        self,
        tasks: Sequence[Task],
        starting: Sequence[Case],
        watcher: Watcher,
        families: Sequence[Families] = (),
        profiling: Sequence[ProfileTask] = (),
    ) -> None:
        """Measure these: the pilot, the processes, more of them for what was disturbed or is not precise, cold starts,
        and, after everything that is timed, the profiles.

        The pilot adds the comparisons of the best of these families. A task that fails is not tried again.
        """
        shares: Mapping[str, Shares] = {}
        if tasks and not self.budget.quick and not self.scenarios:
            cold_start_seconds = len(starting) * self.budget.cold_starts * COLD_START_SECONDS
            tasks, shares = self._pilot(tasks, families, watcher, cold_start_seconds)
        self._processes(tasks, self.budget.processes, shares, watcher, "")
        if not self.budget.quick:
            for left in range(MOST_REPLACEMENTS, 0, -1):  # where enough may become valid
                lacking = [task for task in self.open(tasks) if self.lacks(task, left)]
                self._processes(lacking, 1, shares, watcher, ", in place of disturbed ones")
            if self.precision:
                more = more_processes(self.ratios(tasks), self.precision)
                self._processes(tasks, more, shares, watcher, ", for the precision")
        self.keep(tasks)
        if starting:
            self._start_cold(starting, watcher)
        if profiling:
            self._profile(profiling, watcher)

    def _pilot(
        self, tasks: Sequence[Task], families: Sequence[Families], watcher: Watcher, cold_start_seconds: float
    ) -> tuple[Sequence[Task], Mapping[str, Shares]]:
        """Measure briefly, choose the best of each family, decide on the effort, and say what it will give.

        Returns the tasks with the added comparisons. Nothing that the pilot measured is used again.
        """
        began = time.monotonic()
        results: dict[str, list[Any]] = defaultdict(list)
        processes, busy = self._briefly(tasks, "pilot", results, watcher)
        there = {task.name for task in tasks}
        added = [pair for pair in self.choose(families, results) if pair.name not in there]
        if added:
            more = self._briefly(added, "pilot of best against best", results, watcher)
            processes, busy = processes + more[0], busy + more[1]
        tasks = [*tasks, *added]
        seconds = time.monotonic() - began
        plan = planned(self.open(tasks), results, max(0.0, seconds - busy) / processes, self.budget, self.precision)
        self.pilot = Pilot(
            processes=processes,
            seconds=seconds,
            forecast_seconds=plan.expected.seconds,
            forecast_half_widths=plan.expected.half_widths,
        )
        self.budget = self.budget.extended(plan.expected.processes)
        if self.chosen:
            watcher.say(in_words(list(self.chosen.values())))
        for line in text(plan.expected, processes, seconds, cold_start_seconds):
            watcher.say(line)
        return tasks, plan.shares

    def _briefly(
        self, tasks: Sequence[Task], what: str, results: dict[str, list[Any]], watcher: Watcher
    ) -> tuple[int, float]:
        """Short processes of the pilot, into `results`; returns their number and the seconds of the measurements."""
        busy = 0.0
        short = replace(self.budget, seconds=self.budget.seconds * PILOT_SHARE, percentiles=(50,), processes=PILOTS)
        for n in range(PILOTS):
            for task, result in self._once(tasks, f"{what} {n + 1} of {PILOTS}", short, {}, n, watcher, again=False):
                results[task.name].append(result)
                self.calibrations.append(result.process.calibration)
                if isinstance(result, PairOnce):
                    self._learn(task.name, result)
                busy += result.seconds
        return PILOTS, busy

    def _processes(
        self, tasks: Sequence[Task], number: int, shares: Mapping[str, Shares], watcher: Watcher, why: str
    ) -> None:
        """Let so many fresh processes measure the tasks, except those that have failed."""
        last = self.processes + number
        for _ in range(number):
            if not (left := self.open(tasks)):
                return
            self.processes += 1
            title = f"process {self.processes} of {last}{why}"
            again = not self.budget.quick
            for task, result in self._once(left, title, self.budget, shares, self.processes, watcher, again):
                self.add(task, result)

    def _learn(self, name: str, result: PairOnce) -> None:
        """Keep the lead-in calls that a comparison needs: the most of the pilot's processes.

        A process with too little time made one lead-in call and one timed one in each part, of four in a block: it does
        not know.
        """
        if result.process.calls == 4 * result.process.blocks:
            return
        reference, runtime = (effect.lead_in_calls for effect in result.after_switch)
        earlier = self._lead_in.get(name, (0, 0))
        self._lead_in[name] = max(reference, earlier[0]), max(runtime, earlier[1])

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
        by_name = {task.name: task for task in self.open(tasks)}
        checked = None if not self._checked else CHECKED
        lead_in = self._lead_in if shares else {}  # each process of the pilot finds it for itself
        seed, known = secrets.randbits(32), (shares, self.level, self.fastest(), lead_in)
        rounds = FEWEST_ROUNDS if shares else SHORT_ROUNDS
        process = Process(number, budget, seed, checked, *known, rounds)
        peaks = peak_threads(tasks) if again and number <= peak.PROCESSES else ()
        watcher.begin(title, len(by_name))
        for message in run_worker(Job(tuple(by_name.values()), process, again, self.cpus, peaks)):
            if message.overhead_seconds is not None:
                self.overheads.append(message.overhead_seconds)
            elif message.matrix_products:
                self.add_peaks(message.matrix_products)
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

    def _profile(self, tasks: Sequence[ProfileTask], watcher: Watcher) -> None:
        """Profile each case in a fresh process of its own."""
        watcher.begin("profiles", len(tasks))
        for task in tasks:
            watcher.measuring(task.name)
            process = Process(1, self.budget, secrets.randbits(32), level=self.level)
            for message in run_worker(Job((task,), process, again=False, cpus=self.cpus)):
                if message.failed:
                    self.failed[task.name] = message.failed
                elif message.left_out:
                    self.left_out[task.name] = message.left_out
                elif message.result:
                    self.profiles[task.name] = message.result.record
                    self.write(JournalEntry(profile=message.result.record))
        watcher.end()


def peak_threads(tasks: Iterable[Task]) -> tuple[int, ...]:
    """The numbers of threads of the cases on the CPU whose multiply-accumulates are known."""
    cases = [task.case for task in tasks if isinstance(task, CaseTask)]
    return tuple(sorted({case.threads for case in cases if case.device == "cpu" and case.model.facts.macs}))
