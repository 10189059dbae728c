"""Two fake sides that take turns on a clock of their own: order, lead-in, full speed, ratio and its interval."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.ab.alternate import Alternation, alternate, calibrated, order, probe, warmed_up
from bench.ab.pair import take_turns
from bench.ab.protocol import Calibrate, Calibrated, Part, Request, Timed
from bench.ab.turns import Engine, now
from bench.full_speed import Patience, SlowMachineError
from study.student import mean_interval


class Clock:
    """A machine with a clock of its own, on which fake sides take turns; `pace` is its slowness at a time."""

    def __init__(self, pace: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now, self.pace = 0.0, pace
        self.running: Fake | None = None
        self.log: list[Fake] = []

    def clock(self) -> float:
        return self.now


class Fake:
    """A side whose calls take `seconds`; those after a switch more, by `effects`."""

    def __init__(self, machine: Clock, seconds: float, effects: Sequence[float] = ()) -> None:
        self.machine, self.seconds, self.effects = machine, seconds, effects
        self.memory = 1e-4
        """Seconds of its calibration by memory."""

    def ask(self, request: Request, kind: type[Any]) -> Any:
        machine = self.machine
        if isinstance(request, Calibrate):
            machine.now += 3e-4
            pace = machine.pace(machine.now)
            return Calibrated(arithmetic_seconds=1e-4 * pace, memory_seconds=self.memory * pace)
        assert isinstance(request, Part)
        switched, machine.running = machine.running is not self, self
        machine.log.append(self)
        durations = []
        for i in range(request.lead_in + request.calls):
            effect = self.effects[i] if switched and i < len(self.effects) else 0.0
            durations.append(self.seconds * (1 + effect) * machine.pace(machine.now))
            machine.now += durations[-1]
        seconds = float(np.median(durations[request.lead_in :]))
        wall = sum(durations)
        return Timed(seconds=seconds, wall=wall, cpu=wall, switches=0, idle_wall=1.0, idle_cpu=0.0, durations=durations)


def impatient(a: Fake, b: Fake) -> list[Patience]:
    """Wait for nothing."""
    return [Patience(None, 0, partial(calibrated, side), side.machine.clock) for side in (a, b)]


def taken_turns(a: Fake, b: Fake, seconds: float = 2.0, seed: int = 0) -> Alternation:
    chance, into = np.random.default_rng(seed), Alternation()
    speeds = [warmed_up(each, 1.0) for each in (a, b)]
    probe((a, b), speeds, 0.5, chance, into)
    for _ in range(3):
        alternate((a, b), seconds / 3, chance, into, impatient(a, b))
    return into


@pytest.mark.parametrize("planted", [1.0, 1.1, 0.9])
def test_the_ratio_is_that_of_the_sides_and_each_against_itself_is_1(planted: float) -> None:
    machine = Clock()
    result = taken_turns(Fake(machine, 1e-3), Fake(machine, planted * 1e-3)).result()
    assert result.ratio == pytest.approx(planted)
    assert result.controls == pytest.approx((1, 1))
    assert result.seconds == pytest.approx((1e-3, planted * 1e-3))
    assert result.reason is None


def test_slower_calls_after_a_switch_do_not_reach_the_ratio() -> None:
    machine = Clock()
    effects = [0.5, 0.22, 0.2, 0.15, 0.1, 0.07, 0.04, 0.03, 0.02, 0.012]
    turns = taken_turns(Fake(machine, 1e-3, effects), Fake(machine, 1e-3))
    assert turns.result().ratio == pytest.approx(1, abs=1e-3)
    a, b = turns.sides
    assert (a.lead_in, b.lead_in) == (10, 1)
    assert a.after_switch
    assert a.after_switch.effects == pytest.approx(effects, abs=1e-6)


def test_a_steady_drift_of_the_machine_cancels_within_a_block() -> None:
    machine = Clock(lambda now: 1 + 0.01 * now)
    assert taken_turns(Fake(machine, 1e-3), Fake(machine, 1.1e-3)).result().ratio == pytest.approx(1.1, rel=1e-4)


def test_blocks_in_which_the_machine_was_slow_do_not_count() -> None:
    """One side suffers more than the other, as on a machine with a busy sibling core."""

    class Sensitive(Fake):
        def ask(self, request: Request, kind: type[Any]) -> Any:
            self.seconds = 1e-3 * (1.2 if self.machine.pace(self.machine.now) > 1 else 1.0)
            return super().ask(request, kind)

    machine = Clock(lambda now: 1.5 if 1.0 < now < 2.0 else 1.0)
    result = taken_turns(Fake(machine, 1e-3), Sensitive(machine, 1e-3), seconds=4.0).result()
    assert result.ratio == pytest.approx(1)
    assert 0 < result.full_speed_blocks < result.blocks


def test_both_wait_for_full_speed_and_the_record_says_how_long() -> None:
    machine = Clock(lambda now: 1.5 if 4.0 < now < 5.0 else 1.0)
    a, b = Fake(machine, 1e-3), Fake(machine, 1e-3)
    done = take_turns((a, b), lambda: None, 4.0, np.random.default_rng(0), machine.clock)
    result = done.result()
    assert result.full_speed_blocks == result.blocks
    assert 0.9 < done.waited < 1.1


def test_waiting_has_a_bound_after_which_the_measurement_is_postponed_or_made_at_any_speed() -> None:
    machine = Clock(lambda now: 1.0 if now < 2.1 else 1.5)
    sides = Fake(machine, 1e-3), Fake(machine, 1e-3)
    with pytest.raises(SlowMachineError):
        take_turns(sides, lambda: None, 1.0, np.random.default_rng(0), machine.clock, postpone=True)
    full = calibrated(Fake(Clock(), 1e-3))
    done = take_turns(sides, lambda: None, 1.0, np.random.default_rng(0), machine.clock, (full, full))
    assert done.rounds
    assert 2.0 <= done.waited < 2.1


def test_a_side_whose_memory_lies_worse_is_no_slower_machine() -> None:
    machine = Clock()
    a, b = Fake(machine, 1e-3), Fake(machine, 1.1e-3)
    b.memory = 1.5e-4
    result = taken_turns(a, b).result()
    assert result.full_speed_blocks == result.blocks


class Varying(Fake):
    """A side whose speed depends on the process, and on the load in it."""

    def __init__(self, machine: Clock, seconds: float, chance: np.random.Generator) -> None:
        super().__init__(machine, seconds)
        self.own, self.chance = seconds * np.exp(chance.normal(0, PROCESS_SD / 2**0.5)), chance

    def load(self) -> None:
        self.seconds = self.own * np.exp(self.chance.normal(0, LOAD_SD))


PROCESS_SD, LOAD_SD = 0.0066, 0.01
"""Standard deviations of the logarithms: of a ratio from process to process, and of an engine from load to load."""


@pytest.mark.parametrize(("planted", "shown"), [(1.0, (0.0, 0.05)), (1.10, (0.99, 1.0))])
def test_the_interval_over_pairs_holds_the_truth_and_shows_what_was_planted(
    planted: float, shown: tuple[float, float]
) -> None:
    """150 simulated comparisons of five pairs of processes each, loads and turns as in `bench ab --seconds 0.5`."""
    chance = np.random.default_rng(15)
    n, held, slower = 150, 0, 0
    for _ in range(n):
        ratios = []
        for _ in range(5):
            machine = Clock()
            a, b = Varying(machine, 5e-3, chance), Varying(machine, planted * 5e-3, chance)

            def load(a: Varying = a, b: Varying = b) -> None:
                a.load()
                b.load()

            ratios.append(take_turns((a, b), load, 0.5, chance, machine.clock).result().ratio)
        ratio = mean_interval(ratios)
        held += ratio.low <= planted <= ratio.high
        slower += ratio.low > 1
    assert stats.binomtest(held, n, 0.95).pvalue > 0.001
    assert shown[0] <= slower / n <= shown[1]


def test_a_block_is_abba_or_baab_each_as_often_by_chance() -> None:
    chance = np.random.default_rng(0)
    counts = Counter(order(chance) for _ in range(1000))
    assert counts.keys() == {(0, 1, 1, 0), (1, 0, 0, 1)}
    assert stats.binomtest(counts[0, 1, 1, 0], 1000).pvalue > 0.01


def test_a_call_of_seconds_is_one_part_and_the_first_call_may_compile() -> None:
    machine = Clock()
    slow = Fake(machine, 2.0, effects=[30.0])
    assert warmed_up(slow, 1.0) == 2.0
    into = Alternation()
    probe((slow, Fake(machine, 2.0)), (2.0, 2.0), 0.5, np.random.default_rng(0), into)
    assert [(each.lead_in, each.calls) for each in into.sides] == [(1, 1), (1, 1)]
    before = machine.now
    other = Fake(machine, 2.0)
    alternate((slow, other), 0.5, np.random.default_rng(0), into, impatient(slow, other))
    assert len(into.rounds[-1]) == 1
    assert machine.now - before < 4 * (2 * 2.0 + 60)


@pytest.mark.parametrize(("preempted", "counted"), [((2, 0), 0), ((0, 1), 0), ((3, 4), 3)])
def test_preemptions_count_beyond_one_in_the_timed_calls_of_a_part(
    preempted: tuple[int, int], counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`preempted`: how often during the lead-in calls, and during the timed ones."""
    lead_in, timed = preempted
    during_calls = iter((lead_in, 0, timed, 0, 0))
    seen = 0

    def call(_: object) -> None:
        nonlocal seen
        seen += next(during_calls)

    monkeypatch.setattr("resource.getrusage", lambda _: SimpleNamespace(ru_nivcsw=seen))
    engine: Any = object.__new__(Engine)
    engine.runtime, engine.call, engine.inputs = SimpleNamespace(context=nullcontext), call, repeat(None)
    engine.idle, engine.waiting = [0.0, 0.0], now()
    assert engine.part(Part(2, 3)).switches == counted
