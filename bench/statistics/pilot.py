"""How to spend the time of a session: shares of calls, loads and processes from a short pilot, and the forecast.

Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013: times vary from call to call, from load to
load and from process to process. A level that varies much and is cheap to repeat is repeated often.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_LOADS, MOST_LOADS = 3, 40
"""Of a process; a slow model is loaded once where three loads do not fit."""
MOST_CALLS = 2_000
"""Timed calls of all loads of a process. Every one is stored, with 50 bytes: 0.5 MB for a case in five processes."""


@dataclass(frozen=True)
class Nested:
    """Logarithms of the times of a case, or of the block ratios of a comparison, in the order they were measured."""

    values: Sequence[Sequence[NDArray[np.float64]]]
    """processes -> loads -> [calls] or [blocks]."""


@dataclass(frozen=True)
class Components:
    """Variances of logarithms, each of one level alone: 1e-4 is a standard deviation of 1 %."""

    calls: float
    """Such that the median of n calls of a load has calls / n: the correlation of neighbouring calls is included."""
    loads: float
    processes: float

    def variance(self, shares: "Shares") -> float:
        """Of the estimate of one process."""
        return self.processes + self.loads / shares.loads + self.calls / (shares.loads * shares.calls)


@dataclass(frozen=True)
class Costs:
    """Seconds of a call (of a comparison: a block), of a load with its warm-up, and of the start of a process divided
    by the measurements in it."""

    call: float
    load: float
    process: float


@dataclass(frozen=True)
class Shares:
    """Calls (blocks) in each load, and loads in each process."""

    calls: int
    loads: int

    def seconds(self, costs: Costs) -> float:
        """Time of one process, without its start."""
        return self.loads * (costs.load + self.calls * costs.call)


@dataclass(frozen=True)
class _Sums:
    """Sums of squares of one level and their degrees of freedom, and what the level below contributes to them."""

    squares: float
    freedom: int
    below: float
    """Mean of 1 / n over the units, n the number of the level below in each."""


def components(nested: Sequence[Nested]) -> list[Components]:
    """The components of each measurement, from those of one runtime and batch together.

    A load counts as the mean of the medians of consecutive batches of its calls, sqrt(n) batches of n calls; m batches
    of b calls with the variance s1^2 among them give the component s1^2 b. With s2^2 the variance of loads about their
    process and s3^2 that of processes about their mean (nested analysis of variance):

        calls = s1^2 b        loads = s2^2 - mean(calls / n)        processes = s3^2 - s2^2 mean(1 / loads)

    and 0 instead of a negative component. s1^2 is the measurement's own. s2^2 and s3^2 are pooled over all: two
    processes give a measurement one degree of freedom, too few; six models give six.
    """
    calls = [_calls(one) for one in nested]
    means = [[np.array([np.mean(_batches(load)[0]) for load in process]) for process in one.values] for one in nested]
    s2 = _pooled([load for one in means for load in one])
    s3 = _pooled([np.array([np.mean(process) for process in one]) for one in means])
    noise = np.mean([variance / len(load) for one, variance in zip(nested, calls, strict=True) for load in _loads(one)])
    per_process = np.mean([1 / len(process) for one in nested for process in one.values])
    loads, processes = max(0.0, s2 - float(noise)), max(0.0, s3 - s2 * float(per_process))
    return [Components(variance, loads, processes) for variance in calls]


def _loads(nested: Nested) -> list[NDArray[np.float64]]:
    return [load for process in nested.values for load in process]


def _batches(load: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Medians of consecutive batches of a load's values, and the mean number of values in a batch."""
    number = max(min(2, len(load)), math.isqrt(len(load)))
    medians = np.array([np.median(batch) for batch in np.array_split(load, number)])
    return medians, len(load) / number


def _calls(nested: Nested) -> float:
    """The component of the calls of one measurement."""
    batches = [_batches(load) for load in _loads(nested)]
    return _pooled([medians * math.sqrt(size) for medians, size in batches])


def _pooled(groups: Sequence[NDArray[np.float64]]) -> float:
    """The variance within groups: sums of squares over degrees of freedom; 0 without any."""
    freedom = sum(len(group) - 1 for group in groups)
    return sum(float(np.sum((group - np.mean(group)) ** 2)) for group in groups) / freedom if freedom else 0.0


def shares(
    parts: Components,
    costs: Costs,
    seconds: float,
    fewest_calls: int = 1,
    fewest_loads: int = FEWEST_LOADS,
    most_seconds: float = math.inf,
    processes_are_fixed: bool = True,
) -> Shares:
    """Calls in a load and loads in a process, for one measurement.

    Kalibera and Jones' optimum: sqrt(c2 / c1 * T1 / T2) calls in a load, sqrt(c3 / c2 * T2 / T3) loads in a process,
    c the costs and T the variances of call, load and process. The second holds if the number of processes is free. If
    it is fixed, the loads fill the time.

    Args:
        seconds: for this measurement in one process; the fewest loads may take longer.
        fewest_calls: of all loads of a process, for the percentiles.
        most_seconds: longest time in one process, kept in any case but for a single call of a single load.
    """
    longest = max(1, int((seconds / fewest_loads - costs.load) / costs.call))
    calls = _between(1, _root(costs.load * parts.calls, costs.call * parts.loads), longest)
    fitting = int(seconds / (costs.load + calls * costs.call))
    best = math.inf if processes_are_fixed else _root(costs.process * parts.loads, costs.load * parts.processes)
    loads = max(fewest_loads, _between(1, best, min(fitting, MOST_LOADS)))
    calls = min(max(calls, math.ceil(fewest_calls / loads)), max(1, MOST_CALLS // loads))
    if Shares(calls, loads).seconds(costs) > most_seconds:
        wanted = calls * loads
        loads = _between(1, most_seconds / max(2 * costs.load, costs.load + costs.call), loads)
        calls = _between(1, (most_seconds / loads - costs.load) / costs.call, math.ceil(wanted / loads))
    return Shares(calls, loads)


def _root(numerator: float, denominator: float) -> float:
    return math.sqrt(numerator / denominator) if denominator > 0 else math.inf


def _between(low: int, wanted: float, high: int) -> int:
    return max(low, int(min(wanted, high)))
