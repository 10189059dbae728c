"""How often the gate is wrong, and how often it decides: simulated sessions of 36 cases."""

from typing import Any

import numpy as np
import pytest

from bench.gate.decision import decide, exit_code
from bench.gate.welch import contrast

CASES, PROCESSES, DEVIATION, SESSIONS = 36, 5, 0.0066, 2000
"""As many cases as the default study has, and the standard deviation between its processes."""


def exit_codes(true: float | list[float], limit: float, deviation: float = DEVIATION) -> np.ndarray[Any, Any]:
    """The exit code of each of SESSIONS pairs of sessions whose cases grew by `true`."""
    rng = np.random.default_rng(20)
    growth = np.broadcast_to(np.log1p(true), CASES)[:, None]
    old, new = np.exp(rng.normal(0, deviation, (2, SESSIONS, CASES, PROCESSES)))
    verdicts = decide(contrast(old, new * np.exp(growth)), np.log1p(limit))
    return np.array([exit_code(session) for session in verdicts.tolist()])


def share(codes: np.ndarray[Any, Any], code: int) -> float:
    return float((codes == code).mean())


def at_most(rate: float) -> float:
    """What a rate may be found as in so many sessions: 3 standard errors above."""
    return rate + 3 * float(np.sqrt(rate * (1 - rate) / SESSIONS))


@pytest.mark.parametrize("limit", [0.0, 0.03, 0.05])
def test_of_36_cases_at_the_limit_the_gate_fails_in_at_most_5_of_100(limit: float) -> None:
    """The family-wise error: no case grew by more than the limit, and each by as much as is allowed."""
    assert share(exit_codes(limit, limit), 1) <= at_most(0.05)


@pytest.mark.parametrize("limit", [0.03, 0.05])
def test_with_one_case_beyond_the_limit_the_gate_passes_in_at_most_5_of_100(limit: float) -> None:
    assert share(exit_codes([limit] + [0.0] * (CASES - 1), limit), 0) <= at_most(0.05)


@pytest.mark.parametrize(
    ("true", "limit", "code", "power"),
    [
        (0.0, 0.03, 0, 0.99),
        (0.0, 0.05, 0, 0.99),
        (0.05, 0.0, 1, 0.99),
        (0.05, 0.02, 1, 0.90),
        (0.05, 0.03, 1, 0.50),
        (0.08, 0.05, 1, 0.90),
    ],
)
def test_the_power_of_the_gate_with_one_of_36_cases_slower(true: float, limit: float, code: int, power: float) -> None:
    assert share(exit_codes([true] + [0.0] * (CASES - 1), limit), code) >= power


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("speed", [1.06, 1 / 1.06])
def test_a_change_of_the_machines_speed_makes_no_wrong_exit_code(part: float, speed: float) -> None:
    """The engines take some part in the change; one grew by the limit of 5 %, which neither fails nor passes."""
    rng = np.random.default_rng(21)
    limit, machine = np.log1p(0.05), np.log(speed)
    growth = np.array([limit] + [0.0] * (CASES - 1))[:, None] + part * machine
    old, new = rng.normal(0, DEVIATION, (2, SESSIONS, CASES, PROCESSES))
    loops = machine + rng.normal(0, 0.005 * np.sqrt(2 / PROCESSES), (2, SESSIONS, CASES))  # .5 % between processes
    slowed, quickened = loops.max(axis=0).clip(min=0), loops.min(axis=0).clip(max=0)
    verdicts = decide(contrast(np.exp(old), np.exp(new + growth)), limit, slowed, quickened)
    codes = np.array([exit_code(session) for session in verdicts.tolist()])
    assert share(codes, 1) <= at_most(0.05)
    assert share(codes, 0) <= at_most(0.05)


def test_without_holm_the_36_cases_would_fail_far_more_often() -> None:
    """The allowance is needed: the chance of one false alarm in 36 tests at 5 % is 1 - .95^36 = .84."""
    rng = np.random.default_rng(20)
    old, new = np.exp(rng.normal(0, DEVIATION, (2, 500, CASES, PROCESSES)))
    alarms = (contrast(old, new).p_above(0.0) <= 0.05).any(axis=1).mean()
    assert alarms == pytest.approx(1 - 0.95**CASES, abs=0.06)
