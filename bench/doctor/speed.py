"""How evenly this machine computes: a calibration loop for some seconds, and what disturbed it meanwhile."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.calibration import calibrate
from bench.doctor.findings import Finding, Grade
from bench.machine.interference import Interference, disturbances, monitor
from bench.regimes import at_full_speed, level
from study.records.bench import Calibration
from study.system_files import CPUS, ROOT, number, read

MOST_SPREAD, LARGE_SPREAD = 0.03, 0.1
"""Interquartile range / median of the loop: a quiet machine has under 1 %."""
FEW_SLOW, MANY_SLOW = 0.05, 0.25
"""Share of the loop that ran slower than at full speed. Above the second, comparisons are withheld."""


@dataclass(frozen=True)
class Loop:
    """The calibrations of some seconds on one thread, and what else happened."""

    calibrations: Sequence[Calibration]
    interference: Interference
    swapped_pages: int
    throttles: int
    """How often a core lowered its clock because it was hot."""


def loop(seconds: float, root: Path = ROOT) -> Loop:
    """Calibrate for some seconds."""
    several = []
    pages, throttles = _counts(root)
    with monitor() as monitored:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            several.append(calibrate())
    more_pages, more_throttles = _counts(root)
    return Loop(several, monitored.interference, more_pages - pages, more_throttles - throttles)


def _counts(root: Path) -> tuple[int, int]:
    """Pages swapped in and out since boot, and thermal throttles of all cores."""
    lines = (line.split() for line in (read(root / "proc/vmstat") or "").splitlines())
    pages = sum(int(words[1]) for words in lines if words[0] in {"pswpin", "pswpout"})
    counts = (number(file) for file in (root / CPUS).glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    return pages, sum(count or 0 for count in counts)


def findings(measured: Loop) -> Iterator[Finding]:
    """What the loop showed."""
    several, seen = measured.calibrations, measured.interference
    yield _spread("arithmetic speed", [one.arithmetic_seconds for one in several])
    yield _spread("memory speed", [one.memory_seconds for one in several])
    yield _two_speeds(several)
    if measured.swapped_pages > 0:
        yield Finding("bad", "swapping", f"{measured.swapped_pages} pages", "close other programs, or add memory")
    if measured.throttles > 0:
        yield Finding(
            "bad", "heat", f"a core was throttled {measured.throttles} times", "let it cool, or cool it better"
        )
    reasons = disturbances(seen, threads=1)
    for reason in reasons:
        found, _, remedy = reason.partition(": ")
        yield Finding("bad", "disturbance", found, remedy)
    if not reasons:
        machine = seen.machine
        switches = machine.involuntary_switches_per_second or 0.0
        steal = "" if machine.steal_share is None else f", {machine.steal_share:.1%} stolen by the host"
        clocks = "" if machine.clock_disagreement is None else f", clocks agree to {machine.clock_disagreement:.4%}"
        yield Finding("ok", "disturbance", f"preempted {switches:.0f} times a second{steal}{clocks}")


def _spread(name: str, times: Sequence[float]) -> Finding:
    low, middle, high = statistics.quantiles(times, n=4)
    spread = (high - low) / middle
    grade: Grade = "ok" if spread <= MOST_SPREAD else "note" if spread <= LARGE_SPREAD else "bad"
    remedy = "" if grade == "ok" else "something slows it now and then: intervals will be wide"
    return Finding(grade, name, f"the middle half of the loop's times spreads over {spread:.1%}", remedy)


def _two_speeds(several: Sequence[Calibration]) -> Finding:
    full = level(several)
    slow = [one for one in several if not at_full_speed(one, full)]
    share = len(slow) / len(several)
    if not slow:
        return Finding("ok", "two speeds", "one speed all the time")
    factor = statistics.median(one.arithmetic_seconds for one in slow) / full.arithmetic_seconds
    memory = statistics.median(one.memory_seconds for one in slow) / full.memory_seconds
    text = f"{share:.0%} of the time slower: arithmetic {factor:.2f}, memory {memory:.2f} times as long"
    remedy = "a neighbour shares the core or the cache: measure elsewhere or later, or with more --processes"
    if share > FEW_SLOW:
        return Finding("bad" if share > MANY_SLOW else "note", "two speeds", text, remedy)
    return Finding("ok", "two speeds", text)
