"""The options that training and search share."""

import argparse
import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from study import catalogue
from study.artifacts import DEFAULT_ROOT
from study.cores import allotted_cores
from study.errors import StudyError
from study.records.training import Device
from study.remote.cluster import Place
from study.remote.options import add_engine, on_ray
from train import devices, engine
from train.engine import Engine


@dataclass(frozen=True)
class Settings:
    """How runs are made, and where."""

    data: Path | None
    """The user's folder with the data sets' files, if any."""
    workers: int
    """At most this many runs at a time."""
    fresh: bool
    """Train finished and unfinished runs from the start."""
    device: Device
    engine: Engine
    place: Place | None = None
    """Where Ray's tasks run; None: they are processes of this machine."""


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
        metavar="N",
        help=f"runs at a time (default: all {allotted_cores()} cores, or all of the cluster of --ray-address)",
    )
    add_engine(parser, "runs")
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
        StudyError: there is no such device here, or the options of the engine do not fit together.
    """
    again = options.fresh if fresh is None else fresh
    ray, address = on_ray(options), options.ray_address
    workers = options.workers or (sys.maxsize if address else allotted_cores())
    if address and options.device != "cpu":  # of the cluster's machines, not of this one
        if options.device == "auto":
            raise StudyError("--device auto: expected cpu or cuda with --ray-address, since each machine may differ")
        device: Device = "cuda"
    else:
        device = devices.chosen(options.device)
    if not ray:
        return Settings(options.data, workers, again, device, engine.run)
    from train import ray_engine

    place = Place(address, workers, device == "cuda")
    return Settings(options.data, workers, again, device, partial(ray_engine.run, place=place), place)


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
