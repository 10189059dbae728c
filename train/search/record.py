"""search.json: the results of a search so far."""

import warnings
from pathlib import Path
from typing import Literal

import optuna
from msgspec import structs
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from study.environment import environment
from study.errors import StudyError
from study.networks import source_sha256
from study.record_files import read_record
from study.records.training import BestTrial, ImageCounts, Importance, SearchRecord, TrialRecord
from train.search import space as search_space
from train.search.storage import FINISHED, REPEATS, SEED, Storage

STATES: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
BEST_SHARE = 0.25
"""Importance is what distinguishes this share of the trials, the best ones, from all of them."""
SUFFICIENT = 20
"""With this many trials that share is five; Optuna's documentation advises against the evaluator with fewer."""


def record(storage: Storage, seeds: tuple[int, ...]) -> SearchRecord:
    """The content of search.json: the trials that have ended, the best one, and the importance of the parameters."""
    search, trials = storage.search, storage.trials()
    winner = best(trials)
    machine = environment()
    return SearchRecord(
        model=search.entry.name,
        network=search.entry.network,
        network_sha256=source_sha256(search.entry),
        dataset=search.entry.dataset,
        images=ImageCounts(training=search.training, validation=search.validation),
        trial_epochs=search.epochs,
        device=search.device,
        trial_seed=SEED,
        space={name: search_space.described(range_) for name, range_ in storage.space.items()},
        finished=sum(trial.state in FINISHED for trial in trials),
        trials=tuple(_trial(storage, trial) for trial in trials if trial.state in STATES),
        best=_best(storage, winner) if winner else None,
        importance=importance(trials, search.half),
        seeds=seeds,
        environment=structs.replace(machine, packages={**machine.packages, "optuna": optuna.__version__}),
    )


def refuse_lost_trials(storage: Storage, path: Path) -> None:
    """
    Raises:
        StudyError: the storage lacks trials that search.json has, at `path`, or has others in their place.
    """
    stored = {trial.number: _trial(storage, trial) for trial in storage.trials() if trial.state in STATES}
    recorded = read_record(path, SearchRecord, "delete it").trials
    if lost := [trial.number for trial in recorded if stored.get(trial.number) != trial]:
        raise StudyError(
            f"{storage.search.storage}: expected the {len(recorded)} trials of {path.name}, found {len(lost)} of them "
            f"missing or changed (the first is {lost[0]}); put the file of that search back, or search with --fresh"
        )


def best(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial of the lowest validation error, the first such; None before there is one."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(complete, key=lambda trial: (trial.value, trial.number), default=None)


def _best(storage: Storage, trial: FrozenTrial) -> BestTrial:
    assert trial.value is not None
    return BestTrial(number=trial.number, validation_error=trial.value, recipe=storage.recipe(trial))


def _trial(storage: Storage, trial: FrozenTrial) -> TrialRecord:
    errors = tuple(trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values))
    complete = trial.state is TrialState.COMPLETE
    # all but one of the two learning rates; a killed search may have left a trial with fewer
    known = trial.user_attrs.get("own") or len(trial.params) == len(storage.space) - 1
    return TrialRecord(
        number=trial.number,
        state=STATES[trial.state],
        own=trial.user_attrs.get("own", False),
        repeats=trial.user_attrs.get("repeats"),
        values=search_space.values(storage.recipe(trial), storage.space) if known else {},
        validation_error=errors[-1] if complete else None,
        epochs=len(errors),
        validation_errors=errors,
        seconds=trial.duration.total_seconds() if trial.duration else None,
        reason=None if complete else trial.user_attrs.get("reason") or _death(trial),
    )


def _death(trial: FrozenTrial) -> str:
    """Why a trial whose process reported no reason was not completed."""
    if trial.state is TrialState.FAIL:
        return "its process ended"
    return f"its process ended, as did {REPEATS} before it"


def importance(trials: list[FrozenTrial], epoch: int) -> Importance | None:
    """Each parameter's share in what distinguishes the best finished trials; None if there are too few trials.

    Trials are compared by their validation error after `epoch`, which most pruned ones reached. PED-ANOVA (Watanabe et
    al. 2023, arXiv 2304.10255) compares the densities of a parameter's values among the best trials and among all. It
    needs no scikit-learn and handles parameters that only some trials have.
    """
    reached = [trial for trial in trials if trial.state in FINISHED and epoch in trial.intermediate_values]
    if len(reached) < SUFFICIENT:
        return None
    study = optuna.create_study()
    for trial in reached:
        value = trial.intermediate_values[epoch]
        study.add_trial(optuna.create_trial(params=trial.params, distributions=trial.distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE))
    return Importance(
        evaluator="PED-ANOVA",
        best_share=BEST_SHARE,
        epoch=epoch,
        trials=len(reached),
        shares=shares,
    )
