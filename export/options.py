"""The arguments that the commands of export share: which models, and where the files are."""

from argparse import ArgumentParser
from pathlib import Path

from study.artifacts import DEFAULT_ROOT
from study.selection import add_options


def add_arguments(parser: ArgumentParser) -> None:
    """Add the models, the options that select them, --data and --artifacts."""
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="names from the catalogue (default: the study)")
    add_options(add)
    add("--data", type=Path, metavar="DIR", help="folder with the data sets' files (or STUDY_DATA)")
    add("--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="results (default: %(default)s)")
