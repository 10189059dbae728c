"""The options that training and search share."""

import argparse
from pathlib import Path

from study import catalogue
from study.artifacts import DEFAULT_ROOT
from study.cores import cores


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --seeds, --workers, --data, --artifacts and --fresh."""
    add = parser.add_argument
    add(
        "--seeds",
        type=seeds,
        default=catalogue.DEFAULT_SEEDS,
        metavar="0,1,2",
        help="one run a seed (default: 0,1,2)",
    )
    add(
        "--workers",
        type=positive,
        default=cores(),
        metavar="N",
        help="parallel processes (default: all %(default)s cores)",
    )
    add("--data", type=Path, metavar="DIR", help="folder with the files of the data sets (or STUDY_DATA)")
    add("--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="output folder (default: %(default)s)")
    add("--fresh", action="store_true", help="repeat finished and unfinished runs from the start")


def seeds(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise argparse.ArgumentTypeError(f"expected numbers from 0 with commas between them, found {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text!r}")
    return int(text)
