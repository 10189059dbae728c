"""The trials of a search: trained side by side, each in a process that reports to the one that searches."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TypeAlias

from msgspec import structs
from torch import Tensor

from study.children import end_with_parent
from study.data.tensors import load
from study.entry import Entry
from study.errors import StudyError, described
from study.recipe import Recipe
from study.remote.tasks import Lost
from train.devices import settle
from train.engine import Exit, Processes, Workers
from train.search import space as search_space
from train.search.storage import SEED, Search, Storage
from train.split import hold_out
from train.trainer import Trainer

DEATHS = 3
"""The search stops after this many processes in a row that ended before their trials did."""


@dataclass(frozen=True)
class Task:
    """One trial to be trained."""

    search: Search
    number: int
    recipe: Recipe

    @property
    def label(self) -> str:
        return f"{self.search.entry.name} trial {self.number}"


@dataclass(frozen=True)
class Begun:
    number: int
    values: str
    """Its hyper-parameters in one line."""


@dataclass(frozen=True)
class Epoch:
    number: int
    epoch: int
    """From 1."""
    error: float
    """Validation error."""
    seconds: float


@dataclass(frozen=True)
class Ended:
    number: int
    error: float | None
    """The last validation error."""
    reason: str | None = None
    """Why it was pruned; None if it is complete."""


@dataclass(frozen=True)
class Died:
    number: int
    reason: str
    """How its process ended."""


Event: TypeAlias = Begun | Epoch | Ended | Died


def local_processes() -> Processes[Task]:
    """Processes of this machine that make trials, and later train the winner."""
    return Processes(work, "train.worker", __name__)


def side_by_side(
    storage: Storage,
    workers: int,
    report: Callable[[Event], None],
    start: Callable[[], Workers[Task]] = local_processes,
) -> None:
    """Make trials, `workers` at a time, until enough are finished; `report` receives their events.

    A trial whose process is killed is repeated.

    Args:
        start: what makes the trials.

    Raises:
        StudyError: no process completes a trial.
    """
    storage.repeat_running(killed=True)  # those of a command that was killed
    deaths = 0
    try:
        with start() as processes:
            while True:
                while len(processes.running) < workers and (trial := storage.begin()):
                    recipe = storage.recipe(trial)
                    values = search_space.in_short(search_space.values(recipe, storage.space))
                    processes.start(Task(storage.search, trial.number, recipe))
                    report(Begun(trial.number, values))
                if not processes.running:
                    return
                for worker, event in processes.wait():
                    match event:
                        case StudyError():
                            raise event
                        case Exit() | Lost():
                            deaths += 1
                            storage.repeat(worker.task.number, killed=True)
                            report(Died(worker.task.number, event.reason))
                            if deaths >= DEATHS:
                                raise StudyError(
                                    f"{deaths} processes ended without finishing a trial; of the last one: "
                                    f"{event.reason}; if memory is short, try fewer --workers"
                                )
                            continue
                        case Epoch():
                            report(event)
                            if not storage.report(event.number, event.epoch, event.error):
                                continue
                            reason = f"not among the better half after epoch {event.epoch}"
                            event = Ended(event.number, event.error, reason)
                    processes.end(worker)
                    deaths = 0
                    storage.end(event.number, event.error, event.reason)
                    report(event)
    finally:
        storage.repeat_running(killed=False)


def work(task: Task, sender: Connection) -> None:
    """The process of a trial: train, and send its events."""
    end_with_parent()
    settle(task.search.device)
    try:
        for event in train(task, load(task.search.data, True, task.search.entry.dataset)):
            sender.send(event)
    except BrokenPipeError:
        return  # the parent was killed
    except (StudyError, OSError) as error:
        with contextlib.suppress(BrokenPipeError):
            sender.send(StudyError(described(error)))


def trial_entry(search: Search, recipe: Recipe) -> Entry:
    """The entry of a trial: with fewer epochs, the same share of them without shifts."""
    unshifted = round(recipe.unshifted * search.epochs / recipe.epochs)
    return replace(search.entry, recipe=structs.replace(recipe, epochs=search.epochs, unshifted=unshifted))


def train(task: Task, images: tuple[Tensor, Tensor]) -> Iterator[Epoch | Ended]:
    """Train one trial on a part of the training images and validate it on the others.

    Args:
        images: all training images, uint8 [N, C, H, W], and their labels, int64 [N].
    """
    search, error = task.search, None
    training, validation = ((images[0][part], images[1][part]) for part in hold_out(images[1], search.validation))
    trainer = Trainer(trial_entry(search, task.recipe), *training, seed=SEED, device=search.device)
    for epoch in range(1, search.epochs + 1):
        started = time.perf_counter()
        loss, _ = trainer.epoch(epoch - 1)
        result = trainer.evaluate(*validation)
        if not math.isfinite(loss + result.loss):
            yield Ended(task.number, error, f"diverged: loss {loss} in epoch {epoch}")
            return
        error = result.error
        yield Epoch(task.number, epoch, error, time.perf_counter() - started)
    yield Ended(task.number, error)
