"""The options that training and search share."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from study import catalogue
from study.artifacts import DEFAULT_ROOT
from study.cores import allotted_cores
from study.records.training import Device
from train import devices, engine
from train.engine import Engine


@dataclass(frozen=True)
class Settings:
    """How runs are made, and where."""

    data: Path | None
    """The user's folder with the data sets' files, if any."""
    workers: int
    """Runs at a time."""
    fresh: bool
    """Train finished and unfinished runs from the start."""
    device: Device
    engine: Engine


@dataclass(frozen=True)
class Shard:
    """Every `count`-th run of a list, from number `index` on; from 1."""

    index: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --seeds, --workers, --engine, --device, --data, --artifacts and --fresh."""
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
        default=allotted_cores(),
        metavar="N",
        help="parallel processes (default: all %(default)s cores)",
    )
    add("--engine", choices=["local"], default="local", help="where the runs are made (default: local)")
    add(
        "--device",
        choices=devices.CHOICES,
        default="cpu",
        help="auto: the GPU, shared by several runs, if there is one (default: cpu, which gives the same bytes again)",
    )
    add("--data", type=Path, metavar="DIR", help="folder with the files of the data sets (or STUDY_DATA)")
    add("--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="output folder (default: %(default)s)")
    add("--fresh", action="store_true", help="repeat finished and unfinished runs from the start")


def settings(options: argparse.Namespace, fresh: bool | None = None) -> Settings:
    """What the options say; `fresh` instead of --fresh.

    Raises:
        StudyError: there is no such device here.
    """
    again = options.fresh if fresh is None else fresh
    return Settings(options.data, options.workers, again, devices.chosen(options.device), engine.run)


def shard(text: str) -> Shard:
    words = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not words or not 1 <= int(words[1]) <= int(words[2]):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 1/4, found {text!r}")
    return Shard(int(words[1]), int(words[2]))


def seeds(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise argparse.ArgumentTypeError(f"expected numbers from 0 with commas between them, found {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text!r}")
    return int(text)
