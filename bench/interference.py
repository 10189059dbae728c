"""What else the machine did while something was measured, and how fast it was: a disturbed number is not believed.

`with watch() as watched:` around what is measured, then `disturbances(watched.observed, threads=1)` says why not.
"""

import os
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

PROC_STAT = Path("/proc/stat")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SHORTEST = 0.5
"""Seconds below which /proc/stat, which counts in 10 ms, is too coarse, and a few switches are many a second."""
SHORTEST_FOR_CLOCKS = 0.1
"""Seconds below which the time it takes to read the clocks is too much of what they disagree by."""

MOST_LOAD = 1.5
"""One-minute load average, where nothing finer is told: more than the bench itself and half a process."""
MOST_OTHER_CORES = 0.15
"""Well over what an idle system's own services use, well under one process that computes."""
MOST_STEAL = 0.01
"""Share of the cores' time that a virtual machine's host may give to others: more is another guest at work."""
MOST_SWITCHES = 20
"""A second and thread. Linux 6.18 on two cores: 0 to 12 when quiet, 22 to 50 with a busy process, 130 on its core."""
FEWEST_CORES_USED, MOST_CORES_USED = 0.9, 1.1
"""Per thread: with less, threads waited for a core or for each other; with more, others ran that nobody asked for."""
MOST_CLOCK_DISAGREEMENT = 0.001
"""Twice the 0.05 % by which Linux may slew a clock (adjtimex(2)): more is a clock that was set, or that is wrong."""

_MATRIX = np.sin(np.arange(48 * 48, dtype=np.float32)).reshape(48, 48)


@dataclass(frozen=True)
class Ticks:
    """Machine-wide counts since boot, in clock ticks of all cores together (proc_stat(5))."""

    busy: int
    idle: int
    steal: int | None
    cores: int


@dataclass(frozen=True)
class Snapshot:
    """Clocks and counters at one moment."""

    seconds: float
    """Of the performance counter, by which everything here is timed."""
    other_clocks: tuple[float, ...]
    """Seconds of the clocks that should go as fast: the hardware's own, where the system shows it, and the date's."""
    process_seconds: float
    """Processor time of this process, all its threads."""
    involuntary_switches: int
    load: float | None
    ticks: Ticks | None
    children_seconds: float = 0.0
    """Processor time of the processes that this one started and that have ended."""


@dataclass(frozen=True)
class Observed:
    """What happened between two snapshots; None where the system does not tell, or not so fine."""

    wall_seconds: float
    cores_used: float
    """Processor time of this process over wall time."""
    other_cores: float | None
    """Processor time of everything else on the machine over wall time."""
    steal_share: float | None
    """Share of the cores' time that a virtual machine's host gave to others."""
    involuntary_switches_per_second: float
    load_before: float | None
    load_after: float | None
    clock_disagreement: float | None
    """Largest of |interval by the performance counter / interval by another clock - 1|."""


class Watch:
    """What `watch` gives."""

    observed: Observed
    """There as soon as the block has ended."""


@contextmanager
def watch() -> Iterator[Watch]:
    """Observe the machine while the block runs, by one look before it and one after it."""
    watched = Watch()
    before = snapshot()
    yield watched
    watched.observed = observe(before, snapshot())


def snapshot() -> Snapshot:
    """Clocks and counters now; takes about 0.1 ms."""
    stat, load = "", None
    with suppress(OSError):
        stat = PROC_STAT.read_text()
    with suppress(OSError):
        load = os.getloadavg()[0]
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, *others = _clocks()
    own = time.process_time()
    ended = children.ru_utime + children.ru_stime
    return Snapshot(seconds, tuple(others), own, switches, load, parse_stat(stat), ended)


def _clocks() -> tuple[float, ...]:
    """All clocks at one moment: of several readings the shortest, in which the process was not interrupted."""
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", None)
    readings = []
    for _ in range(5):
        begin = time.perf_counter()
        others = (time.time(),) if raw is None else (time.clock_gettime(raw), time.time())
        readings.append((time.perf_counter() - begin, begin, *others))
    return min(readings)[1:]


def parse_stat(text: str) -> Ticks | None:
    """The counts in /proc/stat, or None where `text` has none.

    Time of guests is left out: the kernel counts it in `user` and `nice` too.
    """
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    if len(lines) < 2:  # the sum, then each core
        return None
    user, nice, system, idle, iowait, irq, softirq, *rest = map(int, lines[0][1:])
    return Ticks(user + nice + system + irq + softirq, idle + iowait, rest[0] if rest else None, len(lines) - 1)


def observe(before: Snapshot, after: Snapshot) -> Observed:
    """What happened between the snapshots."""
    wall = after.seconds - before.seconds
    process = after.process_seconds - before.process_seconds
    children = after.children_seconds - before.children_seconds
    other_cores = steal_share = clock_disagreement = None
    first, last = before.ticks, after.ticks
    # A sandbox may show a file in which nothing ever counts up.
    if first and last and wall >= SHORTEST and last.busy + last.idle > first.busy + first.idle:
        other_cores = max(0.0, (last.busy - first.busy) / TICKS_PER_SECOND - process - children) / wall
        if first.steal is not None and last.steal is not None:
            steal_share = max(0, last.steal - first.steal) / TICKS_PER_SECOND / (wall * last.cores)
    if wall >= SHORTEST_FOR_CLOCKS:
        others = [b - a for a, b in zip(before.other_clocks, after.other_clocks, strict=True)]
        clock_disagreement = max(abs(other / wall - 1) for other in others)
    return Observed(
        wall_seconds=wall,
        cores_used=process / wall,
        other_cores=other_cores,
        steal_share=steal_share,
        involuntary_switches_per_second=(after.involuntary_switches - before.involuntary_switches) / wall,
        load_before=before.load,
        load_after=after.load,
        clock_disagreement=clock_disagreement,
    )


def as_record(observed: Observed) -> dict[str, Any]:
    """The object `machine` of a case in bench.json; `cores_used` has its own place there."""
    return {key: value for key, value in asdict(observed).items() if key not in {"wall_seconds", "cores_used"}}


def disturbances(observed: Observed, threads: int) -> list[str]:
    """Why what this process measured meanwhile on `threads` threads should not be believed; none if it may."""
    used, switches = observed.cores_used, observed.involuntary_switches_per_second
    reasons = []
    if threads == 1 and used < FEWEST_CORES_USED:  # more threads wait for each other as a rule
        reasons.append(f"{used:.2f} cores used by {threads} threads: stop what else runs on this machine")
    if used > MOST_CORES_USED * threads:
        reasons.append(f"{used:.2f} cores used by {threads} threads: stop what else runs in this process")
    if switches > MOST_SWITCHES * threads and observed.wall_seconds >= SHORTEST:
        reasons.append(f"the kernel took the core away {switches:.0f} times a second: stop what else runs here")
    return reasons + neighbours(observed)


def neighbours(observed: Observed) -> list[str]:
    """The same for whatever was measured, by this process or by those it started."""
    other, steal, clocks = observed.other_cores or 0.0, observed.steal_share or 0.0, observed.clock_disagreement or 0.0
    reasons = []
    if observed.other_cores is None and observed.wall_seconds >= SHORTEST and (observed.load_before or 0) > MOST_LOAD:
        reasons.append(f"{observed.load_before:.1f} processes wanted to run just before: wait until they have ended")
    if other > MOST_OTHER_CORES:
        reasons.append(f"other processes used {other:.2f} cores meanwhile: stop them, or measure on a quiet machine")
    if steal > MOST_STEAL:
        reasons.append(f"the host gave {steal:.1%} of the cores' time to other machines: measure when it is quiet")
    if clocks > MOST_CLOCK_DISAGREEMENT:
        reasons.append(f"the clocks disagree by {clocks:.2%}: measure again, and if they still do, stop what sets them")
    return reasons


def yardstick() -> float:
    """Seconds of a turn of fixed work that has nothing to do with the engines: how fast this machine is just now.

    Mostly numpy, on one thread (OpenBLAS uses more only for products above 64 x 64 x 64), a fifth Python, which is less
    steady. Median of 15 turns of about a millisecond after 3: of 600 such on a quiet machine 99 % lay within 1 %.
    """
    return statistics.median([_turn() for _ in range(18)][3:])


def _turn() -> float:
    begin = time.perf_counter()
    for _ in range(280):
        np.matmul(_MATRIX, _MATRIX)
    x = 1
    for _ in range(6_000):
        x = (x + 7) & 127  # small numbers are never allocated, which would take now more and now less
    return time.perf_counter() - begin
