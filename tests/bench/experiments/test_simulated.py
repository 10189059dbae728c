"""The claims of intervals and verdicts on a simulated machine: `python -m bench.experiments simulated` in short."""

import math

import numpy as np
import pytest

from bench.experiments.simulated import errors, evaluated, forecasts, held, power
from bench.experiments.simulation import BLOCKS, ROUNDS, Machine, machines
from study.student import mean_interval

EVERYTHING = [name for name in machines() if "all of these" in name]


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_interval_of_a_ratio_holds_it_in_95_of_100_sessions(name: str) -> None:
    generator = np.random.default_rng(0)
    logs = np.concatenate([machines()[name].ratios(generator, 250, 5) for _ in range(8)])
    assert 0.93 <= held(logs, 0.0) <= 0.97


def test_blocks_of_one_process_say_nothing_of_other_processes() -> None:
    """The simulation can fail: without what processes do, as intervals over blocks are, it misses a third and more."""
    logs = Machine(process=0.01).ratios(np.random.default_rng(0), 1000, 5)
    within = Machine(process=0).ratios(np.random.default_rng(1), 1000, 5)
    half = 2.776 * within.std(axis=1, ddof=1) / math.sqrt(5)
    assert np.mean(np.abs(logs.mean(axis=1)) <= half) < 0.7


@pytest.mark.parametrize("rows", [power, errors])
def test_verdicts_are_right_as_often_as_they_should_be(rows: object) -> None:
    for row in rows(np.random.default_rng(0), 1000):  # type: ignore[operator]
        assert row.reached, row


def test_the_forecast_is_about_right() -> None:
    for row in forecasts(np.random.default_rng(0), 100):
        assert row.reached, row


def test_the_fast_estimate_is_that_of_the_bench_and_of_its_intervals() -> None:
    machine, generator = Machine(process=0.01), np.random.default_rng(0)
    blocks = machine.blocks(generator, 5)
    assert blocks.shape == (5, ROUNDS, BLOCKS, 4)
    ratios = [evaluated(one) for one in blocks]
    a1, a2, b1, b2 = np.moveaxis(blocks, -1, 0)
    assert np.log(ratios) == pytest.approx(np.mean(np.median((a1 + a2 - b1 - b2) / 2, axis=-1), axis=-1))
    logs = machine.ratios(generator, 300, 5)
    intervals = [mean_interval(values) for values in np.exp(logs)]
    assert held(logs, 0.0) == np.mean([one.low <= 1 <= one.high for one in intervals])
