"""A fresh process of a session: it measures tasks in an order of its own, and sends each result at once.

A task that the machine disturbed, or that waited in vain for its full speed, is measured once more at the end. The rule
looks at the reasons for invalidity alone, never at the result.
"""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench.full_speed import Patience, SlowMachineError, found_level
from bench.machine.cpus import pin
from bench.measure import Process
from bench.peak import PATIENCE_SECONDS, matrix_products
from bench.sampling import TooSlowError, garbage_collector_held
from bench.tasks import Task
from bench.timing import timed_calls
from study.children import end_with_parent
from study.errors import StudyError
from study.records.bench import MatrixProduct

NULL_CALLS = 10_000


@dataclass(frozen=True)
class Job:
    """The work of one process."""

    tasks: tuple[Task, ...]
    process: Process
    again: bool = True
    """Whether to measure again what was disturbed."""
    cpus: frozenset[int] | None = None
    """Where it may run; None: wherever the session may."""
    peaks: tuple[int, ...] = ()
    """Numbers of threads with which it measures the machine's peak at its end."""


@dataclass(frozen=True)
class Message:
    """What a worker sends: about the task of this name, or about itself."""

    name: str = ""
    began: bool = False
    result: Any = None
    failed: str = ""
    """Why the task failed."""
    left_out: str = ""
    """Why it was left out."""
    overhead_seconds: float | None = None
    matrix_products: tuple[MatrixProduct, ...] = ()


def work(job: Job, connection: Connection, log: Path) -> None:
    """The life of a worker; its output and that of the engines goes to the file `log`."""
    end_with_parent()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if job.cpus:
        pin(job.cpus)
    connection.send(Message(overhead_seconds=harness_overhead()))
    order = np.random.default_rng(job.process.seed).permutation(len(job.tasks))
    process = job.process if job.process.budget.quick else with_level(job.process)
    with garbage_collector_held():
        tasks = [job.tasks[i] for i in order]
        disturbed = _measured(tasks, replace(process, postpone=job.again), connection.send)
        if job.again:
            _measured(disturbed, process, connection.send)
        if job.peaks:
            found = matrix_products(job.peaks, Patience(process.level, PATIENCE_SECONDS))
            connection.send(Message(matrix_products=tuple(found)))
    connection.close()


def with_level(process: Process) -> Process:
    """The process, with the full speed that the machine shows if the session does not know it yet."""
    return process if process.level else replace(process, level=found_level())


def _measured(tasks: Sequence[Task], process: Process, send: Callable[[Message], None]) -> list[Task]:
    """Measure and send; returns the tasks that were disturbed or postponed."""
    disturbed = []
    for task in tasks:
        send(Message(task.name, began=True))
        try:
            result = task.measure(process)
        except SlowMachineError:
            disturbed.append(task)
        except TooSlowError as error:
            send(Message(task.name, left_out=str(error)))
        except StudyError as error:
            send(Message(task.name, failed=str(error)))
        else:
            send(Message(task.name, result=result))
            if not result.process.valid:
                disturbed.append(task)
    return disturbed


def harness_overhead() -> float:
    """Median time of a callable that does nothing, timed like the engines, in seconds."""
    with garbage_collector_held():
        return statistics.median(timed_calls(lambda _: None, iter([0] * NULL_CALLS), NULL_CALLS))
