"""The results of a session so far, and their records over the processes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any, TypeVar

from msgspec.structs import replace

from bench import regimes
from bench.best import Chosen, Families, choose, pilot_seconds
from bench.cases import Case, setting
from bench.journal import Journal
from bench.keys import short_name
from bench.profile.measure import ProfileTask
from bench.records import case_record, comparison_record, counted, judged
from bench.sampling import Budget, TooSlowError
from bench.scenarios import offline, server
from bench.scenarios.tasks import LoadTask
from bench.surroundings import load_average
from bench.tasks import CaseTask, PairTask, Task
from study.errors import StudyError
from study.records.bench import (
    BenchEnvironment,
    BenchRecord,
    Calibration,
    CaseRecord,
    ColdStartRecord,
    ComparisonRecord,
    JournalEntry,
    MatrixProduct,
    Pilot,
)
from study.records.profile import ProfileRecord
from study.records.scenarios import OfflineRecord, ServerRecord

T = TypeVar("T", bound=Task)


@dataclass
class Results:
    """The measurements of a session, and what its processes have given so far."""

    cases: list[Case]
    pairs: list[tuple[Case, Case]]
    """Reference and runtime; best against best joins them when the pilot has chosen it."""
    starting: list[Case]
    """The cases whose cold start is measured."""
    budget: Budget
    environment: BenchEnvironment
    margin: float = 0.02
    scenarios: Sequence[LoadTask] = ()
    """Cases under load, instead of the others."""
    notes: Sequence[str] = ()
    """Lines for the end: what is left out, and which inputs are drawn."""
    families: Sequence[Families] = ()
    """Those of which the best are compared."""
    profiling: Sequence[ProfileTask] = ()
    """The cases that are profiled."""
    chosen: dict[str, Chosen] = field(default_factory=dict)
    """What the pilot chose, by the name of the families."""
    results: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """What each process gave, by the name of the task."""
    cold_starts: dict[str, ColdStartRecord] = field(default_factory=dict)
    profiles: dict[str, ProfileRecord] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why measurements were left out, by name."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why measurements failed, by name."""
    overheads: list[float] = field(default_factory=list)
    peaks: dict[int, MatrixProduct] = field(default_factory=dict)
    """The fastest product of matrices, by the number of threads."""
    pilot: Pilot | None = None
    processes: int = 0
    """Number of processes so far."""
    complete: bool = False
    """Whether everything was measured and the JSON is in its place."""
    calibrations: list[Calibration] = field(default_factory=list)
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
        return regimes.level(self.calibrations) if self.calibrations else None

    @property
    def overhead_seconds(self) -> float | None:
        """Smallest overhead of the harness that a process saw."""
        return min(self.overheads, default=None)

    def add(self, task: Task, result: Any) -> None:
        """Keep the result of the latest process, instead of an earlier one of it that was disturbed."""
        earlier = [one for one in self.results[task.name] if one.process.process != result.process.process]
        self.results[task.name] = [*earlier, result]
        self.calibrations.append(result.process.calibration)
        self._keep(task)

    def add_peaks(self, products: Iterable[MatrixProduct]) -> None:
        """Keep the fastest products of matrices."""
        for one in products:
            so_far = self.peaks.get(one.threads)
            if so_far is None or one.flops_per_second > so_far.flops_per_second:
                self.peaks[one.threads] = one
                self.write(JournalEntry(matrix_product=one))

    def fastest(self) -> dict[str, float]:
        """The smallest mean time of a call of each comparison so far."""
        names = [PairTask(*pair).name for pair in self.pairs]
        return {name: min(one.call_seconds for one in self.results[name]) for name in names if self.results[name]}

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been measured to its end."""
        return not (any(self.results.values()) or self.cold_starts or self.profiles)

    def open(self, tasks: Iterable[T]) -> list[T]:
        """Those that have neither failed nor been left out."""
        return [task for task in tasks if task.name not in self.failed and task.name not in self.left_out]

    def _valid(self, task: Task) -> int:
        """In how many processes a task was valid."""
        return sum(one.process.valid for one in self._judged(task))

    def lacks(self, task: Task, left: int) -> bool:
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

    def ratios(self, tasks: Iterable[Task]) -> dict[str, list[float]]:
        """The ratio of each comparison in each process that counts."""
        pairs = [task for task in self.open(tasks) if isinstance(task, PairTask)]
        return {task.name: [one.process.ratio for one in counted(self._judged(task))] for task in pairs}

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

    def require_best(self, families: Families) -> None:
        """The same for best against best, which has the name of a comparison once it is chosen."""
        self.require(self.chosen[families.name].pair.name if families.name in self.chosen else families.name)

    def choose(self, families: Sequence[Families], pilot: Mapping[str, Sequence[Any]]) -> list[PairTask]:
        """Choose the best of each family by the pilot's results; returns their comparisons, which join `pairs`."""
        for one in families:
            cases = [task.case for task in self.open([CaseTask(case) for case in (*one.reference, *one.runtime)])]
            if not (chosen := choose(one, pilot_seconds(pilot, cases))):
                self.left_out[one.name] = "an engine has no result in the pilot"
                continue
            self.chosen[one.name] = chosen
            reference, runtime = chosen.pair.reference, chosen.pair.runtime
            if (reference, runtime) not in self.pairs:
                alike = [i for i, (_, other) in enumerate(self.pairs) if setting(other) == setting(runtime)]
                self.pairs.insert(alike[-1] + 1 if alike else len(self.pairs), (reference, runtime))
        return [one.pair for one in self.chosen.values()]

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
        best = {one.pair.name: one.best_of for one in self.chosen.values()}
        return comparison_record(
            reference, runtime, results, *given, cases, best.get(PairTask(reference, runtime).name)
        )

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
            environment=replace(self.environment, load_after=load_average()),
            harness_overhead_seconds=self.overhead_seconds,
            processes=max(1, self.processes),
            pilot=self.pilot,
            comparisons=tuple(one for pair in self.pairs if (one := self.comparison(*pair))),
            cold_starts=tuple(self.cold_starts.values()),
            cases=tuple(record for case in self.cases if (record := self.case(case))),
            offline=tuple(load for task in self.scenarios if isinstance(load := self.loaded(task), OfflineRecord)),
            server=tuple(load for task in self.scenarios if isinstance(load := self.loaded(task), ServerRecord)),
            profiles=tuple(self.profiles.values()),
            left_out=dict(self.left_out),
            failed=dict(self.failed),
            matrix_products=tuple(self.peaks[n] for n in sorted(self.peaks)),
        )

    def keep(self, tasks: Iterable[Task]) -> None:
        """Write the records of these tasks to the journal once more: what was measured later may change a judgement."""
        for task in tasks:
            if self.results[task.name]:
                self._keep(task)

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
