"""search.json: the results of a search so far."""

import warnings
from typing import Any

import optuna
from msgspec import structs
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from study.environment import environment
from train.search import space as search_space
from train.search.storage import FINISHED, REPEATS, SEED, Storage

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
BEST_SHARE = 0.25
"""Importance is what distinguishes this share of the trials, the best ones, from all of them."""
SUFFICIENT = 20
"""With this many trials that share is five; Optuna's documentation advises against the evaluator with fewer."""


def record(storage: Storage, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The content of search.json: the trials that have ended, the best one, and the importance of the parameters."""
    search, made_with = storage.search, storage.made_with()
    trials = storage.trials()
    chosen = best(trials)
    machine = environment()
    return {
        "schema": "search/1",
        "model": search.entry.name,
        **{name: made_with[name] for name in ("network", "network_sha256", "dataset", "images", "trial_epochs")},
        "trial_seed": SEED,
        "space": made_with["space"],
        "finished": sum(trial.state in FINISHED for trial in trials),
        "trials": [_trial(storage, trial) for trial in trials if trial.state in STATES],
        "best": None
        if chosen is None
        else {
            "number": chosen.number,
            "validation_error": chosen.value,
            "recipe": structs.asdict(storage.recipe(chosen)),
        },
        "importance": importance(trials, search.half),
        "seeds": list(seeds),
        "environment": {**machine, "packages": {**machine["packages"], "optuna": optuna.__version__}},
    }


def best(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial of the lowest validation error, the first such; None before there is one."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(complete, key=lambda trial: (trial.value, trial.number), default=None)


def _trial(storage: Storage, trial: FrozenTrial) -> dict[str, Any]:
    errors = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
    duration = trial.duration
    # all but one of the two learning rates; a killed search may have left a trial with fewer
    known = trial.user_attrs.get("own") or len(trial.params) == len(storage.space) - 1
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "own": trial.user_attrs.get("own", False),
        "repeats": trial.user_attrs.get("repeats"),
        "values": search_space.values(storage.recipe(trial), storage.space) if known else {},
        "validation_error": errors[-1] if trial.state is TrialState.COMPLETE else None,
        "epochs": len(errors),
        "validation_errors": errors,
        "seconds": duration.total_seconds() if duration else None,
        "reason": trial.user_attrs.get("reason") or _death(trial),
    }


def _death(trial: FrozenTrial) -> str | None:
    """Why a trial whose process reported no reason was not completed."""
    if trial.state is TrialState.FAIL:
        return "its process ended"
    given_up = trial.state is TrialState.PRUNED
    return f"its process ended, as did {REPEATS} before it" if given_up else None


def importance(trials: list[FrozenTrial], epoch: int) -> dict[str, Any] | None:
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
    return {
        "evaluator": "PED-ANOVA",
        "best_share": BEST_SHARE,
        "epoch": epoch,
        "trials": len(reached),
        "shares": shares,
    }
