"""A machine with two speeds: is the ratio that of the undisturbed machine, or withheld?

    python -m bench.experiments two-speeds               simulated, then real sessions beside a contending process
    python -m bench.experiments two-speeds --simulated   simulated alone, in a minute

Simulated: something contends for the machine in stretches of 5 to 60 s, slowing one engine by 1.5, the other by 1.8 and
each calibration by between 1 and 1.8, or hardly at all; sessions of five processes. Real: a process of its own computes
and copies in such stretches beside 20 sessions of `pytest bench`, between sessions without it before and after.
"""

import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.estimates import FEWEST_PROCESSES, over_processes
from bench.pairing import Block, PairedOnce, evaluate
from bench.parts import Parts
from bench.regimes import level, slow_processes
from study.records.base import Interval
from study.records.bench import Calibration

WITHIN = 0.02
PROCESSES, PROCESS_SECONDS = 5, 25.0
ROUNDS, BLOCKS, BLOCK_SECONDS, LOAD_SECONDS = 10, 3, 0.025, 0.03
CASE_SECONDS = 0.5
RATIO = 3.0
PROCESS_DEVIATION = 0.0066
ONE_CALL = Parts((1, 1), (0, 0), known=True)


@dataclass(frozen=True)
class Machine:
    """A machine that may be contended for."""

    seed: int
    contended: bool = True
    engines: tuple[float, float] = (1.5, 1.8)
    """Factors by which contention slows the two."""
    calibrations: tuple[float, float] | None = None
    """Factors for arithmetic and memory; None: drawn between 1 and 1.8."""
    noise: float = 0.01
    """Of a part, of a calibration of arithmetic and of a load; that of memory is 2.5 times it."""
    drift: float = 0.03
    bursts: float = 5.0
    """Interruptions of 1 ms a second; each lengthens the part or calibration that it meets."""


class Simulated:
    """One session on the machine, in simulated time."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.generator = np.random.default_rng(machine.seed)
        self.edges = np.cumsum(self.generator.uniform(5, 60, 60))
        self.first_slow = bool(self.generator.integers(2))
        self.calibrated = machine.calibrations or tuple(self.generator.uniform(1, 1.8, 2))
        self.phase = self.generator.uniform(0, 2 * math.pi)
        self.seen: list[Calibration] = []

    def slow(self, moments: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether something contends for the machine at these moments."""
        if not self.machine.contended:
            return np.zeros(moments.shape, dtype=bool)
        return (np.searchsorted(self.edges, moments) % 2 == 0) == self.first_slow

    def logs(
        self, moments: NDArray[np.float64], factor: float, noise: float, seconds: float, burst: float
    ) -> NDArray[np.float64]:
        """Logarithms of the factor by which something takes longer at these moments.

        Args:
            seconds: how long it takes; an interruption of 1 ms may begin as much earlier.
            burst: share by which an interruption lengthens it.
        """
        drift = self.machine.drift * np.sin(2 * math.pi * moments / 100 + self.phase) / 2
        hit = self.generator.random(moments.shape) < self.machine.bursts * (seconds + 0.001)
        noisy = self.generator.normal(0, noise, moments.shape) + np.log1p(burst) * hit
        return np.asarray(drift + math.log(factor) * self.slow(moments) + noisy)

    def calibration(self, moments: NDArray[np.float64]) -> list[Calibration]:
        """Brief calibrations; an interruption of 1 ms outlasts them."""
        factors, noise = self.calibrated, self.machine.noise
        arithmetic, memory = (
            self.logs(moments, f, n, 0.00015, 3.0) for f, n in zip(factors, (noise, 2.5 * noise), strict=True)
        )
        return [Calibration(a, m) for a, m in zip(5e-5 * np.exp(arithmetic), 5e-5 * np.exp(memory), strict=True)]

    def pair(self, start: float, effects: Sequence[float], fastest: float | None) -> PairedOnce:
        """A comparison that begins at this moment, in a process with these effects on the engines."""
        noise = self.machine.noise
        rounds = []
        for n in range(ROUNDS):
            begin = start + n * (LOAD_SECONDS + BLOCKS * BLOCK_SECONDS) + LOAD_SECONDS
            moments = begin + BLOCK_SECONDS * np.arange(BLOCKS)[:, None] + BLOCK_SECONDS / 4 * np.arange(4)
            order = self.generator.permuted(np.tile(np.arange(4), (BLOCKS, 1)), axis=1)
            moments = np.take_along_axis(moments, order, axis=1)
            logs = np.concatenate(
                [
                    self.logs(moments[:, 2 * i : 2 * i + 2], self.machine.engines[i], noise, 0.003, 0.05)
                    for i in range(2)
                ],
                axis=1,
            )
            logs += (
                self.generator.normal(0, noise, 4) + np.repeat(effects, 2) + np.array([math.log(RATIO)] * 2 + [0, 0])
            )
            around = self.calibration(begin + BLOCK_SECONDS * np.arange(BLOCKS + 1))
            rounds.append(
                [
                    Block(tuple(np.exp(block)[:, None] * 1e-3), (around[i], around[i + 1]), BLOCK_SECONDS)
                    for i, block in enumerate(logs)
                ]
            )
        full = level(self.seen) if self.seen else None
        return evaluate(rounds, ONE_CALL, LOAD_SECONDS + BLOCKS * BLOCK_SECONDS, full, fastest)

    def case(self, start: float, engine: int, effect: float) -> float:
        """Median of a case that begins at this moment."""
        moments = start + np.linspace(0, CASE_SECONDS, 50)
        self.seen += self.calibration(moments[[0, -1]])
        logs = self.logs(moments, self.machine.engines[engine], self.machine.noise, 0.001, 0.5)
        return float(np.exp(np.median(logs) + effect)) * 1e-3 * (RATIO if engine == 0 else 1)


@dataclass(frozen=True)
class Outcome:
    """What the session reports."""

    ratio: Interval | None
    """None: withheld."""
    processes: int
    """At full speed."""
    counted: float
    """Share of the blocks that count, of all processes."""
    undisturbed: float
    """The ratio of these processes without contention."""


def simulate(machine: Machine, processes: int = PROCESSES, most_processes: int = PROCESSES) -> Outcome:
    """A session: each process measures both cases and the pair at random moments, the pair once more if disturbed.

    Processes are added until five are at full speed, at most so many in all.
    """
    session = Simulated(machine)
    pairs: list[PairedOnce] = []
    effects, cases = [], [math.inf, math.inf]
    full: list[int] = []
    while len(pairs) < processes or (len(full) < FEWEST_PROCESSES and len(pairs) < most_processes):
        begin = len(pairs) * (PROCESS_SECONDS + 5)
        effect = session.generator.normal(0, PROCESS_DEVIATION / math.sqrt(2), 2)
        fastest = min((one.call_seconds for one in pairs), default=None)
        for moment, task in sorted(zip(session.generator.uniform(0, PROCESS_SECONDS, 3), range(3), strict=True)):
            if task < 2:
                cases[task] = min(cases[task], session.case(begin + moment, task, effect[task]))
            else:
                pair = session.pair(begin + moment, effect, fastest)
        if pair.reasons:
            pair = session.pair(begin + PROCESS_SECONDS + 2, effect, fastest)
        session.seen.append(pair.calibration)
        pairs.append(pair)
        effects.append(effect[0] - effect[1])
        speeds = [one.calibration for one in pairs], [one.call_seconds for one in pairs]
        slow = slow_processes(*speeds, math.sqrt(math.prod(cases)))
        full = [i for i, (one, reason) in enumerate(zip(pairs, slow, strict=True)) if not (one.reasons or reason)]
    return Outcome(
        over_processes([pairs[i].ratio for i in full]) if len(full) >= FEWEST_PROCESSES else None,
        len(full),
        sum(one.full_speed_blocks for one in pairs) / sum(one.blocks for one in pairs),
        RATIO * math.exp(float(np.mean([effects[i] for i in full or [0]]))),
    )
