"""The highest rate of arrivals whose 99th percentile of latency stays under a bound."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.scenarios.arrivals import Served

COARSE, TOLERANCE = 0.05, 0.01
"""The short and the long trials end when the lowest rate that failed is at most this share above the highest that held.
"""
FIRST_STEP = 1.5
"""Factor between the first two rates of the short trials."""
FEWEST_LOAD = 1 / 20
"""Share of the capacity below which no rate is tried."""
LONG_TIMES = 4
"""How many times as long a long trial is."""
USUAL_SHORT = 6 + LONG_TIMES * 5
"""Usual number of trials, in short ones, for the forecast of the time."""

Run = Callable[[float, int, int], Served]
"""Serve so many queries at a rate; the last argument is the seed of the schedule."""


class BoundTooLowError(Exception):
    """Not even the lowest rate keeps the bound; the message has the percentile there."""


@dataclass(frozen=True)
class Trial:
    """One run at one rate."""

    rate: float
    served: Served
    streams: int
    bound: float

    @property
    def p99(self) -> float:
        return float(np.quantile(self.served.latencies, 0.99))

    @property
    def load(self) -> float:
        """Share of the streams' time in which they serve; from 1 on the queue grows for as long as queries arrive."""
        return self.rate * float(np.mean(self.served.services)) / self.streams

    @property
    def holds(self) -> bool:
        """A short run at a load above 1 may end before its queue is long, so the load counts too."""
        return self.p99 <= self.bound and self.load < 1


@dataclass(frozen=True)
class Search:
    """The highest rate that held, and the next higher one tried, which did not, both in long trials."""

    highest: Trial
    above: Trial
    trials: int


def highest_rate(
    run: Run, bound: float, capacity: float, streams: int, seconds: float, fewest: int, seed: int
) -> Search:
    """Bisect the rate in short trials, then around the result in long ones with another schedule.

    All trials of a length have the same gaps between arrivals, scaled, so that the percentile of one engine rises with
    the rate but for the noise of the calls.

    Args:
        bound: seconds.
        capacity: queries a second that back-to-back calls are expected to serve.
        seconds: duration of a short trial.
        fewest: queries in a short trial, even if they take longer.

    Raises:
        BoundTooLowError: the bound is below the latency of an engine that is hardly used.
    """
    trials = 0

    def attempt(rate: float, times: int = 1) -> Trial:
        nonlocal trials
        trials += 1
        if rate < FEWEST_LOAD * capacity:
            raise BoundTooLowError(f"p99 exceeds it even at {FEWEST_LOAD:.0%} of the capacity")
        queries = times * max(fewest, round(seconds * rate))
        return Trial(rate, run(rate, queries, seed + times), streams, bound)

    rough, _ = bisect(attempt, capacity, FIRST_STEP, COARSE)
    highest, above = bisect(lambda rate: attempt(rate, LONG_TIMES), rough.rate, 1 + COARSE, TOLERANCE)
    return Search(highest, above, trials)


def bisect(attempt: Callable[[float], Trial], start: float, step: float, tolerance: float) -> tuple[Trial, Trial]:
    """The highest rate that holds and the lowest that does not, at most `tolerance` apart.

    Args:
        step: factor from `start` to the second rate; the steps grow until one rate holds and another does not.
    """
    low = above = attempt(start)
    if low.holds:
        while (above := attempt(low.rate * step)).holds:
            low, step = above, step**2
    else:
        while not (low := attempt(above.rate / step)).holds:
            above, step = low, step**2
    while above.rate > (1 + tolerance) * low.rate:
        middle = attempt((low.rate * above.rate) ** 0.5)
        if middle.holds:
            low = middle
        else:
            above = middle
    return low, above
