"""The options of train, export and bench that select models."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from study import catalogue
from study.data import datasets
from study.entry import Entry


def add_options(add: Callable[..., Any]) -> None:
    """Add --study, --dataset and --catalogue with `add`, the method of an argument parser or of pytest."""
    add(
        "--study",
        default=catalogue.DEFAULT_STUDY,
        metavar="NAME",
        help=f"the models if none is named: {', '.join(catalogue.STUDIES)} (default: {catalogue.DEFAULT_STUDY})",
    )
    add("--dataset", default="", metavar="NAME", help=f"the same models for one of {', '.join(datasets.DATASETS)}")
    add("--catalogue", type=Path, metavar="FILE", help="a Python file with your own ENTRIES")


def known(options: Namespace) -> tuple[Entry, ...]:
    """The catalogue, with the entries of --catalogue."""
    return catalogue.extended(options.catalogue) if options.catalogue else catalogue.ENTRIES


def selected(options: Namespace, names: Sequence[str]) -> list[Entry]:
    """The entries that `names` and the options select.

    Raises:
        StudyError: there is no such model, study, data set or file.
    """
    everything = known(options)
    if options.dataset:
        datasets.find(options.dataset)
    entries = catalogue.select(names, options.study, options.dataset, everything)
    for entry in entries:
        datasets.find(entry.dataset)
    return entries
