"""Tasks of Ray that send messages while they work: the counterpart of `train.engine.Processes` on a cluster.

A task is a generator on some worker. Each of its messages has an event and the bytes of the files that are to be kept,
so that workers need no shared disk: the command that started the tasks writes all of them. A task whose worker or node
has died is started again on another, with what has been kept until then.
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from study.errors import described, one_line
from study.files import read_plain
from study.remote import cluster

T = TypeVar("T")
LOSSES = 3
"""A task is given up after this many lost workers in a row without a file that was kept."""


@dataclass(frozen=True)
class Message:
    """What a task sends."""

    event: Any
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The files to keep, by their names and in the order in which they are written."""
    last: bool = False
    notes: str = ""
    """What the task has printed to standard error since the last message."""


@dataclass(frozen=True)
class Lost:
    """The worker of a task has died."""

    reason: str
    again: bool
    """Whether the task has been started again."""


@dataclass
class Job(Generic[T]):
    """A task that has been started."""

    task: T
    stream: Any
    """Its ray.ObjectRefGenerator."""
    losses: int = 0
    """Workers lost since it last sent a file."""


class Tasks(Generic[T]):
    """Tasks that call `target(task, *inputs(task))`, one core each, and what they send; on exit the others are ended.

    Args:
        target: yields messages; the last one says so. It is imported by the worker.
        inputs: further arguments, at each start; references to what is in the object store among them. An OSError of
            it is that of `start`; of a task whose worker has died, it is a reason to give up.
        keep: writes the files of a message, and gives the event that is handed on.
        gpus: the share of a GPU for each task.
        again: whether a task whose worker has died is started again here; otherwise that is the caller's.
        alone: whether this task gets a worker that has done nothing else.
    """

    def __init__(
        self,
        target: Callable[..., Iterator[Message]],
        inputs: Callable[[T], tuple[Any, ...]],
        keep: Callable[[T, Message], Any] = lambda task, message: message.event,
        gpus: float = 0,
        again: bool = True,
        alone: Callable[[T], bool] = lambda task: False,
    ) -> None:
        self.ray = cluster.imported()
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0, "num_returns": "streaming"}
        self.shared = self.ray.remote(**options)(target)
        self.single = self.ray.remote(max_calls=1, **options)(target)
        self.inputs, self.keep, self.again, self.alone = inputs, keep, again, alone
        self.running: dict[Any, Job[T]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for job in list(self.running.values()):
            self.end(job)

    def start(self, task: T) -> None:
        self._start(task, losses=0)

    def _start(self, task: T, losses: int) -> None:
        function = self.single if self.alone(task) else self.shared
        stream = function.options(name=str(getattr(task, "label", "task"))).remote(task, *self.inputs(task))
        self.running[stream] = Job(task, stream, losses)

    def wait(self) -> Iterator[tuple[Job[T], Any]]:
        """Wait for messages and hand on their events, and `Lost` where a worker has died."""
        ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=0.2)  # short: Ctrl-C is seen in between
        for stream in ready:
            job = self.running[stream]
            try:
                message = self.ray.get(next(stream))
            except StopIteration:
                yield job, self._lost(job, "it ended without a result", again=False)
                continue
            except self.ray.exceptions.RayError as error:
                own = self.ray.exceptions.RayTaskError, self.ray.exceptions.RuntimeEnvSetupError
                again = self.again and not isinstance(error, own)  # these would fail again
                yield job, self._lost(job, one_line(getattr(error, "cause", None) or error), again)
                continue
            if message.notes:
                print(message.notes, end="", file=sys.stderr, flush=True)
            if message.files:
                job.losses = 0
            if message.last:
                del self.running[stream]
            yield job, self.keep(job.task, message)

    def _lost(self, job: Job[T], reason: str, again: bool) -> Lost:
        del self.running[job.stream]
        again = again and job.losses + 1 < LOSSES
        if again:
            try:
                self._start(job.task, job.losses + 1)
            except OSError as error:
                again, reason = False, f"{reason}; then {described(error)}"
        return Lost(f"its worker is lost ({reason})", again)

    def end(self, job: Job[T]) -> None:
        """Interrupt a task; nothing if it has sent its last message. What it still sends is not received."""
        if self.running.pop(job.stream, None):
            with contextlib.suppress(self.ray.exceptions.RayError):
                self.ray.cancel(job.stream, force=False)


class Workplace:
    """On a worker: a temporary folder in place of the files' own, and what is printed to standard error meanwhile."""

    def __init__(self, folder: Path, own: Path) -> None:
        self.folder, self.own, self.text = folder, own, io.StringIO()

    def taken(self) -> str:
        """What was printed since, with the paths of the files' own folder."""
        text = self.own_paths(self.text.getvalue())
        self.text.seek(0)
        self.text.truncate()
        return text

    def own_paths(self, text: str) -> str:
        return text.replace(str(self.folder), str(self.own))

    def content(self, *names: str) -> dict[str, bytes]:
        """The files of these names that are there, in this order."""
        paths = [self.folder / name for name in names]
        return {path.name: read_plain(path, None) for path in paths if path.is_file()}


@contextlib.contextmanager
def workplace(own: Path, files: Mapping[str, bytes]) -> Iterator[Workplace]:
    """A temporary folder with these files; on a worker the current folder is Ray's own for this command."""
    with tempfile.TemporaryDirectory(prefix="task-", dir=Path.cwd()) as name:
        here = Workplace(Path(name), own)
        for file, content in files.items():
            (here.folder / file).write_bytes(content)
        with contextlib.redirect_stderr(here.text):
            yield here
