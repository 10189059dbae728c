"""The hyper-parameters that `python -m train search` varies, and their ranges. Needs optuna."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import NODEFAULT, structs
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import nn

from study.entry import Entry
from study.networks import build
from study.recipe import Recipe
from study.records.base import Scalar
from study.records.training import SearchRange

Space: TypeAlias = dict[str, BaseDistribution]
"""The range of each parameter: a field of Recipe, or the learning rate under some of the optimisers."""

RATES = {"sgd": "learning_rate_sgd", "adamw": "learning_rate_adam", "nadam": "learning_rate_adam"}
"""The name of each optimiser's learning rate; a trial has one of them."""


def space(entry: Entry) -> Space:
    """The parameters that affect the entry's network and schedule; the recipe sets all others."""
    everything: Space = {
        "optimiser": CategoricalDistribution(tuple(RATES)),
        "learning_rate_sgd": FloatDistribution(0.01, 0.3, log=True),
        "learning_rate_adam": FloatDistribution(3e-4, 1e-2, log=True),
        "batch_size": CategoricalDistribution((64, 128, 256)),
        "warmup": FloatDistribution(0.05, 0.5),
        "l2": FloatDistribution(1e-6, 1e-2, log=True),
        "label_smoothing": FloatDistribution(0.0, 0.15),
        "dropout": FloatDistribution(0.0, 0.5),
        "shift": IntDistribution(0, 2),
        "flip": CategoricalDistribution((True, False)),
        "rotation": FloatDistribution(0.0, 15.0),
        "erasing": FloatDistribution(0.0, 0.5),
    }
    without = set()
    if not dropout_rates(entry):
        without.add("dropout")
    if entry.recipe.schedule == "constant":
        without.add("warmup")
    return {name: range_ for name, range_ in everything.items() if name not in without}


def dropout_rates(entry: Entry) -> list[float]:
    """The network's own rates of its dropout layers."""
    return [module.p for module in build(entry).modules() if isinstance(module, nn.Dropout)]


def described(range_: BaseDistribution) -> SearchRange:
    """A range as search.json has it."""
    if isinstance(range_, CategoricalDistribution):
        return SearchRange(choices=range_.choices)
    assert isinstance(range_, FloatDistribution | IntDistribution)
    return SearchRange(low=range_.low, high=range_.high, log=range_.log)


def suggest(trial: Trial, space: Space) -> None:
    """Draw the parameters of `trial`: the optimiser first, then its learning rate, then the others."""
    for name, range_ in space.items():
        if name in RATES.values() and name != RATES[trial.params["optimiser"]]:
            continue
        match range_:
            case CategoricalDistribution():
                trial.suggest_categorical(name, range_.choices)
            case FloatDistribution():
                trial.suggest_float(name, range_.low, range_.high, log=range_.log)
            case IntDistribution():
                trial.suggest_int(name, range_.low, range_.high)


def recipe(entry: Entry, params: Mapping[str, Scalar]) -> Recipe:
    """The entry's recipe with a trial's parameters, floats to three digits, for all training images."""
    values: dict[str, Scalar] = {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in params.items()
    }
    rates = [values.pop(name) for name in set(RATES.values()) if name in values]
    return structs.replace(entry.recipe, learning_rate=rates[0], validation=0, patience=0, **values)


def nearest(entry: Entry, space: Space) -> dict[str, Scalar]:
    """The parameters in `space` nearest to the entry's own recipe, which may lie outside."""
    values: dict[str, Any] = {name: getattr(entry.recipe, name, None) for name in space}
    optimiser = values["optimiser"] = entry.recipe.optimiser if entry.recipe.optimiser in RATES else "adamw"
    values |= dict.fromkeys(RATES.values(), entry.recipe.learning_rate)
    if values.get("dropout", 0) is None:
        rates = dropout_rates(entry)
        values["dropout"] = sum(rates) / len(rates)
    nearest: dict[str, Scalar] = {}
    for name, range_ in space.items():
        value = values[name]
        match range_:
            case CategoricalDistribution() if value not in range_.choices:
                nearest[name] = min(range_.choices, key=lambda choice: abs(math.log(choice / value)))  # of batch sizes
            case FloatDistribution() | IntDistribution():
                nearest[name] = min(max(value, range_.low), range_.high)
            case _:
                nearest[name] = value
    return {name: value for name, value in nearest.items() if name not in RATES.values() or name == RATES[optimiser]}


def values(recipe: Recipe, space: Space) -> dict[str, Scalar]:
    """The fields of `recipe` that are searched."""
    names = dict.fromkeys("learning_rate" if name in RATES.values() else name for name in space)
    return {name: getattr(recipe, name) for name in names}


def in_short(values: Mapping[str, Scalar]) -> str:
    """Searched fields in one line."""
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def line(recipe: Recipe) -> str:
    """The recipe as the catalogue writes it: Recipe(...) with the fields that differ from their defaults."""
    default = {field.name: field.default for field in structs.fields(Recipe) if field.default is not NODEFAULT}
    differing = [f"{name}={getattr(recipe, name)!r}" for name in default if getattr(recipe, name) != default[name]]
    return f"Recipe({', '.join(differing)})"
