"""Queries that arrive at random: their schedule, made beforehand, and how one stream serves them in order.

Latency counts from the scheduled arrival, not from when the query was picked up: a stream that falls behind makes later
queries wait, and that wait is part of their latency (Tene's "coordinated omission" would leave it out).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """The queries of a run in the order of their arrival [queries], in seconds since its beginning."""

    arrivals: Seconds
    started: Seconds
    finished: Seconds

    @property
    def latencies(self) -> Seconds:
        """From scheduled arrival to the end of the call."""
        return self.finished - self.arrivals

    @property
    def waits(self) -> Seconds:
        """From scheduled arrival to the beginning of the call."""
        return self.started - self.arrivals

    @property
    def services(self) -> Seconds:
        """Durations of the calls."""
        return self.finished - self.started


def poisson(rate: float, queries: int, seed: int) -> Seconds:
    """The arrivals [queries] of a Poisson process, seconds from the beginning: independent exponential gaps.

    The same seed gives the same gaps at every rate, scaled, so that two rates differ in nothing else.
    """
    gaps = np.random.default_rng(seed).exponential(size=queries)
    return np.cumsum(gaps) / rate


def spin_until(due: float, clock: Callable[[], float] = time.perf_counter) -> None:
    """Wait without giving the core away: the kernel wakes a sleeping thread 50 microseconds late or more."""
    while clock() < due:
        pass


def serve(
    arrivals: Sequence[float],
    take: Callable[[], int],
    call: Callable[[], object],
    begin: float,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[float], None] = spin_until,
) -> tuple[list[int], list[float], list[float]]:
    """Serve queries until none is left: their numbers, and when each call began and ended, in seconds since `begin`.

    Args:
        arrivals: seconds since `begin`, ascending.
        take: gives the number of the next query, each number to one stream only. A free stream takes a number first
            and waits for that query's arrival then, so that several streams make one queue in the order of arrival.
        call: makes one call.
        begin: reading of `clock`.
    """
    numbers: list[int] = []
    started: list[float] = []
    finished: list[float] = []
    while (number := take()) < len(arrivals):
        wait(begin + arrivals[number])
        before = clock()
        call()
        after = clock()
        numbers.append(number)
        started.append(before - begin)
        finished.append(after - begin)
    return numbers, started, finished


def joined(arrivals: Seconds, parts: Sequence[tuple[Sequence[int], Sequence[float], Sequence[float]]]) -> Served:
    """The queries of all streams, in the order of arrival."""
    started, finished = np.full(len(arrivals), np.nan), np.full(len(arrivals), np.nan)
    for numbers, begun, ended in parts:
        started[list(numbers)] = begun
        finished[list(numbers)] = ended
    return Served(arrivals, started, finished)


def waits_of_one_server(arrivals: Seconds, services: Seconds | float) -> Seconds:
    """The waits in a queue with one server, from Lindley's recursion: w' = max(0, w + service - gap)."""
    steps = np.broadcast_to(services, arrivals.shape)[:-1] - np.diff(arrivals)
    walk = np.concatenate(([0.0], np.cumsum(steps)))
    waits: Seconds = walk - np.minimum.accumulate(walk)
    return waits


def mean_wait_md1(load: float, service: float) -> float:
    """Mean wait in an M/D/1 queue, load * service / (2 (1 - load)): Pollaczek-Khinchine for a constant service time."""
    return load * service / (2 * (1 - load))
