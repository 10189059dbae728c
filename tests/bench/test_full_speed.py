"""Waiting for the machine's full speed, with a clock that calibrations move."""

import pytest

from bench.full_speed import Patience, SlowMachineError, timed
from study.records.bench import Calibration

FULL = Calibration(arithmetic_seconds=1.0, memory_seconds=1.0)
SLOW = Calibration(arithmetic_seconds=1.24, memory_seconds=1.24)


class Machine:
    """Slow at some calibrations, counted from 1; each takes a second."""

    def __init__(self, *slow: int) -> None:
        self.now, self.slow = 0, set(slow)

    def calibrate(self) -> Calibration:
        self.now += 1
        return SLOW if self.now in self.slow else FULL

    def patience(self, seconds: float, full: Calibration | None = FULL) -> Patience:
        return Patience(full, seconds, self.calibrate, lambda: self.now)


def test_it_waits_until_the_speed_is_full() -> None:
    machine = Machine(*range(1, 8))
    patience = machine.patience(100)
    assert patience.calibration() == FULL
    assert (machine.now, patience.waited, patience.seconds) == (8, 7, 93)


def test_patience_ends() -> None:
    machine = Machine(*range(1, 1000))
    patience = machine.patience(5)
    assert patience.calibration() == SLOW
    assert machine.now == 6
    assert patience.calibration() == SLOW
    assert machine.now == 7, "none is left"


def test_a_measurement_that_may_be_postponed_ends_with_its_patience() -> None:
    patience = Patience(FULL, 5, Machine(*range(1, 1000)).calibrate, iter(range(100)).__next__, postpone=True)
    with pytest.raises(SlowMachineError):
        patience.calibration()


def test_without_a_known_level_nothing_is_waited_for() -> None:
    machine = Machine(*range(1, 1000))
    assert machine.patience(100, None).calibration() == SLOW
    assert machine.now == 1


@pytest.mark.parametrize(
    ("slow", "seconds", "counted"),
    [
        ((), 100, "113355"),  # three stretches of two calls, between calibrations 1 and 2, 3 and 4, 5 and 6
        ((4,), 100, "115577"),  # it was slow after the second stretch, which is timed again
        ((3, 5), 100, "116688"),  # before it, and then after it
        ((4,), 0, "113355"),  # no patience
    ],
)
def test_what_was_timed_at_less_than_full_speed_is_timed_again(
    slow: tuple[int, ...], seconds: float, counted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call takes as many seconds as there were calibrations before it, and there is one lead-in call."""
    machine = Machine(*slow)

    def timed_calls(call: object, inputs: object, calls: int) -> list[float]:
        return [float(machine.now)] * calls

    monkeypatch.setattr("bench.full_speed.timed_calls", timed_calls)
    samples, around = timed(print, iter(()), 6, 0.04, machine.patience(seconds))
    assert "".join(f"{sample:.0f}" for sample in samples) == counted
    assert len(around) == 6


def test_short_calls_have_a_lead_in_that_is_not_counted() -> None:
    for call_seconds, lead_in in ((1e-5, 64), (1e-3, 3), (0.05, 1), (0.5, 0)):
        made: list[int] = []
        samples, _ = timed(made.append, iter(range(1000)), 2, call_seconds, Machine().patience(0))
        stretches = 2 if call_seconds == 0.5 else 1
        assert (len(samples), len(made)) == (2, 2 + lead_in * stretches)
