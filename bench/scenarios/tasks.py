"""A scenario as a task of the worker processes."""

from dataclasses import dataclass, replace

from bench.cases import Case
from bench.keys import load_name
from bench.measure import Process
from bench.scenarios import offline, server
from bench.scenarios.once import LoadOnce
from bench.scenarios.server import Goal
from bench.scenarios.streams import Streams
from study.errors import StudyError
from study.records.measurement import CaseKey

_running: dict[int, Streams] = {}
"""The streams of this process, by their number: to import the engines takes them seconds, so they serve all tasks."""


@dataclass(frozen=True)
class LoadTask:
    """A case in one or more streams."""

    case: Case
    streams: int
    goal: Goal | None = None
    """Of the scenario server; None: offline."""

    @property
    def key(self) -> CaseKey:
        return self.case.key

    @property
    def name(self) -> str:
        return load_name(self.key, self.streams)

    @property
    def scenario(self) -> str:
        return "offline" if self.goal is None else "server"

    def __str__(self) -> str:
        return f"{self.case}-streams{self.streams}"

    def measure(self, process: Process) -> LoadOnce:
        """As `bench.tasks.Task.measure`."""
        streams = _running.get(self.streams) or _running.setdefault(self.streams, Streams(self.streams))
        try:
            if self.goal is None:
                return offline.measure(self.case, streams, process)
            return server.measure(self.case, streams, self.goal, process)
        except StudyError:
            if not streams.alive:
                del _running[self.streams]
                streams.end()
            raise

    def without_reference(self) -> "LoadTask | None":
        """As `bench.tasks.Task.without_reference`."""
        case = self.case
        return None if case.model.run or not case.against else replace(self, case=replace(case, against=()))
