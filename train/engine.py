"""Runs side by side: one process of one thread for each, as many at a time as asked for."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from train.tasks import Event, Task

ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    # glibc hands blocks of this size back to the kernel as soon as they are free: 800,000 page faults in an epoch,
    # which then takes 4.3 s instead of 2.3 s. (Other allocators do not know these names.)
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""Environment of a process that trains on one core; read when it starts, before torch is imported."""


def processes(*modules: str) -> Any:
    """What starts processes here that will need `modules`: a context of multiprocessing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))  # torch is imported once, not once a run
    return context


def start(context: Any, target: Callable[[Any, Connection], None], work: Any) -> tuple[Connection, Any]:
    """Start a process that calls `target` with `work` and a connection; the other end of that, and the process.

    Where the process ends, however it does, receiving raises an EOFError.
    """
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(work, sender), daemon=True)
    process.start()
    sender.close()  # the child's copy is then the only one, and its end is seen here
    return receiver, process


def run(tasks: Sequence[Task], workers: int, report: Callable[[Event], None]) -> None:
    """Make all runs, handed out in the order of `tasks`, at most `workers` at a time; `report` is called as they go on.

    Each run has a process of its own, so that one that fails or is killed touches no other.
    """
    from train.worker import work  # brings torch, which nobody needs before there is something to train

    os.environ.update(ONE_CORE)
    context = processes(work.__module__)
    waiting = deque(tasks)
    running: dict[Connection, tuple[Task, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                task = waiting.popleft()
                receiver, process = start(context, work, task)
                running[receiver] = (task, process)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                task, process = running[ready]
                try:
                    event = ready.recv()
                except EOFError:
                    process.join()
                    event = Event(task, "failed", f"its process ended with exit code {process.exitcode}")
                report(event)
                if event.kind != "epoch":
                    del running[ready]
                    process.join()
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
