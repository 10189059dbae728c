"""The stored trials of a search: Optuna's SQLite storage, owned by one process at a time (see `alone`).

Only the process that searches reads and writes it; the processes of the trials send it their results. So a trial that
is running in the storage, but not in this process, has lost its process and is repeated.
"""

import json
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy
from msgspec import convert, structs
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.trial import FrozenTrial, TrialState

from study import locks
from study.entry import Entry
from study.errors import StudyError, one_line
from study.networks import source_sha256
from study.recipe import Recipe, recorded
from study.record_files import as_json
from study.records.base import Record, Scalar
from study.records.training import Device, ImageCounts, SearchRange
from train.search import space as search_space

SEED = 0
"""Seed of every trial: trials differ in their hyper-parameters alone."""
STARTUP = 10
"""Trials drawn at random before the sampler learns from their results."""
COMPARED = 5
"""Complete trials before any is pruned."""
REPEATS = 2
"""Number of times that a trial whose process was killed is repeated; then it counts as pruned."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Search:
    """What is searched, and how."""

    entry: Entry
    data: Path
    storage: Path
    """The SQLite file."""
    epochs: int
    """Of a trial."""
    trials: int
    """Number of trials to finish: complete or pruned."""
    training: int
    validation: int
    """Number of training images that a trial is trained on, and that it is validated on."""
    device: Device = "cpu"

    @property
    def half(self) -> int:
        """The first epoch after which trials are compared and pruned.

        Not before half of them: with one-cycle, a high learning rate that ends well looks bad at first.
        """
        return math.ceil(self.epochs / 2)


class MadeWith(Record):
    """All that determines the result of a trial, apart from its parameters.

    It excludes the searched fields of the recipe, so the search can continue after its winner has been put into the
    catalogue, and the fields that neither a trial nor the winner uses.
    """

    network: str
    network_sha256: str
    dataset: str
    images: ImageCounts
    seed: int
    trial_epochs: int
    recipe: dict[str, Scalar]
    space: dict[str, SearchRange]
    device: Device = "cpu"


@contextmanager
def alone(search: Path, fresh: bool) -> Iterator[None]:
    """Search in the folder of `search` alone, after any process that already does; however one ends, it is released.

    Raises:
        StudyError: another process searches there, and this one is to start afresh.
    """

    def say(holder: str) -> None:
        if fresh:
            raise StudyError(f"{search.parent}: {holder} searches; end it before a --fresh search")
        print(f"{holder} searches the same model: waiting for it", flush=True)

    with locks.held(locks.of_folder(search.parent), say):
        yield


class Storage:
    """The trials of a search.

    Args:
        fresh: delete earlier trials.

    Raises:
        StudyError: the file is no such storage, or that of another search.
    """

    def __init__(self, search: Search, fresh: bool = False) -> None:
        self.search = search
        self.space = search_space.space(search.entry)
        self.running: dict[int, optuna.Trial] = {}
        if fresh:
            for name in ("optuna.db", "optuna.db-journal", "search.json"):  # the journal of an interrupted write
                search.storage.with_name(name).unlink(missing_ok=True)
        try:
            self.study = self._open()
        except (sqlalchemy.exc.SQLAlchemyError, OptunaError, RuntimeError) as error:
            raise StudyError(
                f"{search.storage} cannot be read ({one_line(error)}); --fresh starts a new search"
            ) from None

    def _open(self) -> optuna.Study:
        search = self.search
        search.storage.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=f"sqlite:///{search.storage.resolve()}",
            study_name=search.entry.name,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=COMPARED, n_warmup_steps=search.half),
        )
        expected, stored = self.made_with(), study.user_attrs.get("made_with")
        if stored is None:
            if not study.get_trials():
                params = search_space.nearest(search.entry, self.space)
                study.enqueue_trial(params, user_attrs={"own": True})
            study.set_user_attr("own_recipe", structs.asdict(search.entry.recipe))
            study.set_user_attr("made_with", as_json(expected))
        elif differences := _differences(as_json(expected), as_json(_completed(stored, expected))):
            raise StudyError(f"{search.storage} is of another search: {differences}; --fresh starts a new search")
        return study

    def made_with(self) -> MadeWith:
        entry = self.search.entry
        searched = {*search_space.values(entry.recipe, self.space), "validation", "patience"}
        return MadeWith(
            network=entry.network,
            network_sha256=source_sha256(entry),
            dataset=entry.dataset,
            images=ImageCounts(training=self.search.training, validation=self.search.validation),
            seed=SEED,
            trial_epochs=self.search.epochs,
            recipe={name: value for name, value in structs.asdict(entry.recipe).items() if name not in searched},
            space={name: search_space.described(range_) for name, range_ in self.space.items()},
            device=self.search.device,
        )

    def trials(self) -> list[FrozenTrial]:
        """All of them, by number."""
        return self.study.get_trials(deepcopy=False)

    def finished(self) -> int:
        return sum(trial.state in FINISHED for trial in self.trials())

    def recipe(self, trial: FrozenTrial | optuna.Trial) -> Recipe:
        """The recipe of a trial, for all training images and the entry's number of epochs."""
        if trial.user_attrs.get("own"):
            return structs.replace(recorded(self.study.user_attrs["own_recipe"]), validation=0, patience=0)
        return search_space.recipe(self.search.entry, trial.params)

    def begin(self) -> optuna.Trial | None:
        """The next trial, with its parameters; None if those finished and running suffice."""
        states = Counter(trial.state for trial in self.trials())
        if sum(states[state] for state in (*FINISHED, TrialState.RUNNING)) >= self.search.trials:
            return None
        self.study.sampler = _sampler(self._seed())
        trial = self.study.ask()
        search_space.suggest(trial, self.space)
        self.running[trial.number] = trial
        return trial

    def _seed(self) -> int:
        """That of the next trial: its number if none had been repeated, so that a killed search tries the same."""
        trials = self.trials()
        number = next((trial.number for trial in trials if trial.state is TrialState.WAITING), len(trials))
        while number < len(trials) and (repeated := trials[number].user_attrs.get("repeats")) is not None:
            number = repeated
        return sum("repeats" not in trial.user_attrs for trial in trials[:number])

    def report(self, number: int, epoch: int, error: float) -> bool:
        """Store the validation error after `epoch`, from 1; return whether the trial is to be pruned.

        The entry's own recipe is never pruned: the winner is compared with it.
        """
        trial = self.running[number]
        trial.report(error, epoch)
        return epoch < self.search.epochs and not trial.user_attrs.get("own") and trial.should_prune()

    def end(self, number: int, error: float | None, reason: str | None) -> None:
        """Store that a trial is complete, with its error, or pruned for `reason`."""
        trial = self.running.pop(number)
        if reason is None:
            self.study.tell(trial, error)
        else:
            trial.set_user_attr("reason", reason)
            self.study.tell(trial, state=TrialState.PRUNED)

    def repeat_running(self, killed: bool) -> None:
        """Repeat the trials that have not ended, although their processes have."""
        for trial in self.trials():
            if trial.state is TrialState.RUNNING:
                self.repeat(trial.number, killed)

    def repeat(self, number: int, killed: bool) -> None:
        """Put a trial back into the queue; give it up if its processes have been `killed` too often."""
        self.running.pop(number, None)
        trial = self.trials()[number]
        deaths = trial.user_attrs.get("deaths", 0)
        if killed and deaths >= REPEATS:
            self.study.tell(number, state=TrialState.PRUNED)
            return
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        own = {"own": True} if trial.user_attrs.get("own") else {}
        if not own and len(params) < len(self.space) - 1:
            params = {}  # killed while they were drawn: they are drawn again, by the same seed
        if not any(other.user_attrs.get("repeats") == number for other in self.trials()):  # of a command killed here
            self.study.enqueue_trial(params, user_attrs={**own, "repeats": number, "deaths": deaths + killed})
        self.study.tell(number, state=TrialState.FAIL)


def _sampler(seed: int) -> optuna.samplers.TPESampler:
    """A new sampler for each trial: a resumed search with the same seed would repeat its first draws."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of `group`, for parameters that only some trials have
        return optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True, seed=seed
        )


def _completed(stored: object, expected: MadeWith) -> MadeWith:
    """A stored `made_with`, with the defaults of fields that Recipe has gained since."""
    older = convert(stored, MadeWith)
    defaults = {name: value for name, value in structs.asdict(Recipe()).items() if name in expected.recipe}
    return structs.replace(older, recipe={**defaults, **older.recipe})


def _differences(expected: dict[str, object], stored: dict[str, object], prefix: str = "") -> str:
    """The keys whose values differ: "seed expected 0, found 1"."""
    differing = []
    for name in sorted(expected | stored):
        a, b = expected.get(name), stored.get(name)
        if a != b and isinstance(a, dict) and isinstance(b, dict):
            differing.append(_differences(a, b, f"{prefix}{name}."))
        elif a != b:
            differing.append(f"{prefix}{name} expected {json.dumps(a)}, found {json.dumps(b)}")
    return "; ".join(differing)
