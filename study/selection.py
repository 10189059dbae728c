"""The options of train, export and bench that select models."""

import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from study import catalogue
from study.artifacts import Artifacts
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError
from study.modules.exported import exported_entries


def add_options(add: Callable[..., Any]) -> None:
    """Add --study, --dataset and --catalogue with `add`, the method of an argument parser or of pytest."""
    add(
        "--study",
        default=catalogue.DEFAULT_STUDY,
        metavar="NAME",
        help=f"the models if none is named: {', '.join(catalogue.STUDIES)} (default: {catalogue.DEFAULT_STUDY})",
    )
    add("--dataset", default="", metavar="NAME", help=f"the same models for one of {', '.join(datasets.DATASETS)}")
    add(
        "--catalogue",
        type=Path,
        metavar="FILE",
        help="a Python file with your own ENTRIES, which are meant if none is named",
    )


def known(options: Namespace) -> tuple[Entry, ...]:
    """The catalogue, with the entries of --catalogue."""
    return catalogue.extended(options.catalogue) if options.catalogue else catalogue.ENTRIES


def own_names(everything: Sequence[Entry]) -> list[str]:
    """The models of a catalogue that are not this project's."""
    return [entry.name for entry in everything if entry not in catalogue.ENTRIES]


def selected(options: Namespace, names: Sequence[str]) -> list[Entry]:
    """The entries that `names` and the options select; without either, those of --catalogue, or of the study.

    Those that are not in the catalogue may be modules that have been exported.

    Raises:
        StudyError: there is no such model, study, data set or file.
    """
    everything = known(options)
    taken = {entry.name for entry in everything}
    if options.catalogue and not names and options.study == catalogue.DEFAULT_STUDY:
        names = own_names(everything)
    if not taken.issuperset(names):
        everything += exported_entries(Artifacts(options.artifacts), taken)
    if options.dataset:
        datasets.find(options.dataset)
    entries = catalogue.select(names, options.study, options.dataset, everything)
    for entry in entries:
        datasets.find(entry.dataset)
    return entries


def to_train(options: Namespace, names: Sequence[str]) -> list[Entry]:
    """The same, of which none may be a module.

    Raises:
        StudyError: as `selected`, or one is a module.
    """
    entries = selected(options, names)
    if module := next((entry.name for entry in entries if entry.is_module), None):
        words = ["python", "-m", "export", module, *(["--catalogue", str(file)] if (file := options.catalogue) else [])]
        raise StudyError(f"{module} is a torch module, which is not trained here; run `{shlex.join(words)}`")
    return entries
