"""Machines with two speeds: which blocks and processes count; by hand, and in simulated sessions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from bench.experiments.two_speeds_simulated import RATIO, WITHIN, Machine, simulate
from bench.regimes import at_full_speed, fast_blocks, level, slow_processes, two_speeds
from study.records.bench import Calibration


def calibration(arithmetic: float = 1.0, memory: float = 1.0) -> Calibration:
    return Calibration(arithmetic_seconds=arithmetic, memory_seconds=memory)


def blocks(factors: ArrayLike) -> NDArray[np.float64]:
    """Blocks whose first engine takes three times as long as the second, both slowed by each factor."""
    return np.outer(np.asarray(factors, dtype=np.float64), [3.0, 3, 1, 1])


def quiet(n: int) -> NDArray[np.float64]:
    """Logarithms of equal calibrations around so many blocks."""
    return np.zeros((n, 2, 2))


def counted(seconds: NDArray[np.float64], around: NDArray[np.float64], given: Calibration | None = None) -> str:
    return "".join("+" if fast else "-" for fast in fast_blocks(seconds, around, given))


# ---- blocks


def test_a_block_counts_if_it_and_its_neighbours_are_fast() -> None:
    assert counted(blocks([1, 1, 1, 1.5, 1.5, 1, 1, 1]), quiet(8)) == "++----++"
    assert counted(blocks([1.5, 1, 1, 1, 1, 1.2]), quiet(6)) == "--++--"
    assert counted(blocks([1, 1.05, 1.09, 1.05, 1]), quiet(5)) == "+++++", "a drift"


@pytest.mark.parametrize(("kind", "slow", "still_fast"), [(0, 1.12, 1.08), (1, 1.55, 1.45)])
@pytest.mark.parametrize("moment", [0, 1])
def test_a_block_counts_if_both_calibrations_around_it_are_fast(
    kind: int, slow: float, still_fast: float, moment: int
) -> None:
    around = quiet(30)
    around[4, moment, kind] = np.log(slow)
    around[9, moment, kind] = np.log(still_fast)
    assert counted(blocks([1] * 30), around) == "+" * 4 + "-" + "+" * 25


def test_the_ratio_has_no_part_in_it() -> None:
    """One engine slower by a third, the other faster by as much: their sum of logarithms stays."""
    seconds = blocks([1.0] * 8)
    seconds[3:5] *= [1.3, 1.3, 1 / 1.3, 1 / 1.3]
    assert counted(seconds, quiet(8)) == "++++++++"
    swapped = blocks([1, 1, 1.5, 1, 1])[:, [2, 3, 0, 1]]
    assert counted(swapped, quiet(5)) == counted(blocks([1, 1, 1.5, 1, 1]), quiet(5)) == "+---+"


def test_a_process_that_is_slow_throughout_needs_the_level_of_others() -> None:
    seconds, around = blocks([1.5] * 4), np.log([1.5, 1.0]) + quiet(4)
    assert counted(seconds, around) == "++++"
    assert counted(seconds, around, calibration()) == "----"
    assert not fast_blocks(seconds, quiet(4), call_seconds=3**0.5).any()
    assert fast_blocks(seconds, quiet(4), call_seconds=1.4 * 3**0.5).all()


def test_noisy_values_have_more_tolerance_up_to_a_limit() -> None:
    """Noise of 3 % spreads over more than 10 %, and two noises as far apart as 1.5 are still told apart."""
    generator = np.random.default_rng(0)
    for noise in (0.01, 0.03):
        factors = generator.lognormal(0, noise, 1000)
        assert fast_blocks(blocks(factors), quiet(1000)).mean() > 0.97
        factors[500:] *= 1.5
        assert fast_blocks(blocks(factors), quiet(1000))[:499].mean() > 0.97
        assert not fast_blocks(blocks(factors), quiet(1000))[500:].any()


# ---- a process


@pytest.mark.parametrize(
    ("rounds", "fast", "valid"),
    [
        ([3] * 10, [3] * 10, True),
        ([3] * 10, [3, 3, 2] + [0] * 7, True),  # eight blocks of 30, in three rounds
        ([3] * 10, [3, 2, 2] + [0] * 7, False),
        ([10] * 10, [10, 10, 4] + [0] * 7, False),  # less than a quarter
        ([10] * 10, [10, 10, 5] + [0] * 7, True),
        ([20] * 3, [20, 20, 0], False),  # two loads alone
        ([1] * 5, [1, 1, 1, 1, 0], True),  # a slow model has few blocks, four of which must count
        ([1] * 5, [1, 1, 1, 0, 0], False),
        ([1] * 3, [1] * 3, True),  # or all
    ],
)
def test_a_comparison_needs_enough_blocks_at_full_speed(rounds: list[int], fast: list[int], valid: bool) -> None:
    kept = [np.arange(n) < m for n, m in zip(rounds, fast, strict=True)]
    reason = two_speeds(kept)
    assert (reason is None) == valid
    if reason:
        assert f"two speeds: {sum(fast)} of {sum(rounds)} blocks" in reason


# ---- a session


def test_the_level_is_that_of_the_fastest_twentieth() -> None:
    assert level([calibration(3, 1), calibration(2, 5)]) == calibration(2, 1)
    many = [calibration(0.5, 0.5), *[calibration(1, 2)] * 10, *[calibration(9, 9)] * 20]
    assert level(many) == calibration(1, 2), "one of 31 may be an error"


@pytest.mark.parametrize(
    ("arithmetic", "memory", "full"),
    [(1, 1, True), (1.09, 1.45, True), (1.11, 1, False), (1, 1.55, False), (0.5, 0.5, True)],
)
def test_full_speed_by_hand(arithmetic: float, memory: float, full: bool) -> None:
    assert at_full_speed(calibration(arithmetic, memory), calibration()) == full


def test_processes_slower_than_the_fastest_have_a_reason() -> None:
    found = slow_processes([calibration(), calibration(1.5, 2), calibration()], [1.0, 1.0, 1.64])
    assert found[0] is None
    assert found[1] is not None
    assert "arithmetic took 50% and memory 100% longer" in found[1]
    assert found[2] is not None
    assert "the calls took 64% longer than in the fastest process" in found[2]
    assert slow_processes([calibration()] * 3, [1.0, 1.03, 1.09]) == [None] * 3


def test_a_comparison_that_was_slow_in_every_process_is_seen_by_the_cases() -> None:
    assert slow_processes([calibration()] * 2, [1.6, 1.64], elsewhere=1.5) == [None, None]
    found = slow_processes([calibration()] * 2, [1.6, 1.64], elsewhere=1.0)
    assert [reason is not None and "those of the cases" in reason for reason in found] == [True, True]


# ---- simulated sessions; `python -m bench.experiments two-speeds-simulated` is the long form


@pytest.mark.parametrize(
    "machine",
    [
        Machine(0),
        Machine(0, calibrations=(1.0, 1.0)),
        Machine(0, engines=(1.8, 1.5), calibrations=(1.0, 1.0)),
    ],
    ids=["calibrations slowed by 1 to 1.8", "calibrations not slowed", "the other engine by 1.8"],
)
def test_at_two_speeds_the_ratio_is_the_undisturbed_one_or_withheld(machine: Machine) -> None:
    outcomes = [simulate(replace(machine, seed=seed), replacements=5) for seed in range(20)]
    shown = [one.ratio for one in outcomes if one.ratio]
    assert all(abs(ratio.value / RATIO - 1) <= WITHIN for ratio in shown)
    assert len(shown) >= 12, "and not always withheld"


def test_without_the_rule_it_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of_them(seconds: NDArray[np.float64], *_: object) -> NDArray[np.bool_]:
        return np.ones(len(seconds), dtype=bool)

    def none_slow(calibrations: Sequence[Calibration], *_: object) -> list[None]:
        return [None] * len(calibrations)

    monkeypatch.setattr("bench.regimes.fast_blocks", all_of_them)
    monkeypatch.setattr("bench.experiments.two_speeds_simulated.slow_processes", none_slow)
    ratios = [simulate(Machine(seed)).ratio for seed in range(10)]
    assert sum(abs(ratio.value / RATIO - 1) > WITHIN for ratio in ratios if ratio) > 5


def test_at_one_speed_nothing_is_withheld_and_nearly_all_blocks_count() -> None:
    """Drift of 3 %, bursts of 1 ms, noise of 1 %."""
    outcomes = [simulate(Machine(seed, contended=False)) for seed in range(20)]
    assert all(one.ratio and one.processes == 5 for one in outcomes)
    assert np.mean([one.counted for one in outcomes]) >= 0.97
