"""The trials of a search: trained side by side, each in a process of one thread that makes one after another."""

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import optuna
import sqlalchemy
import torch
from torch import Tensor

from study.data.tensors import load
from study.entry import Entry
from study.errors import StudyError, one_line
from study.evaluation import evaluate
from study.recipe import Recipe
from train.engine import ONE_CORE, processes, start
from train.fitting import Trainer
from train.search import space as search_space
from train.search.storage import PROCESSES, SEED, Search, Storage
from train.split import hold_out

DEATHS = 3
"""So many processes may end by themselves between two trials that end; then it is not an accident."""


@dataclass(frozen=True)
class Told:
    """What a worker has to tell of a trial: "begun", "epoch" or "ended", or of itself: "broken" and why.

    Of a worker that has "died" its parent tells, with its last trial (-1: it had none) and its exit code.
    """

    kind: str
    number: int
    content: Any = None


Tell = Callable[[Told], None]


def side_by_side(storage: Storage, workers: int, tell: Tell) -> None:
    """Make trials until so many are finished as are wanted, `workers` at a time; `tell` is called as they go on.

    A process that is killed touches no other: one takes its place, and its trial is done again.

    Raises:
        StudyError: no worker gets through a trial.
    """
    os.environ.update(ONE_CORE)
    context = processes("train.worker", __name__)  # the one for the winner's runs later
    running: dict[Connection, Any] = {}
    current: dict[Connection, int] = {}
    """The last trial of each process."""
    deaths = 0

    def begin() -> None:
        receiver, process = start(context, work, storage.search)
        running[receiver] = process

    try:
        for _ in range(min(workers, storage.search.trials - storage.finished())):
            begin()
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                try:
                    told: Told = ready.recv()
                except EOFError:
                    process = running.pop(ready)
                    process.join()
                    if process.exitcode == 0:  # enough trials are finished
                        continue
                    deaths += 1
                    tell(Told("died", current.pop(ready, -1), process.exitcode))
                    if deaths >= DEATHS:
                        raise StudyError(
                            f"{deaths} processes ended without finishing a trial, the last with exit code "
                            f"{process.exitcode}; if memory is short, try fewer --workers"
                        ) from None
                    begin()
                    continue
                if told.kind == "broken":
                    raise StudyError(told.content)
                current[ready] = told.number
                deaths = 0 if told.kind == "ended" else deaths
                tell(told)
    finally:
        for process in running.values():
            process.terminate()
            process.join()
        storage.repeat_ended()


def work(search: Search, sender: Connection) -> None:
    """The process of a worker: make trials, and send what there is to tell of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and ends this process
    torch.set_num_threads(1)
    try:
        run(Storage(search), load(search.data, True, search.entry.dataset), sender.send)
    except BrokenPipeError:
        return  # the parent was killed: nobody listens, and the trial is left to others
    except (StudyError, OSError, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = one_line(error) if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else str(error)
        with contextlib.suppress(BrokenPipeError):
            sender.send(Told("broken", -1, reason))


def run(storage: Storage, images: tuple[Tensor, Tensor], tell: Tell) -> None:
    """Make trials until so many are finished as are wanted, by this process or by others.

    Args:
        images: the training images, uint8 [N, C, H, W], and their labels, int64 [N].
    """
    search = storage.search
    storage.locks.take(PROCESSES + os.getpid())  # as long as it lives, no other command throws the storage away
    train, validation = hold_out(images[1], search.validation)
    parts = [(images[0][part], images[1][part]) for part in (train, validation)]
    while storage.finished() < search.trials:
        trial = storage.begin()
        if trial is None:
            time.sleep(0.5)  # another process may yet die, and its trial be ours
            continue
        recipe = storage.recipe(trial)
        tell(Told("begun", trial.number, search_space.in_short(search_space.values(recipe, storage.space))))
        error, reason = _train(storage, trial, recipe, parts, tell)
        storage.end(trial, error, reason)
        tell(Told("ended", trial.number, (error, reason)))


def trial_entry(search: Search, recipe: Recipe) -> Entry:
    """The entry that a trial trains: fewer epochs, of which as large a part as ever is without shifts."""
    unshifted = round(recipe.unshifted * search.epochs / recipe.epochs)
    return replace(search.entry, recipe=replace(recipe, epochs=search.epochs, unshifted=unshifted))


def _train(
    storage: Storage, trial: optuna.Trial, recipe: Recipe, parts: list[tuple[Tensor, Tensor]], tell: Tell
) -> tuple[float | None, str | None]:
    """Train on the first of `parts` and validate on the second: the last error, and why it was given up if it was."""
    search = storage.search
    trainer = Trainer(trial_entry(search, recipe), *parts[0], seed=SEED)
    error = None
    for epoch in range(1, search.epochs + 1):
        started = time.perf_counter()
        loss, _ = trainer.epoch(epoch - 1)
        validation = evaluate(trainer.network, *parts[1])
        if not math.isfinite(loss + validation.loss):
            return error, f"diverged: loss {loss} in epoch {epoch}"
        error = validation.error
        tell(Told("epoch", trial.number, (epoch, error, time.perf_counter() - started)))
        if storage.report(trial, epoch, error):
            return error, f"not among the better half after epoch {epoch}"
    return error, None
