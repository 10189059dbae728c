"""The parts of a block: lead-in calls, then timed ones.

An engine's first calls after another one has run are slower, and do not count for the ratio: the other has displaced
its weights from the caches and its branches from the predictor. In one case ONNX Runtime's calls 1, 2, 3, 4 after a
switch took 1.22, 1.10, 1.07 and 1.04 times the later ones. How many lead-in calls an engine needs is found in the
process, from the first blocks, which have as many as may be needed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.sampling import again_calls
from bench.timing import timed_calls
from study.records.bench import AfterSwitch

PART_SECONDS = 0.003
FEWEST_CALLS = 3
EQUAL_CALLS, EQUAL_SECONDS = 10, 0.03
"""Parts of fewer timed calls have as many in both engines, and as many lead-in calls, if they do not take longer."""
WITHIN = 0.005
"""An effect of the index of a call that does not matter."""
MOST_CALLS, MOST_SECONDS = 64, 0.02
"""Most lead-in calls of a part; one is made at least. To load 10 MB of weights again takes 1 ms."""
PROBE_PARTS, FEWEST_PROBE_PARTS = 12, 6
"""Parts of an engine, two a block, from which the number is taken, and the fewest where the time is short."""


Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """Number of calls in a part of the reference and of the runtime."""

    calls: tuple[int, int]
    """Timed ones."""
    lead_in: tuple[int, int]
    """Those before them, in the first blocks."""
    known: bool = False
    """Whether the later blocks have as many; else the number is found from the first ones."""


def plan_parts(
    call_seconds: Sequence[float],
    rounds: int,
    most_seconds: float = math.inf,
    lead_in_calls: tuple[int, int] | None = None,
) -> Parts:
    """Parts of about 3 ms and at least 3 calls; of a slow model one call after one, if else the rounds do not fit.

    Args:
        call_seconds: of the reference and of the runtime.
        rounds, most_seconds: so many rounds of one block should fit in the time.
        lead_in_calls: where they are known, from an earlier process.
    """
    fewest = [max(FEWEST_CALLS, math.ceil(PART_SECONDS / seconds)) for seconds in call_seconds]
    equal = min(EQUAL_CALLS, max(fewest))
    a, b = (
        max(calls, equal) if equal * seconds <= EQUAL_SECONDS else calls
        for calls, seconds in zip(fewest, call_seconds, strict=True)
    )
    most = (most_lead_in(call_seconds[0]), most_lead_in(call_seconds[1]))
    parts = Parts((a, b), lead_in_calls or most, known=lead_in_calls is not None or most == (1, 1))
    if rounds * round_seconds(call_seconds, parts) > most_seconds:
        return Parts((1, 1), (1, 1), known=True)
    return parts


def round_seconds(call_seconds: Sequence[float], parts: Parts, blocks: int = 1) -> float:
    """Shortest time for a round: each engine is loaded twice, warmed up again, and timed."""
    both = zip(call_seconds, parts.calls, parts.lead_in, strict=True)
    return sum(2 * seconds * (again_calls(seconds) + blocks * (calls + before)) for seconds, calls, before in both)


def part(call: Callable[[Any], object], inputs: Iterator[Any], calls: int) -> Seconds:
    """The seconds of each of `calls` calls."""
    return np.array(timed_calls(call, inputs, calls))


def timed_seconds(part: Seconds, calls: int) -> float:
    """Median of the timed calls, the last ones; numpy's function takes ten times as long for so few."""
    ordered = np.sort(part[-calls:])
    return float(ordered[(calls - 1) // 2] + ordered[calls // 2]) / 2


def probed(parts: Parts, timed: Sequence[Sequence[Seconds]], short: bool) -> Parts:
    """The parts with the lead-in calls that the engines need, once enough were timed to know.

    Args:
        timed: of each engine, the seconds of all calls of each part.
        short: time is short, and fewer parts must do.
    """
    if len(timed[0]) < (FEWEST_PROBE_PARTS if short else PROBE_PARTS):
        return parts
    a, b = (lead_in_calls(several, calls) for several, calls in zip(timed, parts.calls, strict=True))
    if min(parts.calls) < EQUAL_CALLS:
        a, b = (min(max(a, b), most) for most in parts.lead_in)
    return Parts(parts.calls, (a, b), known=True)


def most_lead_in(call_seconds: float) -> int:
    """Number of lead-in calls in the first blocks, by the time of one call."""
    return max(1, min(MOST_CALLS, int(MOST_SECONDS / call_seconds)))


def lead_in_calls(parts: Sequence[Seconds], calls: int) -> int:
    """The fewest lead-in calls after which the effect of the index of a call stays below `WITHIN`, beyond noise.

    The effect is a median over the parts. The later the index the more of its successors are averaged with it, an
    eighth of the index: effects decay ever more slowly, and the mean is less noisy. Noise is two standard errors of the
    median, from the parts' median absolute deviation.

    Args:
        parts: seconds of all calls of each part; the last `calls` of each are the timed ones.
    """
    relative = np.array([part / timed_seconds(part, calls) - 1 for part in parts])
    lead_in = relative.shape[1] - calls
    needed = 1
    for index in range(lead_in):
        effects = relative[:, index : index + 1 + index // 8].mean(axis=1)
        effect = float(np.median(effects))
        noise = 2 * 1.2533 * 1.4826 * float(np.median(np.abs(effects - effect))) / np.sqrt(len(effects))
        if abs(effect) > WITHIN + noise:
            needed = index + 1
    return needed


def after_switch(parts: Sequence[Seconds], calls: int, lead_in: int) -> AfterSwitch:
    """The effect of the index of each lead-in call: medians over the parts, which may have more lead-in calls."""
    if not lead_in:
        return AfterSwitch(lead_in_calls=0, effects=())
    effects = np.median([part[:lead_in] / timed_seconds(part, calls) - 1 for part in parts], axis=0)
    return AfterSwitch(lead_in_calls=lead_in, effects=tuple(map(float, effects)))
