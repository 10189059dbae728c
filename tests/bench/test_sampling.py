"""How many calls are timed, and after which warm-up: with a clock that only the calls move, in exact durations."""

import contextlib
import gc
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from bench.sampling import (
    MOST_SAMPLES,
    QUICK_SAMPLES,
    Budget,
    Schedule,
    garbage_collector_held,
    warm_up,
)
from bench.statistics.percentiles import FEWEST_SAMPLES
from bench.statistics.pilot import Shares
from bench.timing import timed_calls


class Clock:
    """A clock that each call moves by the duration of that call."""

    def __init__(self, durations: Iterable[float]) -> None:
        self.now, self.durations = 0.0, iter(durations)

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += next(self.durations)


# ---- warm-up


def test_warm_up_ends_when_the_latency_is_stable() -> None:
    # one call alone, then blocks of five: of 4 s, of 4 and 1 s mixed, and three of 1 s
    clock = Clock(itertools.chain([9], [4] * 8, itertools.repeat(1)))
    warmed = warm_up(clock.call, limit_seconds=100, clock=clock)
    assert warmed.stable
    assert (warmed.calls, warmed.call_seconds) == (1 + 5 * 5, 1)
    assert warmed.seconds == 8 * 4 + 17 * 1


def test_the_first_call_does_not_count_towards_the_limit() -> None:
    """torch.compile takes half a minute for it."""
    clock = Clock(itertools.chain([30], itertools.repeat(0.25)))
    warmed = warm_up(clock.call, limit_seconds=5, clock=clock)
    assert warmed.stable
    assert (warmed.calls, warmed.seconds) == (1 + 3 * 5, 15 * 0.25)


def test_warm_up_stops_at_the_limit_if_the_latency_never_settles() -> None:
    clock = Clock(0.001 * 1.01**n for n in itertools.count())
    warmed = warm_up(clock.call, limit_seconds=3.0, clock=clock)
    assert not warmed.stable
    assert 3.0 <= warmed.seconds < 4.0


def test_calls_longer_than_the_limit_can_still_be_stable() -> None:
    clock = Clock(itertools.repeat(1))
    warmed = warm_up(clock.call, limit_seconds=0, clock=clock)
    assert (warmed.calls, warmed.seconds, warmed.call_seconds, warmed.stable) == (1 + 3 * 5, 15, 1, True)


@pytest.mark.parametrize(
    ("call_seconds", "most_seconds", "calls", "stable", "enough"),
    [
        (1, 15, 1 + 3 * 5, True, True),
        (1, 14, 1 + 3, True, True),  # no time for three blocks of five calls: single ones
        (1, 2, 1 + 2, False, False),
        (1, 0, 1, False, False),
        (60, 14, 1 + 1, False, False),
    ],
)
def test_the_warm_up_of_a_slow_model_is_shorter(
    call_seconds: float, most_seconds: float, calls: int, stable: bool, enough: bool
) -> None:
    clock = Clock(itertools.repeat(call_seconds))
    warmed = warm_up(clock.call, most_seconds=most_seconds, clock=clock)
    assert (warmed.calls, warmed.stable, warmed.enough, warmed.call_seconds) == (calls, stable, enough, call_seconds)


def test_the_first_call_counts_where_the_engine_was_called_before() -> None:
    clock = Clock(itertools.repeat(60))
    warmed = warm_up(clock.call, most_seconds=14, clock=clock, called=True)
    assert (warmed.calls, warmed.call_seconds) == (1, 60)


def test_a_block_of_short_calls_takes_20_ms() -> None:
    clock = Clock(itertools.repeat(2**-10))
    warmed = warm_up(clock.call, limit_seconds=0, clock=clock)
    assert warmed.calls == 1 + 3 * 21  # 20 of them take 19.5 ms


@pytest.mark.parametrize(("slowest", "stable"), [(103, True), (104, False)])
def test_three_blocks_within_3_percent_are_stable(slowest: int, stable: bool) -> None:
    clock = Clock([1] + [slowest] * 5 + [100] * 5 + [102] * 5 + [200] * 5)
    after_three = 5 * (slowest + 100 + 102)
    warmed = warm_up(clock.call, limit_seconds=after_three + 1, clock=clock)
    assert warmed.stable == stable
    assert warmed.calls == 1 + 5 * (3 if stable else 4)


def test_a_single_outlier_in_a_block_does_not_count() -> None:
    """The value of a block is its median."""
    clock = Clock([1] + [1, 1, 50, 1, 1] * 3)
    assert warm_up(clock.call, limit_seconds=1000, clock=clock).stable


# ---- budget


def test_number_of_samples_in_a_process() -> None:
    for budget, call_seconds, samples in (
        (Budget(seconds=4), 1e-3, 800),  # as many as fit into the time, a fifth of them
        (Budget(seconds=4, processes=8), 1e-3, 500),
        (Budget(), 1e-5, MOST_SAMPLES / 5),  # no more than are stored
        (Budget(), 1.0, 26),  # enough for p95: 130 in all
        (Budget(percentiles=(50, 99)), 1.0, 133),
        (Budget(percentiles=(99.9, 50)), 1e-3, 1328),  # enough for the highest percentile
        (Budget(percentiles=(50,)), 10.0, 2),  # enough for the median alone
        (Budget(quick=True, processes=1), 1e-5, QUICK_SAMPLES),  # few, however long a call takes
        (Budget(quick=True, processes=1), 1.0, QUICK_SAMPLES),
    ):
        assert budget.samples(call_seconds) == samples


def test_a_measurement_takes_at_most_60_times_its_seconds_and_8_times_in_a_quick_run() -> None:
    assert [Budget(seconds=s).most_seconds for s in (2, 0.3)] == [120, pytest.approx(18)]
    assert [Budget(processes=n).process_seconds for n in (5, 10)] == [12, 6]
    assert Budget(quick=True, processes=1).process_seconds == 8


ONE = Budget(processes=1)


@pytest.mark.parametrize(
    ("budget", "call_seconds", "left", "calls", "loads"),
    [
        (ONE, 1e-4, 55, 5000, 5),  # as many as are wanted
        (ONE, 0.008, 55, 5000, 5),
        (ONE, 0.08, 55, 682, 5),  # 687 fit: one of each load warms it up
        (ONE, 0.2, 55, 271, 4),  # 275 fit: 64 in a load at least
        (ONE, 1, 55, 54, 1),
        (ONE, 3, 55, 17, 1),
        (ONE, 10, 55, 4, 1),
        (ONE, 100, 0, 1, 1),  # one call is made in any case
        (replace(ONE, quick=True), 0.05, 6, 70, 1),
        (replace(ONE, quick=True), 0.5, 6, 11, 1),
    ],
)
def test_a_slow_model_has_the_calls_that_fit(
    budget: Budget, call_seconds: float, left: float, calls: int, loads: int
) -> None:
    assert budget.schedule(call_seconds, left, Shares(1000, 5)) == Schedule(calls, loads)


def test_without_a_pilot_a_process_loads_a_model_twice() -> None:
    schedule = Budget().schedule(1e-4, 10)
    assert (schedule.calls, schedule.loads) == (2000, 2)
    assert Budget(quick=True, processes=1).schedule(1e-4, 10).loads == 1


def test_the_remedy_names_the_seconds_in_which_the_calls_fit() -> None:
    for call_seconds, percent in ((0.1, 99), (2, 99), (2, 90), (10, 50)):
        budget = Budget(percentiles=(percent,))
        needed = FEWEST_SAMPLES[percent]
        seconds = float(budget.remedy(call_seconds, needed).removeprefix("give --seconds "))
        longer = replace(budget, seconds=seconds)
        left = longer.process_seconds - 3 * longer.check_seconds  # two engines' outputs and a warm-up
        assert longer.processes * longer.schedule(call_seconds, left).calls >= needed
    assert Budget(quick=True).remedy(1, 1) == "leave out --quick"


def test_a_quick_run_reports_p90_and_no_more() -> None:
    assert FEWEST_SAMPLES[90] <= QUICK_SAMPLES < FEWEST_SAMPLES[95]


def test_a_comparison_takes_three_times_as_long_as_a_case() -> None:
    assert Budget(seconds=2).comparison_seconds == pytest.approx(6 / 5)
    assert Budget(seconds=2, quick=True).comparison_seconds == 0


def test_each_call_is_timed_alone() -> None:
    freed = []

    class Output:
        def __del__(self) -> None:
            freed.append(time.perf_counter())

    seconds = timed_calls(lambda given: Output() if given else None, iter([0, 1, 1]), 3)
    assert len(seconds) == 3
    assert len(freed) == 2
    assert min(seconds) > 0


# ---- garbage collector


@pytest.fixture
def _collector() -> Iterator[None]:
    """Restore the collector after a test that fails to."""
    assert gc.isenabled()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("_collector")
def test_the_collector_is_disabled_and_restored_even_after_a_failure() -> None:
    seen = []
    with contextlib.suppress(KeyboardInterrupt), garbage_collector_held():
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))
        raise KeyboardInterrupt
    assert seen == [(False, True)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("_collector")
def test_a_collector_that_was_disabled_stays_disabled() -> None:
    gc.disable()
    with garbage_collector_held():
        pass
    assert not gc.isenabled()


@pytest.mark.usefixtures("_collector")
def test_garbage_is_collected_first() -> None:
    garbage: list[object] = []
    garbage.append(garbage)
    del garbage
    with garbage_collector_held():
        assert gc.collect() == 0
