"""The output of `python -m train --list`: every model with its data set, network, parameters and recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from study.catalogue import DEFAULT_STUDY, STUDIES
from study.entry import Entry
from study.recipe import Recipe

ALWAYS = ("epochs", "batch_size", "optimiser", "learning_rate", "schedule")
"""Fields that are always shown; of the others, those that differ from the study's recipe."""
WORDS = {"l1": "L1", "l2": "L2", "bfloat16": "bfloat16", "weight_decay": "weight decay"}
PACKAGE = "study.networks."
"""Prefix of a network's path that is not shown."""


def lines(catalogue: Sequence[Entry]) -> list[str]:
    """A table of the catalogue, then one line a study."""
    from study.networks import build, parameters

    rows = [("model", "data set", "network", "parameters", "recipe")]
    for entry in catalogue:
        network = entry.network.removeprefix(PACKAGE)
        if entry.is_module:
            rows.append((entry.name, "none", Path(network).name, "", f"not trained here, {' '.join(entry.inputs)}"))
            continue
        rows.append((entry.name, entry.dataset, network, f"{parameters(build(entry)):,}", in_words(entry.recipe)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    table = [
        f"{name:{widths[0]}}  {dataset:{widths[1]}}  {network:{widths[2]}}  {count:>{widths[3]}}  {recipe}"
        for name, dataset, network, count, recipe in rows
    ]
    for name, models in STUDIES.items():
        default = " (default)" if name == DEFAULT_STUDY else ""
        table.append(f"study {name}{default}: {', '.join(models)}")
    return table


def in_words(recipe: Recipe) -> str:
    """The recipe in one line: epochs, batches and learning rate, then all that differs from the study's own recipe."""
    shown = [f"{recipe.epochs} epochs", f"batch {recipe.batch_size}"]
    shown.append(f"{recipe.optimiser} {recipe.learning_rate:g} {recipe.schedule}")
    still = not (recipe.shift or recipe.rotation or recipe.erasing)  # then `unshifted` has no effect
    hidden = {*ALWAYS, "l1_update", *(["unshifted"] if still else [])}
    for field in structs.fields(Recipe):
        value = getattr(recipe, field.name)
        if field.name in hidden or value == field.default:
            continue
        shown.append(_differs(WORDS.get(field.name, field.name.replace("_", " ")), value))
    if recipe.l1 and recipe.l1_update == "subgradient":
        shown.append("by subgradient")
    return ", ".join(shown)


def _differs(name: str, value: Any) -> str:
    if value is True:
        return name
    if isinstance(value, str):
        return f"{name} {value}"
    return f"{name} {value:g}" if value else f"no {name}"
