"""Which models are meant: the options that train, export and bench have in common."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from study import catalogue
from study.catalogue import Entry
from study.data import datasets


def add_options(add: Callable[..., Any]) -> None:
    """Add --study, --dataset and --catalogue by `add`, an argument parser's or pytest's method."""
    add(
        "--study",
        default=catalogue.DEFAULT_STUDY,
        metavar="NAME",
        help=f"without models: which set of them, {', '.join(catalogue.STUDIES)} (default: {catalogue.DEFAULT_STUDY})",
    )
    add("--dataset", default="", metavar="NAME", help=f"the same models for one of {', '.join(datasets.DATASETS)}")
    add("--catalogue", type=Path, metavar="FILE", help="a Python file with ENTRIES of your own")


def selected(options: Namespace, names: Sequence[str]) -> list[Entry]:
    """The entries that `names` and the options mean.

    Raises:
        StudyError: there is no such model, study, data set or file.
    """
    if options.catalogue:
        catalogue.extend(options.catalogue)
    if options.dataset:
        datasets.find(options.dataset)
    entries = catalogue.select(names, options.study, options.dataset)
    for entry in entries:
        datasets.find(entry.dataset)
    return entries
