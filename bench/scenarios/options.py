"""The options of the scenarios: `--scenario`, `--streams`, `--bound` and `--rate`."""

import math
import re
from argparse import Namespace
from collections.abc import Callable, Collection, Sequence
from typing import Any

from bench.cases import Case
from bench.scenarios.common import oversubscribed
from bench.scenarios.server import Goal
from bench.scenarios.tasks import LoadTask
from study.errors import StudyError

SCENARIOS = ("latency", "offline", "server")
UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(us|µs|ms|s)")


def add_scenario_options(add: Callable[..., Any]) -> None:
    """Add the options with `add`, the method of pytest or of an argument parser."""
    add(
        "--scenario",
        default="latency",
        metavar="|".join(SCENARIOS),
        help="latency: one call at a time (default); offline: throughput; server: latency of queries that arrive at "
        "random, with --bound or --rate",
    )
    add("--streams", default="1", metavar="N,M", help="offline, server: processes that call at once (default: 1)")
    add("--bound", metavar="10ms", help="server: find the highest rate of queries whose p99 keeps this limit")
    add("--rate", type=float, metavar="R", help="server: measure the latency at R queries a second, instead of --bound")


def scenario_tasks(option: Namespace, cases: Sequence[Case], streams: Sequence[int]) -> list[LoadTask]:
    """The tasks of the scenario; none for `latency`.

    Raises:
        StudyError: options are wrong, or contradict each other.
    """
    scenario = option.scenario
    if scenario not in SCENARIOS:
        raise StudyError(f"--scenario: expected {', '.join(SCENARIOS)}, found {scenario!r}")
    given = [name for name in ("bound", "rate") if getattr(option, name) is not None]
    if scenario == "latency":
        if given:
            raise StudyError(f"--{given[0]} applies to --scenario server")
        if list(streams) != [1]:
            raise StudyError("--streams applies to --scenario offline or server")
        return []
    if option.precision is not None:
        raise StudyError("--precision applies to --scenario latency; give --processes")
    if scenario == "offline":
        if given:
            raise StudyError(f"--{given[0]} applies to --scenario server")
        return [LoadTask(case, number) for case in cases for number in streams]
    if len(given) != 1:
        expected = "expected a limit of the p99 (--bound 10ms) or queries a second (--rate 1000)"
        raise StudyError(f"--scenario server: {expected}, found {'both' if given else 'neither'}")
    goal = Goal(rate=_rate(option.rate)) if option.bound is None else Goal(bound_seconds=_duration(option.bound))
    return [LoadTask(case, number, goal) for case in cases for number in streams]


def scenario_notes(tasks: Sequence[LoadTask], cpus: Collection[int] | None) -> list[str]:
    """A line for the cases whose threads are more than the cores."""
    names = [task.name for task in tasks if oversubscribed(task.case, task.streams, cpus)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"oversubscribed, more threads than physical cores: {', '.join(names[:3])}{more}"] if names else []


def _rate(rate: float) -> float:
    if not 0 < rate < math.inf:
        raise StudyError(f"--rate: expected queries a second above 0, found {rate:g}")
    return rate


def _duration(text: str) -> float:
    """Seconds of a text such as 10ms."""
    found = DURATION.fullmatch(text.strip())
    if not found or not (seconds := float(found[1]) * UNITS[found[2]]):
        raise StudyError(f"--bound: expected a time such as 10ms, 500us or 1.5s, found {text!r}")
    return seconds
