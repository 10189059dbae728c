"""A recipe has the values that a training can have."""

import math
from typing import Any

import msgspec
import pytest

from study.recipe import Recipe, recorded

WRONG: dict[str, dict[str, Any]] = {
    "optimiser: expected one of sgd, adam, adamw, nadam, found 'lion'": {"optimiser": "lion"},
    "schedule: expected one of one-cycle, constant": {"schedule": "cosine"},
    "l1_update: expected one of proximal, subgradient": {"l1_update": "x"},
    "initialisation: expected one of own, he": {"initialisation": "x"},
    "epochs: expected a whole number from 1, found 0": {"epochs": 0},
    "batch_size: expected a whole number from 1, found 128.0": {"batch_size": 128.0},
    "flip: expected True or False, found 1": {"flip": 1},
    "shift: expected a whole number from 0, found -1": {"shift": -1},
    "learning_rate: expected a number above 0": {"learning_rate": 0.0},
    "l2: expected a number from 0, found nan": {"l2": math.nan},
    "rotation: expected a number from 0": {"rotation": -5},
    "erasing: expected a number from 0 to 1": {"erasing": 1.5},
    "dropout: expected None or a rate from 0 to below 1": {"dropout": 1.0},
    "rubbish: expected None or a number": {"rubbish": "1"},
    "patience: expected 0 without validation images, found 3": {"patience": 3},
}


def test_a_value_that_no_training_can_have_is_refused() -> None:
    for message, value in WRONG.items():
        with pytest.raises(ValueError, match=message):
            Recipe(**value)


def test_a_recorded_recipe_has_defaults_for_missing_fields_and_no_unknown_ones() -> None:
    extreme = Recipe(
        shift=0, warmup=0, momentum=1, rubbish=-2, dropout=0, erasing=1, rotation=500, l1=5, l2=7, patience=0
    )
    assert recorded(msgspec.json.decode(msgspec.json.encode(extreme))) == extreme
    assert recorded({"l1": 0.5}) == Recipe(l1=0.5)
    with pytest.raises(ValueError, match="unknown field `cut`"):
        recorded({"cut": 1})
