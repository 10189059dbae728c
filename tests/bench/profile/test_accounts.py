"""From recorded events to the time of operators without the profiler: made-up calls whose every number is known."""

import numpy as np
import pytest

from bench.profile.accounts import Cost, Event, Slowed, accounts, around_median, calibrated
from bench.profile.measure import at_full_speed

US = 1e-6


def test_the_cost_of_each_event_is_subtracted_from_the_operator_that_it_falls_into() -> None:
    """A convolution of 20 us with two inner operators, and one of 3 us, in a call of 30; each event costs 2 us."""
    within = Event("conv", "conv", (20 + 2 * 2 + 1) * US, events=3), Event("relu", "relu", (3 + 1) * US)
    wall = (30 + 1 + 4 * 2) * US
    found = accounts([within] * 10, [wall] * 10, Cost(call=1 * US, event=2 * US, own_share=0.5))
    assert [one.seconds / US for one in found.operators] == pytest.approx([20, 3])
    assert found.outside / US == pytest.approx(7)
    assert found.total / US == pytest.approx(30)
    assert found.events == 4


def test_where_all_of_its_cost_is_within_an_event_nothing_is_left_outside() -> None:
    found = accounts([[Event("a", "A", 5 * US), Event("b", "B", 7 * US)]], [12 * US], Cost(0.0, 4 * US, 1.0))
    assert [one.seconds / US for one in found.operators] == pytest.approx([1, 3])
    assert found.outside == pytest.approx(0, abs=1e-12)


def test_rounded_times_of_a_clock_give_the_time_between_its_ticks() -> None:
    """A node of 2.3 us between two readings of a clock of whole microseconds, at 10,000 places of the clock."""
    starts = np.random.default_rng(0).uniform(0, 1000, 10_000)
    calls = [[Event("n", "N", (np.floor(start + 2.3) - np.floor(start)) * US)] for start in starts]
    found = accounts(calls, [10 * US] * len(calls), Cost(0.0, 0.0, 1.0))
    assert found.operators[0].seconds / US == pytest.approx(2.3, abs=0.05)


def test_an_operator_is_not_below_nothing() -> None:
    found = accounts([[Event("a", "A", 1 * US)]], [10 * US], Cost(0.0, 4 * US, 1.0))
    assert found.operators[0].seconds == 0
    assert found.total / US == pytest.approx(6)


def test_calls_that_were_interrupted_do_not_count() -> None:
    quick, slow = [Event("a", "A", 5 * US)], [Event("a", "A", 500 * US)]
    walls = [10 * US] * 6 + [900 * US] * 4
    assert set(around_median(walls)) <= set(range(6))
    assert accounts([quick] * 6 + [slow] * 4, walls, Cost(0, 0, 1)).operators[0].seconds == pytest.approx(5 * US)


def test_calls_that_run_different_operators_give_means_by_name() -> None:
    rows = [[Event("a", "A", 4 * US)], [Event("a", "A", 4 * US), Event("b", "B", 6 * US)]] * 20
    found = accounts(rows, [10 * US] * 40, Cost(0, 0, 1))
    assert {one.name: one.seconds for one in found.operators}["a"] == pytest.approx(4 * US)
    assert {one.name: one.seconds for one in found.operators}["b"] == pytest.approx(3 * US)


def test_two_lengths_of_a_graph_give_the_cost_of_an_event_and_of_a_call() -> None:
    """An event of 3 us, and 2 us a call: the operators themselves, 1 us each, take part in both times."""
    small, large = (Slowed(plain=n * US, recorded=(n + 2 + 3 * n) * US, events=n) for n in (7, 31))
    cost = calibrated(small, large, 0.5)
    assert cost.event / US == pytest.approx(3)
    assert cost.call / US == pytest.approx(2)


def test_what_a_call_cannot_cost_is_noise() -> None:
    """6 us in the short graph, where at most an event is possible: 40 us in all are those of 8 and 32 events."""
    small, large = Slowed(0.0, 10 * US, 7), Slowed(0.0, 30 * US, 31)
    cost = calibrated(small, large, 1.0, most_per_call=1.0)
    assert cost.event / US == pytest.approx(1)
    assert cost.call / US == pytest.approx(1)


def test_turns_in_which_the_machine_was_slow_do_not_count() -> None:
    """Three turns of four calls, the first of each a lead-in; a neighbour slowed the second one down."""
    seconds = [*(9.0, 1.0, 1.0, 1.0), *(9.0, 1.3, 1.3, 1.3), *(9.0, 1.02, 1.0, 7.0)]
    assert at_full_speed(seconds, turns=3, lead_in=1) == [1, 2, 3, 9, 10, 11]
