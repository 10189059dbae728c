"""The comparison of two engines: by hand, with a clock that only the calls move, and by simulation."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import pairing
from bench.pairing import Paired, Timed, Turn, between, calls_in_part, compare, evaluate, interval, part, reach
from bench.significance import verdict
from study.records.base import Interval

REFERENCE, RUNTIME = 2**-9, 2**-10
"""Seconds of a call; powers of 2, so that the sums of the clock are exact."""
CALLS = calls_in_part(REFERENCE), calls_in_part(RUNTIME)


class Machine:
    """A clock that only calls move; each part is slower than the part before it by the factor `slowdown`."""

    def __init__(self, slowdown: float = 1.0) -> None:
        self.now, self.factor, self.slowdown = 0.0, 1.0, slowdown
        self.parts: list[tuple[int, int]] = []
        """Index of the engine and number of calls of each part."""
        self.loads = 0

    def spend(self, seconds: float) -> None:
        self.now += seconds * self.factor
        index, calls = self.parts[-1]
        self.parts[-1] = index, calls + 1

    def turn(self, index: int) -> Turn:
        @contextmanager
        def take() -> Iterator[Timed]:
            self.parts.append((index, 0))
            yield self.spend, cycle([REFERENCE if index < 2 else RUNTIME])
            self.factor *= self.slowdown

        return take

    @contextmanager
    def load(self, generator: np.random.Generator) -> Iterator[Sequence[Turn]]:
        self.loads += 1
        yield [self.turn(index) for index in range(4)]

    def compare(
        self, seconds: float = 0, seed: int = 0, fewest_rounds: int = 20, most_seconds: float = math.inf
    ) -> Paired:
        return compare(self.load, CALLS, seconds, seed, fewest_rounds, most_seconds)

    def order(self) -> list[tuple[int, ...]]:
        """The order of the four engines in each block."""
        return [tuple(index for index, _ in self.parts[n : n + 4]) for n in range(0, len(self.parts), 4)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Make a machine whose clock is the one that the bench reads."""

    def make(slowdown: float = 1.0) -> Machine:
        made = Machine(slowdown)
        monkeypatch.setattr(pairing, "time", SimpleNamespace(perf_counter=lambda: made.now))
        return made

    return make


def logs(*rounds: Sequence[float]) -> list[NDArray[np.float64]]:
    return [np.log(values) for values in rounds]


def ends(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high


# ---- a part


def test_a_part_is_the_median_of_its_calls_without_the_time_to_fetch_inputs(machine: Callable[..., Machine]) -> None:
    for durations, median in (([5, 1, 3], 3), ([4, 1, 2, 8], 3), ([7], 7), ([9, 1, 1, 1], 1)):
        clock = machine()

        def inputs(durations: list[int] = durations, clock: Machine = clock) -> Iterator[float]:
            for duration in durations:
                clock.now += 100
                yield duration

        with clock.turn(0)() as (call, _):
            assert part(call, inputs(), len(durations)) == median


@pytest.mark.parametrize(
    ("call_seconds", "calls"),
    [
        ((1.0, 0.01), (3, 3)),  # never fewer than three
        ((0.001, 0.0005), (3, 6)),  # otherwise 3 ms
        ((0.0004, 0.00001), (8, 300)),
    ],
)
def test_a_part_is_3_ms_and_at_least_three_calls(
    call_seconds: tuple[float, float], calls: tuple[int, int], machine: Callable[..., Machine]
) -> None:
    clock = machine()
    compare(clock.load, [calls_in_part(seconds) for seconds in call_seconds], 0, 0, 2)
    first, second = calls
    assert set(clock.parts) == {(0, first), (1, first), (2, second), (3, second)}


# ---- the interval


def test_intervals_by_hand() -> None:
    def found(*rounds: Sequence[float]) -> tuple[float, float, float]:
        return ends(interval(logs(*rounds), np.random.default_rng(0)))

    assert found(*[[2.0] * 5] * 20) == pytest.approx((2, 2, 2), rel=1e-12), "rounds that agree"
    # two of two drawn with replacement: both the one, both the other, or one each, halfway
    assert found([1.0, 1.0], [4.0, 4.0]) == pytest.approx((2, 1, 4), rel=1e-12)
    assert found([3.0, 3.0, 3.0], [1.0], [1.0])[0] == pytest.approx(3), "the median of all blocks, not of rounds"
    assert found([1.0, 2.0, 4.0]) == pytest.approx((2, 2, 2)), "one round has its median alone"


def test_few_rounds_have_wider_intervals_than_plain_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hesterberg's expansion: Student's t for n - 1, and sqrt(n / (n - 1)) for an sd with n in its denominator."""
    monkeypatch.setattr(pairing, "CONFIDENCE", 0.95)
    generator = np.random.default_rng(0)
    outside = []
    for _ in range(24):
        rounds = generator.normal(size=(10, 21))
        found = interval(list(rounds), generator)
        drawn = np.median(rounds[generator.integers(0, 10, (2000, 10))].reshape(2000, -1), axis=1)
        outside.append(np.mean((drawn < math.log(found.low)) | (drawn > math.log(found.high))))
    tails = math.erfc(math.sqrt(10 / 9) * 2.262157 / math.sqrt(2))  # both; t(0.975, 9) from a table
    assert tails == pytest.approx(0.0171, abs=1e-4)
    assert np.mean(outside) == pytest.approx(tails, abs=0.003)  # 0.0237 without the root


@pytest.mark.parametrize(
    ("confidence", "fewest", "most"),
    [(0.95, 0.93, 0.98), (pairing.CONFIDENCE, 0.975, 1)],  # binomial standard error of 0.95: 0.013
)
def test_an_interval_of_rounds_contains_the_truth_where_one_of_single_blocks_would_not(
    confidence: float, fewest: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 rounds, each of 10 blocks, is off by 1 % (one standard deviation), and its blocks by another half."""
    monkeypatch.setattr(pairing, "RESAMPLES", 1000)
    monkeypatch.setattr(pairing, "CONFIDENCE", confidence)
    generator = np.random.default_rng(0)
    trials, held, naive = 300, 0, 0
    truth = math.log(1.5)
    for _ in range(trials):
        rounds = truth + generator.normal(0, 0.01, (20, 1)) + generator.normal(0, 0.005, (20, 10))
        found = interval(list(rounds), generator)
        held += found.low <= 1.5 <= found.high
        blocks = np.median(generator.choice(rounds.ravel(), (400, 200)), axis=1)
        low, high = np.quantile(blocks, [0.025, 0.975])
        naive += low <= truth <= high
    assert fewest <= held / trials <= most
    assert naive / trials < 0.7


def test_the_reach_of_an_interval_is_that_of_its_farther_end() -> None:
    assert reach(Interval(value=1, low=0.98, high=1.01)) == pytest.approx(1 / 0.98 - 1)
    assert reach(Interval(value=1, low=0.995, high=1.01)) == pytest.approx(0.01)
    assert reach(Interval(value=1.1, low=1.05, high=1.2)) == pytest.approx(0.2)  # does not contain 1


# ---- ratio, controls and verdict


def test_ratio_and_controls_by_hand() -> None:
    rounds = [np.array([[4.0, 9.0, 1.0, 4.0]] * 3), np.array([[4.0, 9.0, 1.0, 4.0]] * 2)]
    found = evaluate(rounds, 12, np.random.default_rng(0))
    assert found.ratio.value == pytest.approx(math.sqrt(4 * 9) / math.sqrt(1 * 4))
    assert found.controls.reference.value == pytest.approx(4 / 9)
    assert found.controls.runtime.value == pytest.approx(1 / 4)
    assert found.noise_floor == pytest.approx(4 - 1)  # the runtime's: four times as slow as itself
    assert (found.rounds, found.blocks, found.calls) == (2, 5, 60)


def test_a_disturbance_of_a_whole_block_cancels() -> None:
    generator = np.random.default_rng(0)
    disturbance = generator.lognormal(0, 1, (20, 7, 1))
    found = evaluate(list(disturbance * [3.0, 3.0, 2.0, 2.0]), 1, generator)
    assert ends(found.ratio) == pytest.approx((1.5, 1.5, 1.5))
    assert found.noise_floor == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("ratio", "floor", "shown"),
    [
        ((1.10, 1.05, 1.15), 0.09, "faster"),
        ((1.10, 1.00, 1.20), 0.05, "no difference shown"),  # the interval contains 1
        ((1.10, 1.05, 1.15), 0.11, "no difference shown"),  # within the floor
        ((0.90, 0.85, 0.95), 0.12, "no difference shown"),  # 1 / 0.90 is 1.111
        ((0.90, 0.85, 0.95), 0.11, "slower"),
    ],
)
def test_verdict_by_hand(ratio: tuple[float, float, float], floor: float, shown: str) -> None:
    value, low, high = ratio
    assert verdict(Interval(value=value, low=low, high=high), floor) == shown


def test_the_spread_between_processes_is_the_largest_over_the_smallest() -> None:
    assert between([2.0]) is None
    assert between([2.0, 2.0]) == 0
    assert between([1.0, 1.1, 1.05]) == pytest.approx(0.1)


# ---- rounds and blocks


def test_an_engine_that_takes_half_the_time_is_twice_as_fast(machine: Callable[..., Machine]) -> None:
    found = machine().compare()
    for ratio, truth in ((found.ratio, 2), (found.controls.reference, 1), (found.controls.runtime, 1)):
        assert ends(ratio) == pytest.approx((truth,) * 3, rel=1e-12)
    assert found.noise_floor == pytest.approx(0, abs=1e-12)
    assert verdict(found.ratio, found.noise_floor) == "faster"


def test_every_block_has_one_part_of_each_in_an_order_of_the_seed(machine: Callable[..., Machine]) -> None:
    orders = []
    for seed in (1, 1, 2):
        clock = machine()
        found = clock.compare(seed=seed, fewest_rounds=200)
        assert len(clock.parts) == 4 * found.blocks
        assert sum(calls for _, calls in clock.parts) == found.calls
        orders.append(clock.order())
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == set(permutations(range(4)))


def test_rounds_fill_the_time_and_are_at_least_so_many(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "ROUND_SECONDS", 0.2)
    clock = machine()
    assert clock.compare(fewest_rounds=7).rounds == clock.loads == 7
    assert 7 * 0.2 <= clock.now < 7 * 0.25
    clock = machine()
    found = clock.compare(seconds=10, fewest_rounds=7)
    assert 10 <= clock.now < 10.25
    assert found.rounds == clock.loads == pytest.approx(10 / 0.22, rel=0.1)
    assert found.blocks >= 5 * found.rounds
    clock = machine()
    clock.factor = 1000  # a call takes longer than a round, which has one block then
    found = clock.compare(fewest_rounds=3)
    assert (found.rounds, found.blocks) == (3, 3)
    assert found.ratio.value == pytest.approx(2)


def test_rounds_end_with_the_time_of_a_slow_engine_but_there_is_one(machine: Callable[..., Machine]) -> None:
    for most, rounds in ((0, 1), (1, 1), (50, 3)):
        clock = machine()
        clock.factor = 1000  # a round takes 6 calls of 2 s and 8 of 1 s
        assert clock.compare(most_seconds=most).rounds == rounds


def test_a_machine_that_becomes_slower_is_no_difference(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By 1 % from one part to the next; in a fixed order the runtime's parts, the last two, are 2 steps later."""
    found = machine(slowdown=1.01).compare()
    assert found.ratio.value == pytest.approx(2, rel=1e-9)
    assert found.ratio.low < 2 < found.ratio.high

    monkeypatch.setattr(np.random, "default_rng", InOrder)
    biased = machine(slowdown=1.01).compare()
    assert biased.ratio.value == pytest.approx(2 * 1.01**-2)
    assert not biased.ratio.low <= 2 * 0.99 <= biased.ratio.high


class InOrder:
    """A generator that never shuffles."""

    def __init__(self, seed: int) -> None:
        self.integers = np.random.Generator(np.random.PCG64(seed)).integers

    def permutation(self, n: int) -> Any:
        return range(n)
