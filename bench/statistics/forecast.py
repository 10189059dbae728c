"""What a session will take and how precise it will be, from the pilot; and how many processes a precision needs."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from bench.statistics.estimates import FEWEST_PROCESSES
from bench.statistics.pilot import Components, Costs, Shares
from study.student import half_width

FEWEST_FOR_PRECISION = 10
"""Processes of a session with `--precision`, before it decides on more. The decision looks at the variance that the
interval uses too, which makes the interval a little too narrow: after a second stage it covers at least .925 with a
first stage of five processes, .932 with eight, .937 with ten."""
MOST_PROCESSES = 40
"""Of a session with `--precision`."""


@dataclass(frozen=True)
class Measurement:
    """A case or a comparison, as each process of the session will make it."""

    name: str
    """Such as "baseline torch/onnxruntime batch 1"."""
    batch: int
    is_comparison: bool
    parts: Components
    costs: Costs
    shares: Shares

    def half_width(self, processes: int) -> float:
        """Expected half-width of the 95 % interval, as a share."""
        return math.expm1(half_width(math.sqrt(self.parts.variance(self.shares)), processes))


@dataclass(frozen=True)
class Forecast:
    """Of the processes of a session; cold starts come on top."""

    processes: int
    process_seconds: float
    half_widths: dict[str, float]
    """Of each comparison, or of each case where nothing is compared; 0.01 is 1 %."""
    batches: dict[str, int]
    """Batch size of each of these."""
    too_wide: tuple[str, ...] = ()
    """Those that are not expected to reach `--precision` within MOST_PROCESSES."""

    @property
    def seconds(self) -> float:
        """Of all processes."""
        return self.processes * self.process_seconds


def forecast(
    measurements: Sequence[Measurement], processes: int = FEWEST_PROCESSES, precision: float | None = None
) -> Forecast:
    """What to expect of so many processes, or of as many as `precision` needs.

    The comparison with the widest interval decides; one that needs over MOST_PROCESSES does not.

    Args:
        precision: wanted half-width of the 95 % interval of each ratio; 0.01 is 1 %.
    """
    judged = [one for one in measurements if one.is_comparison] or list(measurements)
    too_wide: list[str] = []
    if precision is not None:
        processes = FEWEST_FOR_PRECISION
        for one in judged:
            if one.half_width(MOST_PROCESSES) > precision:
                too_wide.append(one.name)
            else:
                processes = max(processes, _fewest(math.sqrt(one.parts.variance(one.shares)), precision))
        if too_wide:
            processes = MOST_PROCESSES
    return Forecast(
        processes,
        sum(one.costs.process + one.shares.seconds(one.costs) for one in measurements),
        {one.name: one.half_width(processes) for one in judged},
        {one.name: one.batch for one in judged},
        tuple(too_wide),
    )


def more_processes(ratios: Mapping[str, Sequence[float]], precision: float) -> int:
    """How many further processes the session needs for its precision, after those that were planned.

    Ask once: Stein, "A two-sample test for a linear hypothesis whose power is independent of the variance", Annals of
    Mathematical Statistics 16(3), 1945, shows why one second stage does little harm where many looks do much.

    Args:
        ratios: one value a process, of each comparison.
    """
    so_far = max((len(values) for values in ratios.values()), default=0)
    wanted = [_fewest(float(np.std(np.log(v), ddof=1)), precision) for v in ratios.values() if len(v) > 1]
    return max(0, max(wanted, default=0) - so_far)


def _fewest(deviation: float, precision: float) -> int:
    """The fewest processes with which the interval is expected to be narrow enough, at most MOST_PROCESSES."""
    for processes in range(FEWEST_PROCESSES, MOST_PROCESSES):
        if math.expm1(half_width(deviation, processes)) <= precision:
            return processes
    return MOST_PROCESSES


def text(expected: Forecast, pilot_processes: int, pilot_seconds: float, cold_start_seconds: float = 0.0) -> list[str]:
    """The forecast, two or three lines, which the terminal wraps."""
    lines = [f"pilot: {pilot_processes} processes, {duration(pilot_seconds)}"]
    end = duration(expected.seconds + cold_start_seconds)
    cold = ", then cold starts" if cold_start_seconds else ""
    line = f"forecast: {expected.processes} processes of {duration(expected.process_seconds)}{cold}: {end}"
    if expected.half_widths:
        by_batch: dict[int, list[float]] = {}
        for name, half in expected.half_widths.items():
            by_batch.setdefault(expected.batches[name], []).append(half)
        halves = [f"±{median(by_batch[batch]):.1%} at batch {batch}" for batch in sorted(by_batch)]
        widest = max(expected.half_widths, key=expected.half_widths.__getitem__)
        line += f"; 95 % intervals of {', '.join(halves)} (median)"
        line += f", widest ±{expected.half_widths[widest]:.1%}: {widest}"
    lines.append(line)
    if expected.too_wide:
        reason = f"the precision is not expected within {MOST_PROCESSES} processes for {_some(expected.too_wide)}"
        lines.append(f"{reason}: give more --seconds, or a quieter machine")
    return lines


def duration(seconds: float) -> str:
    """Such as "41 s" or "6 min"."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _some(names: Collection[str]) -> str:
    first = ", ".join(list(names)[:3])
    return f"{first} and {len(names) - 3} more" if len(names) > 3 else first
