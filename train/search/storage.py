"""The storage of a search, which its processes share.

It is Optuna's, in SQLite. Optuna advises against sharing one: under it, two processes can be given the same
waiting trial (optuna issue 4002). So every access that writes is made under one lock. A trial that runs has a lock of
its own: one without is dead, and is done again. Optuna's heartbeats, which are for this, are an experiment, take a
suspended computer's trials for dead, overlook one that dies before its first beat, and leave trials that nobody needs.
"""

import json
import math
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.trial import FrozenTrial, TrialState

from study.entry import Entry
from study.errors import StudyError, one_line
from study.networks import source_sha256
from study.recipe import Recipe, recorded
from train.search import space as search_space
from train.search.locks import Locks

SEED = 0
"""Of every trial: a trial differs from others in its hyper-parameters alone."""
STARTUP = 10
"""So many trials are drawn at random before others are drawn where the best of these were."""
COMPARED = 5
"""So many trials are complete before others are pruned."""
REPEATS = 2
"""So many times a trial is done again whose process has ended by itself; then it is given up."""
WRITING, WINNER, TRIALS, PROCESSES = 0, 1, 2, 10**9
"""Locks: to write, to train the winner; and, added to its number, that of a trial that runs and of a process."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Search:
    """What is to be searched."""

    entry: Entry
    data: Path
    storage: Path
    """The SQLite file."""
    epochs: int
    """Of a trial."""
    trials: int
    """So many are to be finished: complete, or pruned."""
    training: int
    validation: int
    """Training images that a trial is trained on, and those that it is validated on."""

    @property
    def half(self) -> int:
        """The epoch at which errors are first compared, which trials get to that are pruned as well.

        Not before half of them: a high rate, which one-cycle ends well with, looks bad in the beginning.
        """
        return math.ceil(self.epochs / 2)


class Storage:
    """The trials of a search as all its processes see them; one object a process and file."""

    def __init__(self, search: Search, fresh: bool = False) -> None:
        """
        Args:
            fresh: forget what is there.

        Raises:
            StudyError: the file is no such storage, or that of another search; or others search, and it is to be fresh.
        """
        self.search = search
        self.space = search_space.space(search.entry)
        self.locks = Locks(search.storage.with_name("search.lock"))
        with self.locks.held(WRITING):
            if fresh:
                self._forget()
            try:
                self.study = self._open()
            except (sqlalchemy.exc.SQLAlchemyError, OptunaError, RuntimeError) as error:
                raise StudyError(
                    f"{search.storage} cannot be read ({one_line(error)}); --fresh searches anew"
                ) from None

    def _forget(self) -> None:
        if not self.locks.is_free(TRIALS, 0):
            raise StudyError(f"{self.search.storage}: another process makes trials; end it before a --fresh search")
        for name in ("optuna.db", "optuna.db-journal", "search.json"):  # the journal is of a write that was cut off
            self.search.storage.with_name(name).unlink(missing_ok=True)

    def _open(self) -> optuna.Study:
        search = self.search
        study = optuna.create_study(
            storage=optuna.storages.RDBStorage(
                f"sqlite:///{search.storage.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
            ),
            study_name=search.entry.name,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=COMPARED, n_warmup_steps=search.half),
        )
        expected, found = json.loads(json.dumps(self.made_with())), study.user_attrs.get("made_with")
        if found is None:
            if not study.get_trials():
                params = search_space.nearest(search.entry, self.space)
                study.enqueue_trial(params, user_attrs={"own": True})
            study.set_user_attr("own_recipe", asdict(search.entry.recipe))
            study.set_user_attr("made_with", expected)
        elif _completed(found, expected) != expected:
            raise StudyError(
                f"{search.storage} is of another search: {_differences(expected, found)}; --fresh searches anew"
            )
        return study

    def made_with(self) -> dict[str, Any]:
        """What decides how a trial of given parameters ends: of the recipe, what is not searched.

        So the search goes on as well once its winner has been put into the catalogue. (No trial uses the recipe's
        validation and patience, nor has a winner any.)
        """
        entry = self.search.entry
        searched = {*search_space.values(entry.recipe, self.space), "validation", "patience"}
        return {
            "network": entry.network,
            "network_sha256": source_sha256(entry),
            "dataset": entry.dataset,
            "images": {"training": self.search.training, "validation": self.search.validation},
            "seed": SEED,
            "trial_epochs": self.search.epochs,
            "recipe": {name: value for name, value in asdict(entry.recipe).items() if name not in searched},
            "space": search_space.described(self.space),
        }

    def trials(self) -> list[FrozenTrial]:
        """All of them, by number."""
        return self.study.get_trials(deepcopy=False)

    def finished(self) -> int:
        return sum(trial.state in FINISHED for trial in self.trials())

    def recipe(self, trial: FrozenTrial | optuna.Trial) -> Recipe:
        """What a trial stands for, for all training images and the entry's number of epochs."""
        entry = self.search.entry
        if trial.user_attrs.get("own"):
            return replace(recorded(self.study.user_attrs["own_recipe"]), validation=0, patience=0)
        return search_space.recipe(entry, trial.params)

    def begin(self) -> optuna.Trial | None:
        """The next trial, its parameters chosen; None while those that run will suffice."""
        with self.locks.held(WRITING):
            self._repeat_dead()
            states = Counter(trial.state for trial in self.trials())
            if sum(states[state] for state in (*FINISHED, TrialState.RUNNING)) >= self.search.trials:
                return None
            self.study.sampler = _sampler(seed=len(self.trials()))
            trial = self.study.ask()
            self.locks.take(TRIALS + trial.number)
            search_space.suggest(trial, self.space)
        return trial

    def repeat_ended(self) -> None:
        """Put the trials in the queue again that were ended with their processes, on purpose."""
        with self.locks.held(WRITING):
            for trial in self._dead():
                self._repeat(trial, trial.user_attrs.get("deaths", 0))

    def _repeat_dead(self) -> None:
        """Those whose process has ended by itself too, unless that has happened to them too often."""
        for trial in self._dead():
            deaths = trial.user_attrs.get("deaths", 0)
            if deaths < REPEATS:
                self._repeat(trial, deaths + 1)
            else:
                self.study.tell(trial.number, state=TrialState.PRUNED)

    def _dead(self) -> list[FrozenTrial]:
        """Trials that run, but have no process."""
        running = [trial for trial in self.trials() if trial.state is TrialState.RUNNING]
        return [trial for trial in running if self.locks.is_free(TRIALS + trial.number)]

    def _repeat(self, trial: FrozenTrial, deaths: int) -> None:
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        own = {"own": True} if trial.user_attrs.get("own") else {}
        self.study.enqueue_trial(params, user_attrs={**own, "repeats": trial.number, "deaths": deaths})
        self.study.tell(trial.number, state=TrialState.FAIL)

    def report(self, trial: optuna.Trial, epoch: int, error: float) -> bool:
        """Store the validation error after `epoch`, from 1; whether the trial is to be pruned now.

        That of the entry's own recipe never is: what wins is to be compared with it.
        """
        with self.locks.held(WRITING):
            trial.report(error, epoch)
            return epoch < self.search.epochs and not trial.user_attrs.get("own") and trial.should_prune()

    def end(self, trial: optuna.Trial, error: float | None, reason: str | None) -> None:
        """Store that a trial is complete, with its error, or that it was given up for `reason`."""
        with self.locks.held(WRITING):
            if reason is None:
                self.study.tell(trial, error)
            else:
                trial.set_user_attr("reason", reason)
                self.study.tell(trial, state=TrialState.PRUNED)
        self.locks.release(TRIALS + trial.number)


def _sampler(seed: int) -> optuna.samplers.TPESampler:
    """A new one for each trial: one seed in a process that goes on later would draw its first trials once more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of `group`, for parameters that only some trials have
        return optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True, seed=seed
        )


def _completed(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """What a search was made with; a field of Recipe that came later is at its default."""
    defaults = {name: value for name, value in asdict(Recipe()).items() if name in expected["recipe"]}
    return {**found, "recipe": {**defaults, **found["recipe"]}}


def _differences(expected: dict[str, Any], found: dict[str, Any], prefix: str = "") -> str:
    """What differs between two records, key by key: "seed expected 0, found 1"."""
    told = []
    for name in sorted(expected | found):
        a, b = expected.get(name), found.get(name)
        if a != b and isinstance(a, dict) and isinstance(b, dict):
            told.append(_differences(a, b, f"{prefix}{name}."))
        elif a != b:
            told.append(f"{prefix}{name} expected {json.dumps(a)}, found {json.dumps(b)}")
    return "; ".join(told)
