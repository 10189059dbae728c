"""Two sides that take turns: the lengths of their parts, the order of a block, and the ratio of one pair of processes.

A block is four parts, in the order A B B A or B A A B, by chance: a speed that drifts steadily cancels. A part has
lead-in calls, which do not count (bench/parts.py), then the timed ones, whose median is its value. Within a block

    ratio    sqrt(b1 * b2) / sqrt(a1 * a2)        time of B over time of A
    control  a1 / a2 and b1 / b2                  each side against itself: 1 on a perfect machine

Only blocks in which the machine ran at full speed count (bench/regimes.py). The value of the pair is the mean over its
rounds, each with both models loaded again, of the median of their blocks, in logarithms, as in bench/pairing.py. One
pair of processes says nothing about the next: the interval is over pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.ab.protocol import Calibrate, Calibrated, Part, R, Request, Timed
from bench.full_speed import Patience
from bench.parts import PROBE_PARTS, after_switch, lead_in_calls, most_lead_in
from bench.regimes import fast_blocks, level, two_speeds
from study.records.bench import AfterSwitch, Calibration

PART_SECONDS = 0.010
"""Shortest time of the timed calls: long against the microseconds of a pipe, short against a machine's drift."""
FEWEST_CALLS, MOST_CALLS = 3, 2000
LONG_CALL_SECONDS = 0.03
"""A call as long as this is a part by itself."""
STABLE, STABLE_PARTS = 0.03, 3
"""The warm-up ends after so many parts whose medians are within this share of each other."""


class Callee(Protocol):
    """A process of a side, or what stands for one in a test; bench/ab/protocol.py has the requests and replies."""

    def ask(self, request: Request, kind: type[R]) -> R: ...


@dataclass
class Counted:
    """What the parts of one side add up to."""

    lead_in: int = 0
    calls: int = 0
    """Timed calls of a part."""
    after_switch: AfterSwitch | None = None
    wall: float = 0.0
    cpu: float = 0.0
    switches: int = 0
    idle_wall: float = 0.0
    idle_cpu: float = 0.0

    def add(self, part: Timed) -> float:
        """Count a part; returns its seconds."""
        self.wall += part.wall
        self.cpu += part.cpu
        self.switches += part.switches
        self.idle_wall += part.idle_wall
        self.idle_cpu += part.idle_cpu
        return part.seconds


@dataclass
class Alternation:
    """The blocks of one pair of processes, in rounds: each has loaded both models again."""

    sides: tuple[Counted, Counted] = field(default_factory=lambda: (Counted(), Counted()))
    rounds: list[list[tuple[float, ...]]] = field(default_factory=list)
    """Of each block the seconds of the parts a1, a2, b1, b2."""
    calibrations: list[tuple[int, Calibration, Calibration]] = field(default_factory=list)
    """Of each block the side that calibrated, and how fast the machine was before and after."""
    waited: float = 0.0
    """Seconds in which both waited for the machine's full speed."""

    def speeds(self, which: int) -> list[Calibration]:
        """The calibrations of a side."""
        return [one for side, *both in self.calibrations if side == which for one in both]

    def result(self) -> "Result":
        """The ratio over the blocks at full speed; over all if none is."""
        seconds = np.array([block for blocks in self.rounds for block in blocks])
        fast = fast_blocks(seconds, self._log_speeds())
        ends = np.cumsum([len(blocks) for blocks in self.rounds])[:-1]
        logs = np.log(seconds)
        counted = fast if fast.any() else np.ones_like(fast)
        both = zip(np.split(logs, ends), np.split(counted, ends), strict=True)
        kept = [each[which] for each, which in both if which.any()]
        weights = {"ratio": (-0.5, -0.5, 0.5, 0.5), "a": (0.5, 0.5, 0, 0), "b": (0, 0, 0.5, 0.5)}
        weights |= {"control a": (1, -1, 0, 0), "control b": (0, 0, 1, -1)}
        values = {
            name: math.exp(float(np.mean([np.median(each @ weight) for each in kept])))
            for name, weight in weights.items()
        }
        return Result(
            ratio=values["ratio"],
            controls=(values["control a"], values["control b"]),
            seconds=(values["a"], values["b"]),
            blocks=len(logs),
            full_speed_blocks=int(fast.sum()),
            reason=two_speeds(np.split(fast, ends)),
        )

    def _log_speeds(self) -> NDArray[np.float64]:
        """Logarithms of the calibrations [blocks, 2, 2]: before and after, arithmetic and memory.

        Each against the full speed of its own process: 4 MB take longer in one process than in another, depending on
        where they lie.
        """
        speeds = np.log([[(c.arithmetic_seconds, c.memory_seconds) for c in both] for _, *both in self.calibrations])
        who = np.array([which for which, *_ in self.calibrations])
        for which in np.unique(who):
            full = level(self.speeds(int(which)))
            speeds[who == which] -= np.log([full.arithmetic_seconds, full.memory_seconds])
        return speeds


@dataclass(frozen=True)
class Result:
    """One pair of processes."""

    ratio: float
    """Time of B / time of A."""
    controls: tuple[float, float]
    seconds: tuple[float, float]
    """Of A and of B, in turns."""
    blocks: int
    full_speed_blocks: int
    reason: str | None
    """Why it is not valid, of the machine's speed."""


def warmed_up(callee: Callee, most_seconds: float) -> float:
    """Call a side until its latency is stable; returns the seconds of a call.

    No part begins after `most_seconds` of calls, except the first two: the first call may compile.
    """
    callee.ask(Part(0, 1), Timed)
    medians = [callee.ask(Part(0, 1), Timed).seconds]
    spent = medians[0]
    while spent < most_seconds:
        calls = min(MOST_CALLS, max(1, math.ceil(PART_SECONDS / medians[-1])))
        medians.append(callee.ask(Part(0, calls), Timed).seconds)
        spent += calls * medians[-1]
        last = medians[-STABLE_PARTS:]
        if len(medians) > STABLE_PARTS and max(last) <= (1 + STABLE) * min(last):
            break
    return medians[-1]


def calls_in_part(call_seconds: float) -> int:
    """Number of timed calls in a part."""
    if call_seconds >= LONG_CALL_SECONDS:
        return 1
    return min(max(math.ceil(PART_SECONDS / call_seconds), FEWEST_CALLS), MOST_CALLS)


def probe(
    pair: Sequence[Callee],
    call_seconds: Sequence[float],
    seconds: float,
    chance: np.random.Generator,
    into: Alternation,
) -> None:
    """Set the lengths of the parts of both sides, from blocks that do not count: at most for `seconds`, at least one.

    Args:
        call_seconds: of A and of B.
    """
    for counted, one in zip(into.sides, call_seconds, strict=True):
        counted.lead_in, counted.calls = most_lead_in(one), calls_in_part(one)
    block = sum(
        2 * (counted.lead_in + counted.calls) * one for counted, one in zip(into.sides, call_seconds, strict=True)
    )
    blocks = max(1, min(PROBE_PARTS, int(seconds / block)))
    parts: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for _ in range(blocks):
        for position, which in enumerate(order(chance)):
            counted = into.sides[which]
            reply = pair[which].ask(Part(counted.lead_in, counted.calls, each=True), Timed)
            if position in (1, 3):  # right after the other side's turn
                parts[which].append(np.array(reply.durations))
    for counted, durations in zip(into.sides, parts, strict=True):
        lead_in = lead_in_calls(durations, counted.calls) if blocks > 1 else 1
        counted.after_switch = after_switch(durations, counted.calls, lead_in)
        counted.lead_in = lead_in


def alternate(
    pair: Sequence[Callee],
    seconds: float,
    chance: np.random.Generator,
    into: Alternation,
    patience: Sequence[Patience],
) -> None:
    """Let A and B take turns for `seconds`, at least for one block: a round, which is added to `into`.

    Args:
        patience: of A and of B, for full speed as each sees it; the side that begins a block waits.

    Raises:
        SlowMachineError: the machine was slow, and the measurement may be postponed.
    """

    def now() -> float:
        return patience[0].clock() - sum(one.waited for one in patience)

    until = now() + seconds
    into.rounds.append([])
    while not into.rounds[-1] or now() < until:
        turns = order(chance)
        replies, *around = patience[turns[0]].steadily(lambda: _block(pair, turns, into.sides))  # noqa: B023
        parts: tuple[list[float], list[float]] = ([], [])
        for which, reply in zip(turns, replies, strict=True):
            parts[which].append(into.sides[which].add(reply))
        into.rounds[-1].append((*parts[0], *parts[1]))
        into.calibrations.append((turns[0], around[0], around[1]))
    into.waited = sum(one.waited for one in patience)


def _block(pair: Sequence[Callee], turns: Sequence[int], sides: Sequence[Counted]) -> list[Timed]:
    """The replies to the four parts."""
    return [pair[which].ask(Part(sides[which].lead_in, sides[which].calls), Timed) for which in turns]


def calibrated(callee: Callee) -> Calibration:
    """How fast the machine is now, as a side sees it."""
    found = callee.ask(Calibrate(), Calibrated)
    return Calibration(arithmetic_seconds=found.arithmetic_seconds, memory_seconds=found.memory_seconds)


def order(chance: np.random.Generator) -> tuple[int, int, int, int]:
    """Whose turn it is in a block: A (0) at both ends, or B (1)."""
    first = int(chance.integers(2))
    return first, 1 - first, 1 - first, first
