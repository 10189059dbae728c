"""`pytest bench --profile`: the time of each operator, from the profiler of each engine.

An engine with a profiler has a class that derives from `Source`; its runtime names it in the attribute `profiler`. A
profiler slows the calls down, small operators by a multiple. So one process measures calls with and without it in
turns, and calibrates what an event costs on graphs of known length; this is subtracted (bench/profile/accounts.py).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from bench import runtimes
from bench.cases import Engine
from bench.models import Inputs
from bench.profile.accounts import Event, Operator


class Source(ABC):
    """The profiler of an engine: it records the calls of one case."""

    own_share = 1.0
    """Part of an event's cost that is in the time of the event itself; the rest is in what is around it."""
    most_per_call = math.inf
    """The most that it can cost a call beside the events, in events."""
    resolution_seconds = 0.0
    """Unit that it rounds each time of an operator down to, unless that does not matter."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for the profiler's files."""
        self.folder = folder

    def opened(self, plain: Engine, pool: Sequence[Inputs]) -> AbstractContextManager[Engine]:
        """The engine that is recorded: the one without the profiler, if that can be switched on and off."""
        return nullcontext(plain)

    def recording(self) -> AbstractContextManager[Any]:
        """A context around the calls of a turn; it is entered for each turn."""
        return nullcontext()

    def inputs(self, engine: Engine) -> Iterator[Any]:
        """The inputs of recorded calls; taking the next one may mark the beginning of a call."""
        return engine.inputs

    @abstractmethod
    def calls(self, engine: Engine, walls: Sequence[float]) -> list[list[Event]]:
        """The operators of each recorded call, in their order; asked once, after the last turn.

        Args:
            walls: seconds of each recorded call.
        """

    def located(self, engine: Engine, operators: Sequence[Operator]) -> list[Operator]:
        """The operators with the modules that they belong to, as far as these are known."""
        return list(operators)

    @abstractmethod
    def chain(self, plain: Engine, length: int) -> AbstractContextManager[Engine]:
        """The engine with a graph of small operators, some for each unit of length, for calibration."""


def source_of(runtime: str) -> type[Source] | None:
    """The profiler of a runtime; None if it has none."""
    path = getattr(runtimes.find(runtime), "profiler", "")
    found: type[Source] | None = resolve_name(path) if path else None
    return found
