"""Which of two engines is faster, and by how much: paired, interleaved, with a control of each against itself.

The speed of a machine drifts within minutes by more than engines often differ, so the two take turns in blocks of some
tens of milliseconds. The speed of one engine changes by 1 or 2 % from load to load, with the place of its weights in
memory. So there are rounds: each loads both engines again, each twice. A block has one part of each of the four loads,
in random order; a part is a few calls, its value their median. Within a block

    ratio    sqrt(a1 * a2) / sqrt(b1 * b2)        time of the reference over time of the runtime
    control  a1 / a2 and b1 / b2                  each engine against itself: 1 on a perfect machine

The result is the median over the blocks of all rounds, with an interval from a bootstrap that draws whole rounds.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from study.records.base import Interval
from study.records.bench import Controls

PART_SECONDS = 0.003
FEWEST_CALLS = 3
ROUND_SECONDS = 0.03
FEWEST_ROUNDS = 20
RESAMPLES = 4000
CONFIDENCE = 0.99
"""Level of the bootstrap, for an interval that contains the true ratio in at least 95 of 100 sessions. Rounds of one
process are not quite independent: at 0.95 the interval of torch against itself contained 1 in 37 of 40 repetitions."""

Timed = tuple[Callable[[Any], object], Iterator[Any]]
"""A callable and the sequence of its arguments."""
Turn = Callable[[], AbstractContextManager[Timed]]
"""Opens an engine for one part; gives the callable to be timed and its arguments."""
Turns = Callable[[np.random.Generator], AbstractContextManager[Sequence[Turn]]]
"""Loads the reference twice and the runtime twice, at random places in memory; gives their turns for one round."""


@dataclass(frozen=True)
class Paired:
    """Two engines, paired. `ratio` is the time of the reference over that of the runtime: above 1, the runtime is
    faster."""

    ratio: Interval
    """The interval contains the true ratio in at least 95 of 100 sessions."""
    controls: Controls
    """Each engine against itself."""
    rounds: int
    blocks: int
    calls: int
    """Number of timed calls of both engines together."""

    @property
    def noise_floor(self) -> float:
        """Largest distance of a control's interval from 1: smaller effects are not distinguished from noise."""
        return max(reach(self.controls.reference), reach(self.controls.runtime))


def reach(interval: Interval) -> float:
    """Largest distance of an interval from 1, as a share: 0.02 for 0.98 to 1.01."""
    return math.exp(max(abs(math.log(interval.low)), abs(math.log(interval.high)))) - 1


def compare(
    load: Turns,
    calls_each: Sequence[int],
    seconds: float,
    seed: int,
    fewest_rounds: int = FEWEST_ROUNDS,
    most_seconds: float = math.inf,
) -> Paired:
    """Time the two in turns for `seconds`, but for at least `fewest_rounds`.

    Args:
        calls_each: number in a part of the reference and of the runtime.
        most_seconds: no round begins later than this, except the first.
        seed: of the order within blocks, of the places in memory and of the bootstrap.
    """
    order, placement, bootstrap = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3))
    calls = [number for number in calls_each for _ in range(2)]
    rounds: list[NDArray[np.float64]] = []
    started = time.perf_counter()
    elapsed = 0.0
    while not rounds or (elapsed < most_seconds and (len(rounds) < fewest_rounds or elapsed < seconds)):
        with load(placement) as turns:
            until = time.perf_counter() + ROUND_SECONDS
            blocks = [block(turns, calls, order)]
            while time.perf_counter() < until:
                blocks.append(block(turns, calls, order))
        rounds.append(np.array(blocks))
        elapsed = time.perf_counter() - started
    return evaluate(rounds, sum(calls), bootstrap)


def calls_in_part(call_seconds: float) -> int:
    """Number of calls in a part."""
    return max(FEWEST_CALLS, math.ceil(PART_SECONDS / call_seconds))


def block(turns: Sequence[Turn], calls: Sequence[int], generator: np.random.Generator) -> list[float]:
    """Time one part of each turn, in random order; seconds, in the order of `turns`."""
    seconds = [0.0] * len(turns)
    for i in generator.permutation(len(turns)):
        with turns[i]() as (call, inputs):
            seconds[i] = part(call, inputs, calls[i])
    return seconds


def part(call: Callable[[Any], object], inputs: Iterator[Any], calls: int) -> float:
    """The median duration of `calls` calls, in seconds."""
    clock = time.perf_counter
    durations = []
    for _ in range(calls):
        given = next(inputs)
        before = clock()
        call(given)
        durations.append(clock() - before)
    durations.sort()
    return (durations[calls // 2] + durations[~(calls // 2)]) / 2


def evaluate(rounds: Sequence[NDArray[np.float64]], calls: int, generator: np.random.Generator) -> Paired:
    """The comparison from the seconds of each round, [blocks, 4]: two parts of the reference, two of the runtime.

    Args:
        calls: number in one block.
    """
    logs = [np.log(seconds).T for seconds in rounds]
    ratio = interval([(a1 + a2 - b1 - b2) / 2 for a1, a2, b1, b2 in logs], generator)
    reference = interval([a1 - a2 for a1, a2, _, _ in logs], generator)
    runtime = interval([b1 - b2 for _, _, b1, b2 in logs], generator)
    blocks = sum(len(seconds) for seconds in rounds)
    controls = Controls(reference=reference, runtime=runtime)
    return Paired(ratio, controls, len(rounds), blocks, calls * blocks)


def interval(rounds: Sequence[NDArray[np.float64]], generator: np.random.Generator) -> Interval:
    """The median ratio and its interval, from the logarithms of the ratios of each round.

    The bootstrap draws whole rounds, because the blocks of one round are alike. Percentile method with Hesterberg's
    expansion, without which the intervals from few rounds would be too narrow (What Teachers Should Know About the
    Bootstrap, arXiv 1411.5279, section 5.3).
    """
    n = len(rounds)
    chosen = generator.integers(0, n, (RESAMPLES, n))
    medians = [np.median(np.concatenate([rounds[i] for i in row])) for row in chosen]
    tail = float(norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf((1 + CONFIDENCE) / 2, n - 1))) if n > 1 else 0.0
    low, high = np.quantile(medians, [tail, 1 - tail])
    value, low, high = (math.exp(float(log)) for log in (np.median(np.concatenate(rounds)), low, high))
    return Interval(value=value, low=low, high=high)


def between(values: Sequence[float]) -> float | None:
    """Relative spread of the values of several processes: largest over smallest, less 1; None for one process."""
    return max(values) / min(values) - 1 if len(values) > 1 else None
