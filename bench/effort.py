"""The effort of a session: what its pilot measured, as loads and calls of each task, and as a forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.measure import CaseOnce
from bench.pairing import FEWEST_ROUNDS
from bench.sampling import Budget
from bench.statistics.forecast import Forecast, Measurement, forecast
from bench.statistics.pilot import FEWEST_LOADS, Costs, Nested, Shares, components, shares
from bench.tasks import PairTask, Task


@dataclass(frozen=True)
class Plan:
    shares: Mapping[str, Shares]
    """Of each task, by name."""
    expected: Forecast


def planned(
    tasks: Sequence[Task],
    results: Mapping[str, Sequence[Any]],
    start_seconds: float,
    budget: Budget,
    precision: float | None,
) -> Plan:
    """The effort for these tasks.

    Args:
        results: of each process of the pilot, by task.
        start_seconds: what a process takes beside its measurements.
    """
    groups: dict[tuple[bool, str, int], list[Task]] = {}
    for task in tasks:
        if results.get(task.name):
            groups.setdefault((isinstance(task, PairTask), task.key.runtime, task.key.batch), []).append(task)
    measurements = []
    for (is_pair, _, batch), alike in groups.items():
        parts = components([nested(results[task.name]) for task in alike])
        for task, part in zip(alike, parts, strict=True):
            costs = costs_of(results[task.name], start_seconds / len(tasks))
            seconds = budget.comparison_seconds if is_pair else budget.seconds / budget.processes
            fewest = (1, FEWEST_ROUNDS) if is_pair else (budget.samples(costs.call), FEWEST_LOADS)
            wanted = shares(part, costs, seconds, *fewest, most_seconds=budget.process_seconds)
            measurements.append(Measurement(task.name, batch, is_pair, part, costs, wanted))
    expected = forecast(measurements, budget.processes, precision)
    return Plan({one.name: one.shares for one in measurements}, expected)


def nested(results: Sequence[Any]) -> Nested:
    """The logarithms of a task's times or ratios: by process, load, call or block."""
    if isinstance(results[0], CaseOnce):
        return Nested([_by_load(one) for one in results])
    return Nested([one.log_ratios for one in results])


def _by_load(one: CaseOnce) -> Sequence[Any]:
    return np.split(np.log(one.samples), np.cumsum(one.loads)[:-1])


def costs_of(results: Sequence[Any], start_seconds: float) -> Costs:
    """Means over the processes of the pilot.

    Every process checks outputs and warms up before it measures. The first of a session compares more outputs than the
    others, so the shorter time counts.
    """
    calls = [one.process.median_seconds if isinstance(one, CaseOnce) else one.block_seconds for one in results]
    checks = min(one.seconds - _measured_seconds(one) for one in results)
    return Costs(
        call=float(np.mean(calls)),
        load=float(np.mean([one.load_seconds for one in results])),
        process=start_seconds + max(0.0, checks),
    )


def _measured_seconds(one: Any) -> float:
    if isinstance(one, CaseOnce):
        return len(one.loads) * one.load_seconds + sum(one.samples)
    return float(one.process.rounds * one.load_seconds + one.process.blocks * one.block_seconds)
