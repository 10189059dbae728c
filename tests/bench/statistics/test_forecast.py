"""The forecast: by hand, against what is realised (simulated), and its text."""

import math

import numpy as np
import pytest

from bench.sampling import Budget
from bench.statistics.forecast import MOST_PROCESSES, Measurement, forecast, more_processes, text
from bench.statistics.pilot import Components, Costs, Shares
from study.student import mean_interval

COSTS = Costs(call=0.001, load=0.1, process=0.05)
T4 = 2.7764451  # t of 4 degrees of freedom, two-sided 95 %


def measurement(name: str, deviation: float, batch: int = 1, is_comparison: bool = True) -> Measurement:
    return Measurement(name, batch, is_comparison, Components(0, 0, deviation**2), COSTS, Shares(100, 4))


def test_the_forecast_by_hand() -> None:
    a, b, case = measurement("a", 0.01), measurement("b", 0.005, 32), measurement("case", 1.0, is_comparison=False)
    found = forecast([a, b, case], processes=5)
    assert found.half_widths == pytest.approx(
        {name: math.expm1(T4 * d / math.sqrt(5)) for name, d in (("a", 0.01), ("b", 0.005))}, rel=1e-6
    )
    assert found.process_seconds == pytest.approx(3 * (0.05 + 4 * (0.1 + 100 * 0.001)))
    assert found.seconds == pytest.approx(5 * found.process_seconds)
    assert found.too_wide == ()


def test_without_comparisons_the_cases_decide() -> None:
    assert list(forecast([measurement("case", 0.01, is_comparison=False)]).half_widths) == ["case"]


def test_the_widest_comparison_decides_on_the_processes_for_a_precision() -> None:
    # 1.96 * 0.02 / sqrt(n) <= 0.01 from n = 16; with Student's t from 18: 2.11 * 0.02 / sqrt(18) = 0.00995
    found = forecast([measurement("narrow", 0.001), measurement("wide", 0.02)], precision=0.01)
    assert found.processes == 18
    assert max(found.half_widths.values()) <= 0.01
    assert forecast([measurement("narrow", 0.001)], precision=0.01).processes == 10


def test_more_processes_are_no_shorter_ones() -> None:
    """The forecast rests on the variance of one process, which would grow if they shared the same time."""
    few, many = Budget(seconds=3), Budget(seconds=3).extended(20)
    assert many.processes == 20
    for name in ("process_seconds", "comparison_seconds", "check_seconds"):
        assert getattr(many, name) == pytest.approx(getattr(few, name))


def test_what_no_number_of_processes_makes_precise_is_named() -> None:
    found = forecast([measurement("fine", 0.01), measurement("hopeless", 0.1)], precision=0.01)
    assert found.too_wide == ("hopeless",)
    assert found.processes == MOST_PROCESSES


def test_further_processes_follow_from_the_spread_so_far() -> None:
    deviation = 0.02
    values = list(np.exp(deviation * np.sqrt(7 / 8) * np.array([1, -1] * 4)))  # 8 values with that deviation
    assert np.std(np.log(values), ddof=1) == pytest.approx(deviation)
    assert more_processes({"even": [1.0] * 8, "wide": values}, precision=0.01) == 18 - 8
    assert more_processes({"even": [1.0] * 8}, precision=0.01) == 0
    assert more_processes({"a failed one": [1.0], "none": []}, precision=0.01) == 0
    assert more_processes({"wild": [1.0, 9.0] * 4}, precision=0.01) == MOST_PROCESSES - 8


@pytest.mark.parametrize("deviation", [0.008, 0.012, 0.02, 0.03])
def test_the_interval_holds_after_a_second_stage(deviation: float) -> None:
    generator = np.random.default_rng(0)
    held = []
    for values in np.exp(generator.normal(0, deviation, (5000, MOST_PROCESSES))):
        found = mean_interval(values[: 10 + more_processes({"ratio": values[:10]}, precision=0.01)])
        held.append(found.low <= 1 <= found.high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_the_text() -> None:
    found = forecast([measurement("baseline torch/onnxruntime batch 1", 0.0128), measurement("b", 0.005, 32)])
    assert text(found, pilot_processes=2, pilot_seconds=24, cold_start_seconds=350) == [
        "pilot: 2 processes, 24 s",
        "forecast: 5 processes of 2 s, then cold starts: 6 min; 95 % intervals of ±1.6% at batch 1, ±0.6% at "
        "batch 32 (median), widest ±1.6%: baseline torch/onnxruntime batch 1",
    ]
    hopeless = forecast([measurement(name, 0.1) for name in "abcd"], precision=0.01)
    assert text(hopeless, 2, 24)[-1] == (
        "the precision is not expected within 40 processes for a, b, c and 1 more: "
        "give more --seconds, or a quieter machine"
    )
