"""Changes of level in a series: where they are, and that flat series show none beyond the stated rate."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom

from bench.experiments.steps import LEVEL, Tally, planted
from bench.history.change_points import SHORTEST, change_points, fewest
from bench.history.change_points import _Ranked as Ranked
from bench.history.change_points import _Splits as Splits


def noise(n: int, seed: int = 0) -> np.ndarray:
    return 0.0085 * np.random.default_rng(seed).normal(size=n)


def energy(x: np.ndarray, y: np.ndarray) -> float:
    """Equations 5 and 6 of Matteson & James with alpha = 1, over all pairs one by one."""
    n, m = len(x), len(y)
    between = 2 * sum(abs(a - b) for a in x for b in y) / (n * m)
    within = [2 * sum(abs(a - b) for a, b in combinations(part, 2)) / (len(part) * (len(part) - 1)) for part in (x, y)]
    return float(n * m / (n + m) * (between - sum(within)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_statistic_is_that_of_the_paper(seed: int) -> None:
    values = noise(20, seed)
    ranked, splits = Ranked.of(values), Splits.of(20, 1)
    statistics, places = splits.largest(ranked.sums(ranked.order, splits.grid))
    starts = range(SHORTEST, 20 - SHORTEST + 1)
    stays = {tau: energy(values[:tau], values[tau:]) for tau in starts}
    ends = {
        (tau, kappa): energy(values[:tau], values[tau:kappa]) for tau in starts for kappa in range(tau + SHORTEST, 21)
    }
    assert statistics[:, 0] == pytest.approx([max(stays.values()), max(ends.values())], rel=1e-4)
    assert list(places[:, 0]) == [max(stays, key=stays.__getitem__), max(ends, key=ends.__getitem__)[0]]


@pytest.mark.parametrize(("level", "n"), [(0.05, 9), (0.05 / 54, 15)])
def test_a_series_has_enough_values_once_its_clearest_arrangement_can_be_significant(level: float, n: int) -> None:
    """Two of the 126 arrangements of four and five values are as clear: 2 x 2 / 126 = .032; of four and four .057."""
    assert fewest(level) == n
    clear = [1.0] * (n // 2 + 3) + [2.0] * (n // 2 + 3) + noise(2 * (n // 2 + 3))
    assert [change.index for change in change_points(clear, level)] == [n // 2 + 3]


@pytest.mark.parametrize(("n", "by"), [(40, 0.03), (100, -0.05)])
def test_a_step_is_found_where_it_is(n: int, by: float) -> None:
    values = noise(n) + by * (np.arange(n) >= n // 2)
    (change,) = change_points(values, LEVEL)
    assert abs(change.index - n // 2) <= 1
    assert change.p <= LEVEL


def test_a_rise_that_was_mended_is_two_changes() -> None:
    values = noise(40)
    values[15:25] += 0.03
    assert [change.index for change in change_points(values, LEVEL)] == pytest.approx([15, 25], abs=1)


def test_odd_sessions_neither_hide_a_step_nor_are_one() -> None:
    values = noise(40)
    values[[3, 30]] += 0.4
    assert not change_points(values, 0.05)
    values[20:] += 0.03
    assert [change.index for change in change_points(values, LEVEL)] == pytest.approx([20], abs=2)


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 40, [1.0] * 39 + [2.0]])
def test_without_a_second_level_there_is_no_change(values: list[float]) -> None:
    assert change_points(values, 0.05) == ()


def test_the_same_values_give_the_same_changes_in_any_unit() -> None:
    values = noise(40) + 0.02 * (np.arange(40) >= 28)
    assert change_points(values, 0.05) == change_points(values, 0.05) != ()
    indices = [[change.index for change in change_points(scale * values + 7, 0.05)] for scale in (1, 1e-3, -8)]
    assert indices[0] == indices[1] == indices[2]


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_flat_series_change_no_more_often_than_stated(level: float) -> None:
    random, series = np.random.default_rng(11), 120
    alarms = sum(bool(change_points(planted([], random).values, level)) for _ in range(series))
    assert alarms <= binom.ppf(0.999, series, level)


def test_100_flat_series_show_no_change_at_the_level_of_such_a_set() -> None:
    random = np.random.default_rng(12)
    assert not any(change_points(planted([], random).values, 0.05 / 100) for _ in range(100))


@pytest.mark.parametrize(("by", "first", "at_least"), [(0.02, 20, 4), (-0.03, 30, 5), (0.05, 35, 5)])
def test_planted_steps_are_found_within_five_of_40_sessions(by: float, first: int, at_least: int) -> None:
    """In 6 series, at the level of 54; `python -m bench.experiments steps` is the long form."""
    random, tally = np.random.default_rng(13), Tally()
    for _ in range(6):
        tally.add(planted([(first, by)], random), [(first, by)], LEVEL)
    assert tally.found >= at_least
    assert tally.others <= 1
