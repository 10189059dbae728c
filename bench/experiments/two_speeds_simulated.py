"""A machine with two speeds, simulated: is the ratio that of the undisturbed machine, or withheld?

Something contends for the machine in stretches of 5 to 60 s, on and off. It slows one engine by 1.5, the other by 1.8
and each calibration by between 1 and 1.8, or not at all. Each of five processes measures both cases and the pair, one
second each, at random moments; further processes replace those that were not at full speed.
"""

import math
from argparse import Namespace
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.pairing import Block, PairedOnce, evaluate
from bench.parts import Parts
from bench.regimes import level, slow_processes
from bench.session import MOST_REPLACEMENTS
from study.records.base import Interval
from study.records.bench import Calibration
from study.student import mean_interval

WITHIN = 0.02
PROCESSES, PROCESS_SECONDS = 5, 25.0
REPLACEMENT_SECONDS, PAIR_SECONDS = 4.0, 2.0
"""Of a process that measures the pair alone, and of a pair with its preparation."""
ROUNDS, BLOCKS, BLOCK_SECONDS, LOAD_SECONDS = 10, 3, 0.025, 0.03
CASE_SECONDS = 0.5
RATIO = 3.0
PROCESS_DEVIATION = 0.0066
Floats = NDArray[np.float64]
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

    def slow(self, moments: Floats) -> NDArray[np.bool_]:
        """Whether something contends for the machine at these moments."""
        if not self.machine.contended:
            return np.zeros(moments.shape, dtype=bool)
        return np.asarray((np.searchsorted(self.edges, moments) % 2 == 0) == self.first_slow)

    def logs(self, moments: Floats, factor: float, noise: float, seconds: float, burst: float) -> Floats:
        """Logarithms of the factor by which something takes longer at these moments.

        Args:
            seconds: how long it takes; an interruption of 1 ms may begin as much earlier.
            burst: share by which an interruption lengthens it.
        """
        drift = self.machine.drift * np.sin(2 * math.pi * moments / 100 + self.phase) / 2
        hit = self.generator.random(moments.shape) < self.machine.bursts * (seconds + 0.001)
        noisy = self.generator.normal(0, noise, moments.shape) + np.log1p(burst) * hit
        return np.asarray(drift + math.log(factor) * self.slow(moments) + noisy)

    def calibration(self, moments: Floats) -> list[Calibration]:
        """Brief calibrations; an interruption of 1 ms outlasts them."""
        factors, noise = self.calibrated, self.machine.noise
        arithmetic, memory = (
            self.logs(moments, f, n, 0.00015, 3.0) for f, n in zip(factors, (noise, 2.5 * noise), strict=True)
        )
        both = zip(5e-5 * np.exp(arithmetic), 5e-5 * np.exp(memory), strict=True)
        return [Calibration(arithmetic_seconds=a, memory_seconds=m) for a, m in both]

    def pair(self, start: float, effects: Floats, fastest: float | None) -> PairedOnce:
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
            around = self.calibration(np.asarray(begin + BLOCK_SECONDS * np.arange(BLOCKS + 1), dtype=np.float64))
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


def simulate(machine: Machine, replacements: int = MOST_REPLACEMENTS) -> Outcome:
    """A session: each process measures both cases and the pair at random moments, the pair once more if disturbed.

    Then so many further processes measure the pair alone, as long as they can make up for those not at full speed.
    """
    session = Simulated(machine)
    pairs: list[PairedOnce] = []
    fastest_cases = [math.inf, math.inf]
    full: list[int] = []
    begin = 0.0
    for left in range(PROCESSES + replacements, 0, -1):
        alone = left <= replacements
        if alone and not 0 < PROCESSES - len(full) <= left:
            continue
        seconds = REPLACEMENT_SECONDS if alone else PROCESS_SECONDS
        effect = session.generator.normal(0, PROCESS_DEVIATION / math.sqrt(2), 2)
        fastest = min((one.call_seconds for one in pairs), default=None)
        tasks = [2] if alone else range(3)
        moments = session.generator.uniform(0, seconds, len(tasks))
        for moment, task in sorted(zip(moments, tasks, strict=True)):
            if task == 2:
                pair = session.pair(begin + moment, effect, fastest)
            else:
                seen = session.case(begin + moment, task, effect[task])
                fastest_cases[task] = min(fastest_cases[task], seen)
        begin += seconds + PAIR_SECONDS
        if pair.reasons:
            pair = session.pair(begin, effect, fastest)
            begin += PAIR_SECONDS
        session.seen.append(pair.calibration)
        pairs.append(pair)
        speeds = [one.calibration for one in pairs], [one.call_seconds for one in pairs]
        slow = slow_processes(*speeds, math.sqrt(math.prod(fastest_cases)))
        full = [i for i, (one, reason) in enumerate(zip(pairs, slow, strict=True)) if not (one.reasons or reason)]
    return Outcome(
        mean_interval([pairs[i].ratio for i in full]) if len(full) >= PROCESSES else None,
        len(full),
        sum(one.full_speed_blocks for one in pairs) / sum(one.blocks for one in pairs),
    )


MACHINES = {
    "one speed: drift of 3 %, bursts, noise of 1 %": Machine(0, contended=False),
    "two speeds, calibrations slowed by 1 to 1.8": Machine(0),
    "two speeds, calibrations not slowed": Machine(0, calibrations=(1.0, 1.0)),
    "two speeds, the other engine by 1.8, calibrations not slowed": Machine(
        0, engines=(1.8, 1.5), calibrations=(1.0, 1.0)
    ),
}


def run(options: Namespace) -> bool:
    repetitions = options.repetitions or 200
    reached = True
    for name, machine in MACHINES.items():
        for replacements in (0, 2, MOST_REPLACEMENTS):
            outcomes = [simulate(replace(machine, seed=seed), replacements) for seed in range(repetitions)]
            shown = [one for one in outcomes if one.ratio]
            errors = [abs(one.ratio.value / RATIO - 1) for one in shown if one.ratio]
            held = sum(one.ratio.low <= RATIO <= one.ratio.high for one in shown if one.ratio)
            print(
                f"{name}; {replacements} replacements at most: {len(outcomes) - len(shown)} of {repetitions} withheld, "
                f"ratio off by {max(errors, default=0):.2%} at most (expected {WITHIN:.0%}), intervals hold it in "
                f"{held} of {len(shown)}; {np.mean([one.counted for one in outcomes]):.1%} of the blocks count",
                flush=True,
            )
            reached &= max(errors, default=0) <= WITHIN and (machine.contended or len(shown) == repetitions)
    return reached
