"""A simulated machine: what it does to the times of two engines that are, in truth, a given ratio apart.

    process   what a process does to an engine for as long as it lives, normal on logarithms
    load      the same of a load, 1 %, or two speeds: 30 % of the loads of one engine are 5 % slower
    drift     the speed of the whole machine changes by up to 10 % in the life of a process
    bursts    stretches of blocks, or of calls, 20 % slower on average
    tails     Student's distribution with two degrees of freedom instead of the normal

All arrays are logarithms of seconds, float64.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Logs = NDArray[np.float64]
ROUNDS, BLOCKS = 12, 3
"""Of a comparison in a process; docs/method.md compares their noise with that of a default session's eight rounds."""
LOADS = 4
"""Of a case in a process."""
TWO_SPEEDS, SLOWER = 0.3, 0.05
"""Share of slow loads, and how much slower they are."""


@dataclass(frozen=True)
class Machine:
    """What it does, and the truth."""

    process: float = 0.0
    """Standard deviation of the ratio between processes."""
    load: float = 0.01
    drift: bool = False
    bursts: bool = False
    tails: bool = False
    bimodal: bool = False
    log_ratio: float = 0.0
    """Of two engines; loads of two speeds included."""

    def blocks(self, generator: np.random.Generator, *size: int) -> Logs:
        """The parts of comparisons, [*size, rounds, blocks, 4]: two of the reference, two of the runtime."""
        shape = (*size, ROUNDS, BLOCKS, 4)
        logs = self._noise(generator, shape, 0.01)
        logs += np.array([self.log_ratio, self.log_ratio, 0, 0])
        logs += np.repeat(generator.normal(0, self.process / np.sqrt(2), (*size, 1, 1, 2)), 2, -1)
        logs += generator.normal(0, self.load, (*size, ROUNDS, 1, 4))
        if self.bimodal:
            slow = SLOWER * ((generator.random((*size, ROUNDS, 1, 2)) < TWO_SPEEDS) - TWO_SPEEDS)
            logs[..., 2:] += slow
        if self.drift:
            line = np.linspace(0, 1, ROUNDS * BLOCKS).reshape(ROUNDS, BLOCKS, 1)
            logs += generator.uniform(-0.1, 0.1, (*size, 1, 1, 1)) * line
        if self.bursts:
            logs += 0.2 * generator.exponential(size=shape) * (generator.random(shape) < 0.05)
        return logs

    def ratios(self, generator: np.random.Generator, *size: int) -> Logs:
        """The logarithm of the ratio that each process finds, [*size]: the mean over rounds of the median of blocks.

        As `bench.pairing.evaluate` on blocks at full speed, but fast.
        """
        a1, a2, b1, b2 = np.moveaxis(self.blocks(generator, *size), -1, 0)
        ratios: Logs = np.mean(np.median((a1 + a2 - b1 - b2) / 2, axis=-1), axis=-1)
        return ratios

    def calls(self, generator: np.random.Generator, calls: int, *size: int) -> Logs:
        """The calls of a case, [*size, loads, calls]; bursts last 20 calls on average."""
        shape = (*size, LOADS, calls)
        logs = self._noise(generator, shape, 0.01)
        logs += generator.normal(0, self.process / np.sqrt(2), (*size, 1, 1))
        logs += generator.normal(0, self.load, (*size, LOADS, 1))
        if self.bimodal:
            logs += SLOWER * (generator.random((*size, LOADS, 1)) < TWO_SPEEDS)
        if self.bursts:
            begin, on = generator.random(shape), generator.random((*size, LOADS)) < 0.04
            for i in range(calls):
                on = np.where(on, begin[..., i] > 0.05, begin[..., i] < 0.002)
                logs[..., i] += 0.2 * on
        return logs

    def _noise(self, generator: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Logs:
        if self.tails:
            return deviation / 2 * generator.standard_t(2, shape)
        return generator.normal(0, deviation, shape)


def machines() -> dict[str, Machine]:
    """The machines for which the intervals must hold, by name."""
    calm = Machine()
    each = {
        "calm": calm,
        "drift": replace(calm, drift=True),
        "bursts": replace(calm, bursts=True),
        "heavy tails": replace(calm, tails=True),
        "loads of two speeds": replace(calm, bimodal=True),
        "all of these": Machine(drift=True, bursts=True, tails=True, bimodal=True),
    }
    return {
        f"process {process:.2%}, loads 1 %, {name}": replace(machine, process=process)
        for process in (0.0, 0.003, 0.0066, 0.01)
        for name, machine in each.items()
    }
