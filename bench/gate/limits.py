"""The limits of the gate: by how much each metric may grow."""

import argparse
from typing import get_args

from bench.shares import share
from study.records.gate import Metric

METRICS: tuple[Metric, ...] = get_args(Metric)
LIMITS: dict[Metric, float] = {"median": 0.05, "p99": 0.20, "cold-start": 0.20, "memory": 0.10, "size": 0.05}
"""Five processes whose medians vary by 0.66 to 1.25 % can show that a median is within 5 % (`python -m
bench.experiments gate`); tails, cold starts and memory vary by several times as much."""


def add_limits(parser: argparse.ArgumentParser) -> None:
    """The option --fail-above."""
    parser.add_argument(
        "--fail-above",
        metavar="5%",
        type=limits,
        default=LIMITS,
        help="largest growth that passes, such as 5%% or 0.05, of the median and the size; that of p99 and cold-start "
        "is 20%%, of memory 10%%, or this if it is larger, unless named as in 5%%,p99=30%% (default: 5%%)",
    )


def limits(text: str) -> dict[Metric, float]:
    """The limit of each metric, of a text such as "3%,p99=30%"."""
    found = dict(LIMITS)
    for n, word in enumerate(text.split(",")):
        name, equals, number = word.rpartition("=")
        metric = next((it for it in METRICS if it == name.strip()), None)
        if metric:
            found[metric] = share(number)
        elif equals or n:
            raise argparse.ArgumentTypeError(f"expected a limit such as 5% or p99=30% of {METRICS}, found {word!r}")
        else:
            all_of_them = share(number)
            found = {it: max(all_of_them, LIMITS[it]) for it in METRICS} | {"median": all_of_them, "size": all_of_them}
    return found
