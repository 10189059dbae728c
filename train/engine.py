"""Parallel work: one single-threaded process for each task, with a maximum number at a time."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar

from study.children import shielded
from study.remote.tasks import Lost
from train.tasks import Epoch, Event, Failed, NoRoom, Resumed, Task

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Report: TypeAlias = Callable[[Task, Event], None]
Engine: TypeAlias = Callable[[Sequence[Task], int, Report], None]
"""Makes all runs, at most this number at a time, and reports their events as they come."""


class Workers(Protocol[T_contra]):
    """What works on tasks: `Processes` here, `study.remote.tasks.Tasks` on a cluster."""

    running: dict[Any, Any]

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: Any) -> None: ...

    def start(self, task: T_contra) -> None: ...

    def wait(self) -> Iterator[tuple[Any, Any]]:
        """What has been sent, with what was started."""

    def end(self, worker: Any) -> None: ...


ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    # glibc returns freed blocks of this size to the kernel: 800,000 page faults an epoch, which then takes 4.3 s, not
    # 2.3 s. (Other allocators ignore these names.)
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""Environment of a process that trains on one core; it is read at the start, before torch is imported."""


@dataclass(frozen=True)
class Exit:
    """The end of a process."""

    code: int | None
    """Negative: the signal that killed it."""

    @property
    def reason(self) -> str:
        return f"its process ended with exit code {self.code}"


@dataclass(frozen=True)
class Worker(Generic[T]):
    """A process and its task."""

    task: T
    process: Any
    """multiprocessing has no common type for the processes of its contexts."""


class Processes(Generic[T]):
    """Processes that call `target(task, sender)`, and what they send; on exit those still running are terminated.

    One that fails or is killed does not affect the others.

    Args:
        preload: modules to import once, before processes are forked.
    """

    def __init__(self, target: Callable[[T, Connection], None], *preload: str) -> None:
        os.environ.update(ONE_CORE)
        self.target = target
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["train.fork_server", *preload])
        self.running: dict[Connection, Worker[T]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self.running.values()):
            self.end(worker)

    def start(self, task: T) -> None:
        receiver, sender = self.context.Pipe(duplex=False)
        process: Any = self.context.Process(target=self.target, args=(task, sender), daemon=True)
        with shielded():
            forkserver.ensure_running()
        process.start()
        sender.close()  # the child has the only copy now, so receiving fails when it ends
        self.running[receiver] = Worker(task, process)

    def wait(self) -> Iterator[tuple[Worker[T], Any]]:
        """Wait for messages; an `Exit` is the last one of a process that was not ended here."""
        for receiver in wait(list(self.running)):
            assert isinstance(receiver, Connection)
            if receiver not in self.running:  # ended since
                continue
            worker = self.running[receiver]
            try:
                message = receiver.recv()
            except EOFError:
                self.running.pop(receiver).process.join()
                message = Exit(worker.process.exitcode)
            yield worker, message

    def end(self, worker: Worker[T]) -> None:
        """Terminate a process; nothing that it still sends is received."""
        self.running = {receiver: other for receiver, other in self.running.items() if other is not worker}
        worker.process.terminate()
        worker.process.join()


def run(tasks: Sequence[Task], workers: int, report: Report) -> None:
    """Make all runs in processes of this machine, as `make` does."""
    from train.worker import work  # imports torch, which is not needed before there is something to train

    make(Processes(work, work.__module__), tasks, workers, report)


def make(processes: Workers[Task], tasks: Sequence[Task], workers: int, report: Report) -> None:
    """Make all runs, in the order of `tasks`, at most `workers` at a time; `report` receives their events.

    Those that another command makes are left to it; they are made here if it does not finish them.

    A run that does not fit on the GPU beside the others waits until one of them has ended, and from then on fewer are
    made at a time.
    """
    from train.claims import Claims

    alone: set[str] = set()  # runs that began when no other was to run beside them
    with Claims(tasks, report) as claims, processes:
        while True:
            while len(processes.running) < workers and (task := claims.next(wait=not processes.running)):
                if workers == 1:
                    alone.add(task.label)
                processes.start(task)
            if not processes.running:
                return
            for worker, event in processes.wait():
                if isinstance(event, Exit) or (isinstance(event, Lost) and not event.again):
                    event = Failed(event.reason)
                if not isinstance(event, Epoch | Resumed | Lost):
                    processes.end(worker)
                    claims.release(worker.task)
                if isinstance(event, NoRoom):
                    if worker.task.label in alone:
                        event = Failed(f"the GPU's memory does not suffice ({event.reason}); train with --device cpu")
                    else:
                        workers = max(1, len(processes.running))
                        claims.put_back(replace(worker.task, fresh=False))  # its state is of this command
                report(worker.task, event)
