"""Run worker processes, one at a time, and survive what ends them."""

import signal
import tempfile
from collections.abc import Generator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from bench.session_folder import folder as session_folder
from bench.tasks import Task
from bench.worker import Job, Message, work
from study.children import shielded
from study.errors import printable

LAST_OUTPUT = 2000
"""Bytes of a worker's output in which its last words are looked for."""


def run(job: Job) -> Generator[Message, None, None]:
    """The messages of a fresh process that does `job`.

    Some engines end the process at a fault. Then the task that was being measured fails, and another process measures
    the rest. If the engine whose outputs it was compared with may have done it, the task is tried once more without.
    """
    left: dict[str, Task] = {task.name: task for task in job.tasks}
    while left:
        measuring = None
        with tempfile.TemporaryDirectory(dir=session_folder()) as folder:
            log = Path(folder) / "log"
            context = get_context("spawn")
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(replace(job, tasks=tuple(left.values())), theirs, log))
            with shielded():
                process.start()
            theirs.close()
            try:
                while True:
                    message: Message = ours.recv()
                    measuring = message.name if message.began else None
                    if message.name and not message.began:
                        left.pop(message.name, None)
                    yield message
            except EOFError:
                process.join()
            finally:
                process.kill()
                process.join()
                ours.close()
            if not process.exitcode:
                return
            last = _last_line(log)
        name = measuring or next(iter(left), "")
        task = left.pop(name, None)
        if task and process.exitcode < 0 and (alone := task.without_reference()):
            left = {name: alone, **left}
            continue
        yield Message(name, failed=f"{name}: {_how(process.exitcode)}{f': {last}' if last else ''}")


def _how(code: int) -> str:
    return (
        f"the engine crashes with {signal.Signals(-code).name}" if code < 0 else f"the process ended with code {code}"
    )


def _last_line(log: Path) -> str:
    """The last words of a process."""
    text = log.read_bytes()[-LAST_OUTPUT:].decode(errors="replace") if log.exists() else ""
    return printable((text.strip().splitlines() or [""])[-1])
