"""Machines with two speeds: which blocks, and which processes, ran at the machine's full speed.

A neighbour on the sibling hyper-thread or in a shared cache slows this process for seconds or minutes, unseen by the
operating system, and one engine more than the other, so that pairing does not cancel it. What counts is decided by a
rule fixed beforehand that is symmetric in the engines and never looks at their ratio: a block counts if the machine
ran at full speed before, during and after it. The evidence is

    calibrations   of arithmetic and memory before and after the block, each against its full-speed level
    the block      the mean logarithm of its four parts, against the level of the fast blocks; likewise its neighbours

The level is that of the fastest twentieth. At full speed is what exceeds it by less than 10 %: an undisturbed machine
drifts by 3 %, and slowdowns of 1.5 exceed it by 50 %. Where the noise, from one value to the next, is larger than the
2 % for which this suffices, five standard deviations of it are allowed (1.6 from the level to the middle, 3.4 above),
but never more than 20 %, half of a slowdown of 1.5 in logarithms. On a quiet machine (AMD EPYC) the noise of arithmetic
was 0.4 %, that of memory 2.5 %, and memory took 4 % longer right after other work; so memory has 50 %, always.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from study.records.bench import Calibration

TOLERANCE, MOST_TOLERANCE = math.log(1.1), math.log(1.2)
KINDS = (TOLERANCE, math.log(1.5))
"""Of arithmetic and memory. On a virtual machine whose neighbours share the last cache the second took up to 2.5 times
as long while the first stayed as it was; what slows an engine too shows in its own times."""
NOISES = 5
"""Standard deviations of the noise that are tolerated."""
FASTEST = 20
"""One in this number of values may be faster than the level: a slip of the clock or a lucky moment."""
FEWEST_BLOCKS, FEWEST_SHARE, FEWEST_ROUNDS = 4, 0.25, 3
"""Fewest blocks at full speed, and rounds with such blocks, of a valid comparison; of a comparison with fewer all."""
REMEDY = "measure again without neighbours, or with more --processes"

Logs = NDArray[np.float64]


def fast_blocks(
    seconds: Logs, calibrations: Logs, given: Calibration | None = None, call_seconds: float | None = None
) -> NDArray[np.bool_]:
    """Which blocks count: booleans [blocks], in the order of time.

    Args:
        seconds: [blocks, 4], the parts of the two engines.
        calibrations: logarithms of seconds, [blocks, 2, 2]: before and after a block, arithmetic and memory.
        given: full-speed level from earlier in the session.
        call_seconds: likewise the geometric mean of the time of a call of both engines.
    """
    sums = np.log(seconds).mean(axis=1)
    earlier = math.log(call_seconds or math.inf)
    during = sums <= min(_level(sums), earlier) + _tolerance(np.diff(sums), TOLERANCE)
    neighbours = np.concatenate([[True], during, [True]])
    fast: NDArray[np.bool_] = during & neighbours[:-2] & neighbours[2:]
    for kind, (start, fewest) in enumerate(zip(_logs(given) if given else (math.inf, math.inf), KINDS, strict=True)):
        values = calibrations[:, :, kind]
        level = min(_level(values.ravel()), start)
        fast &= (values <= level + _tolerance(values[:, 1] - values[:, 0], fewest)).all(axis=1)
    return fast


def two_speeds(fast: Sequence[NDArray[np.bool_]]) -> str | None:
    """Why the comparison of a process is not valid, from the blocks of each round that count; None if it is."""
    blocks, counted = sum(map(len, fast)), int(sum(map(np.sum, fast)))
    rounds = sum(bool(one.any()) for one in fast)
    fewest = max(min(FEWEST_BLOCKS, blocks), math.ceil(FEWEST_SHARE * blocks))
    if counted >= fewest and rounds >= min(FEWEST_ROUNDS, len(fast)):
        return None
    return (
        f"the machine ran at two speeds: {counted} of {blocks} blocks, in {rounds} of {len(fast)} rounds, "
        f"at full speed: {REMEDY}"
    )


def level(calibrations: Sequence[Calibration]) -> Calibration:
    """The full-speed level of each kind of work: that of the fastest twentieth; of fewer than 20 the fastest."""
    arithmetic, memory = np.array([_logs(one) for one in calibrations]).T
    return Calibration(arithmetic_seconds=math.exp(_level(arithmetic)), memory_seconds=math.exp(_level(memory)))


def at_full_speed(calibration: Calibration, full: Calibration) -> bool:
    """Whether neither kind of work took over 10 % (memory, which varies more: 50 %) longer than at full speed."""
    both = zip(_logs(calibration), _logs(full), KINDS, strict=True)
    return all(one - other <= tolerance for one, other, tolerance in both)


def slow_processes(
    calibrations: Sequence[Calibration], call_seconds: Sequence[float], elsewhere: float | None = None
) -> list[str | None]:
    """Why a measurement in each process of a session was not made at full speed; None for those that were.

    A process whose every block was slow cannot see that by itself, and a calibration may not suffer from what slows an
    engine. So the processes are compared with each other too.

    Args:
        call_seconds: of a case the median of each process; of a comparison the geometric mean of both engines' calls,
            `PairedOnce.call_seconds`.
        elsewhere: of a comparison the same from the fastest medians of the two engines' own cases, which were
            measured at other moments: sqrt(a * b).
    """
    full, fastest = level(calibrations), min(call_seconds)
    return [
        _slow(one, full, seconds / fastest, seconds / (elsewhere or math.inf))
        for one, seconds in zip(calibrations, call_seconds, strict=True)
    ]


def _slow(calibration: Calibration, full: Calibration, ratio: float, to_cases: float) -> str | None:
    if not at_full_speed(calibration, full):
        arithmetic, memory = (math.exp(a - b) - 1 for a, b in zip(_logs(calibration), _logs(full), strict=True))
        seen = f"arithmetic took {arithmetic:.0%} and memory {memory:.0%} longer than in the fastest process"
    elif ratio > math.exp(TOLERANCE):
        seen = f"the calls took {ratio - 1:.0%} longer than in the fastest process"
    elif to_cases > math.exp(MOST_TOLERANCE):
        seen = f"the calls took {to_cases - 1:.0%} longer than those of the cases at their fastest"
    else:
        return None
    return f"the machine ran at two speeds: {seen}: {REMEDY}"


def _logs(calibration: Calibration) -> tuple[float, float]:
    return math.log(calibration.arithmetic_seconds), math.log(calibration.memory_seconds)


def _level(logs: Logs) -> float:
    return float(np.sort(logs)[len(logs) // FASTEST])


def _tolerance(differences: Logs, fewest: float) -> float:
    """The tolerance, `fewest` or more, for values whose neighbours in time differ by these.

    The median of |differences| is 0.954 standard deviations of the values.
    Neighbours show the noise because they seldom lie in different regimes, which last for seconds.
    """
    noise = float(np.median(np.abs(differences))) / 0.954 if len(differences) else 0.0
    return max(fewest, min(NOISES * noise, MOST_TOLERANCE))
