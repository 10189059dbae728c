"""When a ratio of two latencies counts as a difference."""

import math

from study.records.base import Interval
from study.records.bench import Verdict


def significant(ratio: Interval, floor: float) -> bool:
    """Whether the interval excludes 1 and |ln ratio| exceeds `floor`."""
    return not ratio.low <= 1 <= ratio.high and abs(math.log(ratio.value)) > floor


def verdict(ratio: Interval, noise_floor: float) -> Verdict:
    """The verdict on a runtime, from the ratio of the reference's time to its own and the noise floor as a share."""
    if not significant(ratio, math.log1p(noise_floor)):
        return "no difference shown"
    return "faster" if ratio.value > 1 else "slower"
