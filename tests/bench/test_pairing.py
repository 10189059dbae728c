"""The comparison of two engines in one process: by hand, with a clock that only the calls move, and by simulation."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, permutations
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest

from bench import pairing, timing
from bench.full_speed import Patience
from bench.pairing import Block, Effort, PairedOnce, Timed, Turn, compare, evaluate
from bench.parts import Parts, part, plan_parts
from study.records.bench import Calibration

REFERENCE, RUNTIME = 2**-9, 2**-10
"""Seconds of a call; powers of 2, so that the sums of the clock are exact."""
PARTS = Parts((3, 3), (1, 1), known=True)
SAME = Calibration(arithmetic_seconds=1e-5, memory_seconds=1e-5)


class Machine:
    """A clock that only calls move; each part is slower than the part before it by the factor `slowdown`."""

    def __init__(
        self, slowdown: float = 1.0, after_switch: Sequence[Sequence[float]] = ((), ()), noise: float = 0.0
    ) -> None:
        self.now, self.factor, self.slowdown = 0.0, 1.0, slowdown
        self.after_switch = after_switch
        """Of each engine, the factors of its first calls in a part."""
        self.parts: list[tuple[int, int]] = []
        """Index of the engine and number of calls of each part."""
        self.loads = 0
        self.loaded = WeakSet[Turn]()
        self.noise, self.generator = noise, np.random.default_rng(0)
        self.moments: dict[int, float] = {}
        """The factor of a part, by its number."""
        self.slow_loads: dict[tuple[int, int], float] = {}
        """The factor of an engine in all blocks of a round, by the number of the round and the engine's index."""

    def spend(self, seconds: float) -> None:
        index, calls = self.parts[-1]
        first = self.after_switch[index // 2]
        extra = first[calls] if calls < len(first) else 1.0
        extra *= self.moments.get(len(self.parts) - 1, 1.0) * self.slow_loads.get((self.loads - 1, index), 1.0)
        self.now += seconds * self.factor * extra * math.exp(self.generator.normal(0, self.noise))
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
        assert not self.loaded, "the engines of the round before are gone"
        turns = [self.turn(index) for index in range(4)]
        self.loaded.update(turns)
        yield turns

    def compare(
        self,
        seconds: float = 0,
        seed: int = 0,
        numbers: Parts = PARTS,
        fewest_rounds: int = 20,
        most_seconds: float = math.inf,
        blocks: int = 3,
        loads_stay: bool = True,
    ) -> PairedOnce:
        effort = Effort(seconds, blocks, fewest_rounds, most_seconds, loads_stay)
        return compare(self.load, numbers, effort, seed, Patience(None, 0, calibrate=lambda: SAME))

    def order(self) -> list[tuple[int, ...]]:
        """The order of the four engines in each block."""
        return [tuple(index for index, _ in self.parts[n : n + 4]) for n in range(0, len(self.parts), 4)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Make a machine whose clock is the one that the bench reads."""

    def make(*arguments: Any, **keywords: Any) -> Machine:
        made = Machine(*arguments, **keywords)
        for module in (pairing, timing):
            monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: made.now))
        return made

    return make


def rounds_of(*rounds: Sequence[Sequence[float]]) -> list[list[Block]]:
    """Rounds of blocks whose parts are one call each, after a lead-in call that takes twice as long."""
    return [
        [Block(tuple(np.array([2 * value, value]) for value in block), (SAME, SAME), 1.0) for block in blocks]
        for blocks in rounds
    ]


ONE_CALL = Parts((1, 1), (1, 1), known=True)

# ---- parts and lead-in


def test_the_time_to_fetch_inputs_is_not_timed(machine: Callable[..., Machine]) -> None:
    clock = machine()

    def inputs() -> Iterator[float]:
        for duration in (5.0, 1.0, 3.0):
            clock.now += 100
            yield duration

    with clock.turn(0)() as (call, _):
        assert part(call, inputs(), 3).tolist() == [5, 1, 3]


@pytest.mark.parametrize("noise", [0, 0.01])
@pytest.mark.parametrize(
    "effects", [(1.2,), (1.2, 1.2, 1.2), (1.22, 1.10, 1.07, 1.04), [1 + 0.2 * 0.6**n for n in range(40)]]
)
def test_slow_calls_after_a_switch_do_not_move_the_ratio(
    effects: Sequence[float], noise: float, machine: Callable[..., Machine]
) -> None:
    """The runtime's first calls are up to 22 % slower; timed from the first one, they would count."""
    clock = machine(after_switch=((), effects), noise=noise)
    numbers = plan_parts((REFERENCE, RUNTIME), rounds=20)
    assert numbers.calls == (4, 4), "so few that each effect would be seen"
    found = clock.compare(numbers=numbers, seconds=10, fewest_rounds=40)
    assert found.ratio == pytest.approx(REFERENCE / RUNTIME, rel=0.005)
    assert found.after_switch_runtime.lead_in_calls <= numbers.lead_in[1]
    assert found.after_switch_runtime.effects[:1] == pytest.approx([effects[0] - 1], abs=0.01)
    first = machine(after_switch=((), effects)).compare(numbers=Parts((3, 3), (0, 0), known=True))
    assert len(effects) == 1 or first.ratio < 0.97 * REFERENCE / RUNTIME


def test_the_first_blocks_have_many_lead_in_calls_and_the_others_what_is_needed(
    machine: Callable[..., Machine],
) -> None:
    clock = machine(after_switch=((), (1.22, 1.10, 1.07, 1.04)))
    found = clock.compare(numbers=Parts((30, 60), (5, 10)), seconds=100, fewest_rounds=10)
    numbers = [calls for _, calls in clock.parts]
    assert set(numbers[: 6 * 4]) == {35, 70}
    assert set(numbers[6 * 4 :]) == {31, 64}
    assert found.after_switch_reference.effects == pytest.approx((0,))
    assert found.after_switch_runtime.effects == pytest.approx((0.22, 0.10, 0.07, 0.04))
    clock = machine(after_switch=((), (1.22, 1.10, 1.07, 1.04)))
    clock.compare(numbers=Parts((3, 3), (10, 10)), seconds=0, fewest_rounds=10)  # no time: three blocks tell
    assert [calls for _, calls in clock.parts] == [13] * 3 * 4 + [7] * 7 * 4


# ---- ratio and controls


def test_ratio_and_controls_by_hand() -> None:
    found = evaluate(rounds_of([[4, 9, 1, 4]] * 3, [[4, 9, 1, 4]] * 2), ONE_CALL, 3.5)
    assert found.ratio == pytest.approx(math.sqrt(4 * 9) / math.sqrt(1 * 4))
    assert found.controls.reference == pytest.approx(4 / 9)
    assert found.controls.runtime == pytest.approx(1 / 4)
    assert (found.rounds, found.blocks, found.full_speed_blocks, found.calls) == (2, 5, 5, 20)
    assert found.call_seconds == pytest.approx((4 * 9 * 1 * 4) ** 0.25)
    assert found.engine_seconds == pytest.approx((math.sqrt(4 * 9), math.sqrt(1 * 4)))
    assert found.after_switch_runtime.effects == (1.0,)
    assert [list(logs) for logs in found.log_ratios_by_round] == [[pytest.approx(math.log(3))]] * 2, (
        "the median, since loads differ"
    )
    assert (found.round_seconds, found.block_seconds, found.load_seconds, found.reasons) == (3.5, 1.0, 1.0, ())


def test_the_ratio_is_the_mean_over_rounds_of_the_median_of_their_blocks() -> None:
    """Blocks of equal time, so that all count: 1.0201 = 1.01 squared."""
    one, two, far = [1.0, 1, 1, 1], [1.01, 1.01, 1 / 1.01, 1 / 1.01], [1.05, 1.05, 1 / 1.05, 1 / 1.05]
    found = evaluate(rounds_of([one, one, far], [two, two, far]), ONE_CALL, 1)
    assert found.ratio == pytest.approx(1.01)


def test_a_disturbance_of_a_whole_block_cancels() -> None:
    generator = np.random.default_rng(0)
    disturbance = generator.uniform(1, 1.05, (20, 3, 1))
    found = evaluate(rounds_of(*(disturbance * [3.0, 3.0, 2.0, 2.0])), ONE_CALL, 1)
    assert found.full_speed_blocks == 60
    assert found.ratio == pytest.approx(1.5)
    assert found.controls.reference == pytest.approx(1)


def test_slow_blocks_do_not_count_but_if_all_are_there_is_a_reason() -> None:
    fast, slow = [3.0, 3, 1, 1], [3 * 1.5, 3 * 1.5, 1.8, 1.8]
    found = evaluate(rounds_of(*[[fast] * 3] * 6, *[[slow] * 3] * 4), ONE_CALL, 1)
    assert (found.blocks, found.reasons) == (30, ())
    assert found.ratio == pytest.approx(3)
    assert found.full_speed_blocks == 17, "the last fast block is beside a slow one"
    full_speed = Calibration(arithmetic_seconds=SAME.arithmetic_seconds / 1.5, memory_seconds=SAME.memory_seconds)
    found = evaluate(rounds_of(*[[slow] * 3] * 4), ONE_CALL, 1, full_speed)
    assert found.full_speed_blocks == 0
    assert found.ratio == pytest.approx(3 * 1.5 / 1.8)
    assert "0 of 12 blocks" in found.reasons[0]


# ---- rounds and blocks


def test_an_engine_that_takes_half_the_time_is_twice_as_fast(machine: Callable[..., Machine]) -> None:
    found = machine().compare()
    assert (found.ratio, found.controls.reference, found.controls.runtime) == pytest.approx((2, 1, 1), rel=1e-12)


def test_every_block_has_one_part_of_each_in_an_order_of_the_seed(machine: Callable[..., Machine]) -> None:
    orders = []
    for seed in (1, 1, 2):
        clock = machine()
        found = clock.compare(seed=seed, fewest_rounds=200)
        assert len(clock.parts) == 4 * found.blocks
        assert sum(calls - 1 for _, calls in clock.parts) == found.calls
        orders.append(clock.order())
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == set(permutations(range(4)))


def test_rounds_fill_the_time_and_are_at_least_so_many(machine: Callable[..., Machine]) -> None:
    clock = machine()  # a block takes 8 x (1/512 + 1/1024) s = 23 ms
    found = clock.compare(fewest_rounds=7)
    assert (found.rounds, clock.loads, found.blocks) == (7, 7, 7), "without time one block a round"
    clock = machine()
    found = clock.compare(seconds=10, fewest_rounds=7)
    assert 10 <= clock.now < 10 + 3 * 3 / 128
    assert found.rounds == clock.loads == math.ceil(10 * 128 / 9)
    assert found.blocks == 3 * found.rounds
    clock = machine()
    clock.factor = 1000  # a block takes 23 s, more than a round's share of the time
    found = clock.compare(seconds=100, fewest_rounds=5)
    assert (found.rounds, found.blocks) == (5, 5)
    assert found.ratio == pytest.approx(2)


def test_rounds_end_with_the_time_of_a_slow_engine_but_there_is_one(machine: Callable[..., Machine]) -> None:
    for most, rounds in ((0, 1), (1, 1), (60, 3)):
        clock = machine()
        clock.factor = 1000  # a round takes 23 s
        assert clock.compare(most_seconds=most).rounds == rounds


@pytest.mark.parametrize("part", range(8, 12))
def test_a_slow_moment_that_hits_one_part_does_not_move_the_ratio(part: int, machine: Callable[..., Machine]) -> None:
    """Eight rounds of one block: the moment alone would move the ratio by 1.45 ** (1 / 16), 2.3 %."""
    clock = machine()
    clock.moments = {part: 1.45}
    found = clock.compare(fewest_rounds=8, blocks=1)
    assert found.ratio == pytest.approx(2, rel=1e-12)
    assert (found.rounds, found.blocks) == (8, 10), "its round has three blocks"
    assert [list(logs) for logs in found.log_ratios_by_round] == [[pytest.approx(math.log(2))]] * 8


def test_a_round_of_two_blocks_has_a_third_if_the_second_is_disturbed(machine: Callable[..., Machine]) -> None:
    clock = machine()
    clock.moments = {4: 1.45}
    found = clock.compare(seconds=10, fewest_rounds=8, blocks=2)
    assert found.blocks == 2 * found.rounds + 1
    assert found.ratio == pytest.approx(2, rel=1e-12)


def test_loads_that_differ_by_less_than_a_tenth_are_not_disturbed(machine: Callable[..., Machine]) -> None:
    clock = machine()
    clock.moments = {8: 1.05}
    assert clock.compare(fewest_rounds=8, blocks=1).blocks == 8


def test_a_load_that_is_slow_in_all_blocks_of_its_round_counts(machine: Callable[..., Machine]) -> None:
    clock = machine()
    clock.slow_loads = {(2, 3): 1.3}
    found = clock.compare(fewest_rounds=8, blocks=1)
    assert (found.rounds, found.blocks) == (8, 10)
    assert found.ratio == pytest.approx(2 * 1.3 ** (-1 / 16), rel=1e-12)


def test_where_each_part_loads_its_engine_a_slow_load_counts_too(machine: Callable[..., Machine]) -> None:
    """Further blocks would have other loads, so that their median would hide the slow one."""
    clock = machine()
    clock.moments = {11: 1.3}
    found = clock.compare(fewest_rounds=8, blocks=1, loads_stay=False)
    slow = 1.3 ** (-1 / 16) if clock.parts[11][0] >= 2 else 1.3 ** (1 / 16)
    assert found.blocks == 8
    assert found.ratio == pytest.approx(2 * slow, rel=1e-12)


def test_a_slow_engine_has_no_time_for_further_blocks(machine: Callable[..., Machine]) -> None:
    clock = machine()
    first_of_each_block = range(0, 400, 4)
    clock.factor, clock.moments = 1000, dict.fromkeys(first_of_each_block, 1.45)
    found = clock.compare(fewest_rounds=8, blocks=1, most_seconds=100)  # a block takes 23 to 28 s
    assert (found.rounds, found.blocks) == (4, 4)


def test_a_machine_that_becomes_slower_is_no_difference(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By 0.1 % from one part to the next; in a fixed order the runtime's parts, the last two, are 2 steps later."""
    found = machine(slowdown=1.001).compare()
    assert found.ratio == pytest.approx(2, rel=5e-4)

    monkeypatch.setattr(np.random, "default_rng", InOrder)
    biased = machine(slowdown=1.001).compare()
    assert biased.ratio == pytest.approx(2 * 1.001**-2)


class InOrder:
    """A generator that never shuffles."""

    def __init__(self, seed: int) -> None:
        generator = np.random.Generator(np.random.PCG64(seed))
        self.integers, self.normal = generator.integers, generator.normal

    def permutation(self, n: int) -> Any:
        return range(n)
