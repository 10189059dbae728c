"""What a worker process measures: a case, or a comparison of two."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from bench import measure
from bench.cases import Case
from bench.keys import short_name
from bench.measure import CaseOnce, PairOnce, Process
from study.records.bench import CaseKey


class Task(Protocol):
    """One measurement that every worker process of a session makes; it is sent to them, so it can be pickled."""

    @property
    def key(self) -> CaseKey: ...

    @property
    def name(self) -> str: ...

    def measure(self, process: Process) -> Any:
        """The result of this process; its `process.valid` says whether the machine disturbed it.

        Raises:
            StudyError: an engine does not load or run the model, or its outputs are wrong.
            TooSlowError: there is no time for it.
        """

    def without_reference(self) -> "Task | None":
        """The same without the check against another engine, which may have ended the process; None if it has none."""


@dataclass(frozen=True)
class CaseTask:
    case: Case

    @property
    def key(self) -> CaseKey:
        return self.case.key

    @property
    def name(self) -> str:
        return short_name(self.key)

    def measure(self, process: Process) -> CaseOnce:
        return measure.latency(self.case, process)

    def without_reference(self) -> "CaseTask | None":
        case = self.case
        return None if case.model.run or not case.against else CaseTask(replace(case, against=()))


@dataclass(frozen=True)
class PairTask:
    reference: Case
    runtime: Case

    @property
    def key(self) -> CaseKey:
        return self.runtime.key

    @property
    def name(self) -> str:
        return short_name(self.key, self.reference.runtime)

    def measure(self, process: Process) -> PairOnce:
        return measure.comparison(self.reference, self.runtime, process)

    def without_reference(self) -> None:
        return None
