"""The pilot's variances from planted ones, Kalibera and Jones' shares by hand, the limits of time."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from bench.statistics.pilot import Components, Costs, Nested, Shares, components, shares

CALLS, LOADS, PROCESSES = 0.03, 0.01, 0.0066
"""Planted standard deviations of logarithms."""


def planted(generator: np.random.Generator, correlation: float = 0.0, loads: float = LOADS) -> Nested:
    """Two processes with three loads of 400 calls; neighbouring calls with the given correlation."""
    values = []
    for _ in range(2):
        process = generator.normal(0, PROCESSES)
        noise = generator.normal(0, CALLS * math.sqrt(1 - correlation**2), (3, 500))
        calls = lfilter([1], [1, -correlation], noise, axis=1)[:, 100:]
        values.append(list(calls + process + generator.normal(0, loads, (3, 1))))
    return Nested(values)


def test_the_components_are_the_planted_variances() -> None:
    generator = np.random.default_rng(0)
    first, *others = components([planted(generator) for _ in range(400)])
    assert first.processes == pytest.approx(PROCESSES**2, rel=0.25)
    assert first.loads == pytest.approx(LOADS**2, rel=0.1)
    calls = np.mean([one.calls for one in (first, *others)])
    assert calls == pytest.approx(math.pi / 2 * CALLS**2, rel=0.1)  # of a median of normal values
    assert {(one.loads, one.processes) for one in others} == {(first.loads, first.processes)}  # pooled


def test_correlated_calls_count_as_fewer() -> None:
    """Of a first-order autoregressive process with correlation r, n calls count as n (1 - r) / (1 + r)."""
    generator = np.random.default_rng(0)
    plain, correlated = (
        np.mean([one.calls for one in components([planted(generator, correlation) for _ in range(100)])])
        for correlation in (0.0, 0.8)
    )
    assert 4 < correlated / plain < 9  # 9 for means of infinitely long batches; those of 20 calls see most of it


def test_levels_without_a_variance_of_their_own_have_none() -> None:
    calls = [np.array([0.0, 0.1] * 50)] * 2
    (found,) = components([Nested([calls, calls])])
    assert (found.loads, found.processes) == (0, 0)


def test_one_load_and_one_process_show_nothing_of_loads_and_processes() -> None:
    (found,) = components([Nested([[np.array([0.0, 0.1, 0.2, 0.1])]])])
    assert found.calls > 0
    assert (found.loads, found.processes) == (0, 0)


PARTS = Components(calls=0.09, loads=0.01, processes=0.0025)
COSTS = Costs(call=1.0, load=25.0, process=100.0)


def test_the_shares_by_hand() -> None:
    # sqrt(25 / 1 * 0.09 / 0.01) calls, sqrt(100 / 25 * 0.01 / 0.0025) loads
    assert shares(PARTS, COSTS, seconds=1000, processes_are_fixed=False) == Shares(calls=15, loads=4)
    assert shares(PARTS, COSTS, seconds=1000) == Shares(calls=15, loads=25)  # 1000 / (25 + 15)


def test_the_shares_have_the_smallest_variance_of_all_that_take_as_long() -> None:
    best = shares(PARTS, COSTS, seconds=1000)
    taken = best.seconds(COSTS)
    for calls in range(1, 300):
        loads = int(taken / (COSTS.load + calls * COSTS.call))
        if loads:
            assert PARTS.variance(best) <= PARTS.variance(Shares(calls, loads)) * 1.01


def test_the_variance_of_a_process_by_hand() -> None:
    assert PARTS.variance(Shares(calls=3, loads=2)) == pytest.approx(0.0025 + 0.01 / 2 + 0.09 / 6)


LIMITS = [
    ("no variance of loads: three loads share the time", Components(0.09, 0, 0), {"seconds": 999}, Shares(308, 3)),
    ("no variance of calls: one call a load", Components(0, 0.01, 0), {"seconds": 260}, Shares(1, 10)),
    ("enough calls for the percentiles", PARTS, {"seconds": 160, "fewest_calls": 133}, Shares(34, 4)),
    ("three loads, if they take longer", PARTS, {"seconds": 20}, Shares(1, 3)),
    ("as many loads as are wanted", PARTS, {"seconds": 20, "fewest_loads": 5}, Shares(1, 5)),
    ("but not than the longest time", PARTS, {"seconds": 20, "most_seconds": 60}, Shares(3, 1)),
    ("calls are left out before", PARTS, {"seconds": 20, "fewest_calls": 600, "most_seconds": 150}, Shares(25, 3)),
    ("a call that alone takes longer", PARTS, {"seconds": 2, "most_seconds": 10}, Shares(1, 1)),
    ("no more loads than 40", Components(0, 0.01, 0), {"seconds": 1e6}, Shares(1, 40)),
    ("no more calls than are stored", Components(1, 0, 0), {"seconds": 1e6}, Shares(666, 3)),
]


@pytest.mark.parametrize(("parts", "limits", "wanted"), [case[1:] for case in LIMITS], ids=[case[0] for case in LIMITS])
def test_limits_of_the_shares(parts: Components, limits: dict[str, float], wanted: Shares) -> None:
    assert shares(parts, COSTS, **limits) == wanted  # type: ignore[arg-type]
