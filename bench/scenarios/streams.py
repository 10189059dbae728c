"""Streams: processes with an engine each, which call at the same time.

They are processes, not threads, because threads of one Python process take turns at the interpreter's lock between
their calls. Calls of small models are so short that two threads are then hardly faster than one, in torch above all,
which takes the lock again for each operator. Who serves such models from Python starts processes.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol, Self

from bench.cases import Case, opened
from bench.machine.counters import snapshot
from bench.machine.interference import Interference, interference
from bench.sampling import WarmUp, garbage_collector_held, warm_up
from study.children import end_with_parent, shielded
from study.errors import StudyError
from study.records.bench import Settings

END_SECONDS = 5.0
Take = Callable[[], int]
"""Gives each number from 0 on to one of the streams."""


class Job(Protocol):
    """What all streams do at the same time; it is pickled."""

    def __call__(self, call: Callable[[], object], take: Take) -> Any:
        """Do it with `call`, which makes one call; the result is pickled."""


@dataclass(frozen=True)
class Ready:
    """A stream whose engine is loaded and warm."""

    warm_up: WarmUp
    settings: Settings


@dataclass(frozen=True)
class Done:
    """The result of a job in one stream, and what it took."""

    result: Any
    cpu_seconds: float
    involuntary_switches: int
    settings: Settings


class Streams:
    """The processes; as a context they end with the block. Cases are measured one after the other."""

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.overheads: dict[str, float] = {}
        """Seconds that the harness takes for a call of each scenario, as far as they have been measured."""
        self._taken: Any = context.Value("q", 0)
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(number):
            ours, theirs = context.Pipe()
            process = context.Process(target=_stream, args=(theirs, self._taken, number), daemon=True)
            with shielded():
                process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def alive(self) -> bool:
        """Whether all processes run."""
        return all(process.is_alive() for process in self._processes)

    def end(self) -> None:
        """End the processes."""
        for connection in self._connections:
            connection.close()  # which ends the stream
        for process in self._processes:
            process.join(END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

    def load(self, case: Case, warm_up_seconds: float) -> list[Ready]:
        """Load the case in each stream and warm it up, all at the same time.

        Raises:
            StudyError: the engine does not load in a stream, or the stream's process ended.
        """
        return self._ask((case, warm_up_seconds))

    def do(self, job: Job) -> tuple[list[Done], Interference]:
        """Do a job in all streams, and what else the machine did meanwhile; the streams count as this process.

        Raises:
            StudyError: as `load`.
        """
        self._taken.value = 0
        before = snapshot()
        done: list[Done] = self._ask(job)
        after = snapshot()
        after = replace(
            after,
            children_seconds=after.children_seconds + sum(one.cpu_seconds for one in done),
            involuntary_switches=after.involuntary_switches + sum(one.involuntary_switches for one in done),
        )
        return done, interference(before, after)

    def unload(self) -> None:
        """Close the engines."""
        self._ask(None)

    def _ask(self, request: object) -> list[Any]:
        """Send the same request to all streams; their answers."""
        for connection in self._connections:
            try:
                connection.send(request)
            except OSError:
                self._raise_ended()
        answers = []
        for connection in self._connections:
            try:
                answers.append(connection.recv())
            except (EOFError, OSError):
                self._raise_ended()
        if failed := next((answer for answer in answers if isinstance(answer, str)), None):
            raise StudyError(failed)
        return answers

    def _raise_ended(self) -> None:
        for process in self._processes:
            process.join(END_SECONDS / len(self._processes))
        codes = [process.exitcode for process in self._processes if process.exitcode is not None]
        raise StudyError(f"the process of a stream ended with exit code {codes[0] if codes else 'unknown'}") from None


def _stream(connection: Connection, taken: Any, streams: int) -> None:
    """One stream: loads a case, does jobs with it until None, and so on until the connection is closed."""
    end_with_parent()

    def take() -> int:
        with taken.get_lock():
            number: int = taken.value
            taken.value = number + 1
        return number

    engine = None
    with garbage_collector_held(), suppress(OSError), ExitStack() as loaded:  # the worker may have ended
        while True:
            try:
                request = connection.recv()
            except EOFError:
                return
            try:
                if request is None:
                    loaded.close()
                    engine = None
                    connection.send(None)
                elif isinstance(request, tuple):
                    loaded.close()
                    case, seconds = request
                    engine = loaded.enter_context(opened(case, case.model.pool(case.batch)))
                    loaded.enter_context(engine.runtime.context())
                    connection.send(Ready(warm_up(engine.once, most_seconds=seconds), engine.runtime.settings()))
                else:
                    assert engine is not None
                    before = _spent()
                    result = request(engine.once, take if streams > 1 else count().__next__)
                    cpu, switches = (b - a for a, b in zip(before, _spent(), strict=True))
                    connection.send(Done(result, cpu, int(switches), engine.runtime.settings()))
            except StudyError as error:
                connection.send(str(error))
            except Exception as error:  # engines raise exceptions of any type
                connection.send(f"a stream failed: {type(error).__name__}: {error}")


def _spent() -> tuple[float, float]:
    """CPU seconds and involuntary switches of this process."""
    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
