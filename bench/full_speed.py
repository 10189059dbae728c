"""Measure while the machine runs at full speed: wait for it before, and see afterwards whether it lasted.

A neighbour or a lower clock rate slows many machines for seconds at a time, by a factor that differs from engine to
engine. The rule looks at the calibration alone, never at the calls: what was timed between two calibrations at full
speed counts, and the rest is timed again, as long as patience lasts.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.calibration import calibrate_briefly
from bench.regimes import at_full_speed, level
from bench.timing import timed_calls
from study.records.bench import Calibration

T = TypeVar("T")
LEVEL_SECONDS = 1.0
"""In which full speed is looked for, where the session does not know it yet."""
STRETCH_SECONDS = 0.1
"""Time of the calls between two calibrations."""
LEAD_IN_SECONDS, MOST_LEAD_IN = 0.003, 64
"""Calls after a calibration that are not counted: it takes the caches as another engine does. One is made at least."""


class SlowMachineError(Exception):
    """The machine did not come to full speed while there was patience: measure this later."""


@dataclass
class Patience:
    """Waits for full speed, for so many seconds in all.

    Raises:
        SlowMachineError: in its methods, when patience ends, if the measurement may be postponed.
    """

    full: Calibration | None
    """Full speed as the session has seen it; None: not known yet, so nothing is waited for."""
    seconds: float
    """What is left."""
    calibrate: Callable[[], Calibration] = calibrate_briefly
    clock: Callable[[], float] = time.perf_counter
    postpone: bool = False
    """Whether the measurement may be made later."""
    waited: float = field(default=0.0, init=False)

    def calibration(self) -> Calibration:
        """The speed at the first moment at which it is full, or when patience ends."""
        began = self.clock()
        while True:
            now = self.calibrate()
            if self.accepts(now):
                return now
            waited = self.clock() - began
            self.spend(waited)
            began += waited

    def accepts(self, *calibrations: Calibration) -> bool:
        """Whether these are at full speed, or there is no patience for better ones."""
        return self.full is None or self.seconds <= 0 or all(at_full_speed(one, self.full) for one in calibrations)

    def steadily(self, measure: Callable[[], T]) -> tuple[T, Calibration, Calibration]:
        """What `measure` gives, and the calibrations before and after it: it begins at full speed, and is measured
        again if that does not last."""
        while True:
            before, began = self.calibration(), self.clock()
            result = measure()
            after = self.calibrate()
            if self.accepts(after):
                return result, before, after
            self.spend(self.clock() - began)

    def spend(self, seconds: float) -> None:
        """Take from the patience."""
        self.seconds -= seconds
        self.waited += seconds
        if self.postpone and self.seconds <= 0:
            raise SlowMachineError


def timed(
    call: Callable[[Any], object], inputs: Iterator[Any], calls: int, call_seconds: float, patience: Patience
) -> tuple[list[float], list[Calibration]]:
    """The seconds of `calls` calls, in stretches of about 0.1 s at full speed, and the calibrations around each.

    Args:
        call_seconds: about the time of one call.
    """
    samples: list[float] = []
    around: list[Calibration] = []
    longest = max(1, int(STRETCH_SECONDS / call_seconds))
    lead_in = max(1, min(MOST_LEAD_IN, int(LEAD_IN_SECONDS / call_seconds))) if call_seconds < STRETCH_SECONDS else 0

    def stretch() -> list[float]:
        timed_calls(call, inputs, lead_in)
        return timed_calls(call, inputs, min(longest, calls - len(samples)))

    while len(samples) < calls:
        seconds, before, after = patience.steadily(stretch)
        samples += seconds
        around += [before, after]
    return samples, around


def found_level(
    calibrate: Callable[[], Calibration] = calibrate_briefly, clock: Callable[[], float] = time.perf_counter
) -> Calibration:
    """Full speed, as far as the machine shows it in a second."""
    until, seen = clock() + LEVEL_SECONDS, [calibrate()]
    while clock() < until:
        seen.append(calibrate())
    return level(seen)
