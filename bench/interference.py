"""Detect interference (other processes, steal time, frequency changes, preemption) during a measurement.

Measure within `with monitor() as monitored:`; `disturbances(monitored.interference, threads=1)` then gives the reasons
why the measurement is not valid. `time_calibration_loop` measures how fast the machine itself is.
"""

import os
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.cpus import pin as pin  # which the worker does first
from study.records.bench import Machine

PROC_STAT = Path("/proc/stat")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SHORTEST = 0.5
"""Seconds. In less, /proc/stat, which counts in steps of 10 ms, is too coarse, and a few switches are a high rate."""
SHORTEST_FOR_CLOCKS = 0.1
"""Seconds. In less, the time to read the clocks is too large a part of their disagreement."""

MOST_LOAD = 1.5
"""One-minute load average, used only where /proc/stat is missing: the bench itself and half a process."""
MOST_OTHER_CORES = 0.15
"""Cores used by other processes: well above an idle system's services, well below one busy process."""
MOST_STEAL = 0.01
"""Share of CPU time that the host of a virtual machine gives to other guests."""
MOST_SWITCHES = 20
"""Involuntary context switches per second and thread. Linux 6.18 on two cores: 0 to 12 when idle, 22 to 50 beside a
busy process, 130 on the same core."""
FEWEST_CORES_USED, MOST_CORES_USED = 0.9, 1.1
"""Cores used per thread. Below the range, threads waited for a core or for each other; above it, unrequested threads
ran."""
MOST_CLOCK_DISAGREEMENT = 0.001
"""Twice the 0.05 % by which Linux may slew a clock (adjtimex(2)): beyond it a clock was set, or is wrong."""

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
    """Reading of the performance counter, which times everything here."""
    other_clocks: tuple[float, ...]
    """Readings, in seconds, of clocks that should run equally fast: the raw hardware clock, if there is one, and the
    system time."""
    process_seconds: float
    """CPU time of this process, all its threads."""
    involuntary_switches: int
    load: float | None
    ticks: Ticks | None
    children_seconds: float = 0.0
    """CPU time of child processes that have ended."""


@dataclass(frozen=True)
class Interference:
    """Activity between two snapshots; None where the system does not report it, or not finely enough."""

    wall_seconds: float
    cores_used: float
    """CPU time of this process over wall time."""
    machine: Machine
    """Its clock disagreement is the largest of |interval by another clock / interval by the performance counter - 1|.
    """


class Monitored:
    """The result of `monitor`."""

    interference: Interference
    """Set when the block ends."""


@contextmanager
def monitor() -> Iterator[Monitored]:
    """Record the activity of the machine during the block, from one snapshot before it and one after it."""
    monitored = Monitored()
    before = snapshot()
    yield monitored
    monitored.interference = interference(before, snapshot())


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
    """All clocks at one moment: the shortest of several readings, so that none was interrupted."""
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", None)
    readings = []
    for _ in range(5):
        begin = time.perf_counter()
        others = (time.time(),) if raw is None else (time.clock_gettime(raw), time.time())
        readings.append((time.perf_counter() - begin, begin, *others))
    return min(readings)[1:]


def parse_stat(text: str) -> Ticks | None:
    """The counts in the text of /proc/stat, or None if it has none.

    Guest time is left out, because the kernel includes it in `user` and `nice`.
    """
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    if len(lines) < 2:  # the sum, then each core
        return None
    user, nice, system, idle, iowait, irq, softirq, *rest = map(int, lines[0][1:])
    return Ticks(user + nice + system + irq + softirq, idle + iowait, rest[0] if rest else None, len(lines) - 1)


def interference(before: Snapshot, after: Snapshot) -> Interference:
    """The activity between two snapshots."""
    wall = after.seconds - before.seconds
    process = after.process_seconds - before.process_seconds
    children = after.children_seconds - before.children_seconds
    other_cores = steal_share = clock_disagreement = None
    first, last = before.ticks, after.ticks
    # In some sandboxes /proc/stat exists, but its counters never change.
    if first and last and wall >= SHORTEST and last.busy + last.idle > first.busy + first.idle:
        other_cores = max(0.0, (last.busy - first.busy) / TICKS_PER_SECOND - process - children) / wall
        if first.steal is not None and last.steal is not None:
            steal_share = max(0, last.steal - first.steal) / TICKS_PER_SECOND / (wall * last.cores)
    if wall >= SHORTEST_FOR_CLOCKS:
        others = [b - a for a, b in zip(before.other_clocks, after.other_clocks, strict=True)]
        clock_disagreement = max(abs(other / wall - 1) for other in others)
    return Interference(
        wall_seconds=wall,
        cores_used=process / wall,
        machine=Machine(
            other_cores=other_cores,
            other_share=None,
            cache_neighbours_share=None,
            steal_share=steal_share,
            throttled_share=None,
            involuntary_switches_per_second=(after.involuntary_switches - before.involuntary_switches) / wall,
            load_before=before.load,
            load_after=after.load,
            clock_disagreement=clock_disagreement,
        ),
    )


def disturbances(seen: Interference, threads: int) -> list[str]:
    """Reasons why a measurement by this process on `threads` threads is not valid; empty if it is."""
    used, switches = seen.cores_used, seen.machine.involuntary_switches_per_second or 0.0
    cores_used = f"{used:.2f} cores used by {threads} thread{'s' if threads > 1 else ''}"
    reasons = []
    if threads == 1 and used < FEWEST_CORES_USED:  # several threads usually wait for each other
        reasons.append(f"{cores_used}: stop other programs on this machine")
    if used > MOST_CORES_USED * threads:
        reasons.append(f"{cores_used}: stop other threads of this process")
    if switches > MOST_SWITCHES * threads and seen.wall_seconds >= SHORTEST:
        reasons.append(f"the kernel preempted the process {switches:.0f} times a second: stop other programs")
    return reasons + external_disturbances(seen)


def external_disturbances(seen: Interference) -> list[str]:
    """Reasons outside this process and its children why a measurement is not valid."""
    machine = seen.machine
    other, steal, clocks = machine.other_cores or 0.0, machine.steal_share or 0.0, machine.clock_disagreement or 0.0
    load, reasons = machine.load_before or 0.0, []
    if machine.other_cores is None and seen.wall_seconds >= SHORTEST and load > MOST_LOAD:
        reasons.append(f"the load average was {load:.1f} just before: wait until other programs have ended")
    if other > MOST_OTHER_CORES:
        reasons.append(f"other processes used {other:.2f} cores: stop them, or measure on an idle machine")
    if steal > MOST_STEAL:
        reasons.append(f"the host gave {steal:.1%} of the CPU time to other virtual machines: measure when it is idle")
    if clocks > MOST_CLOCK_DISAGREEMENT:
        reasons.append(f"the clocks disagree by {clocks:.2%}: measure again, and stop the program that adjusts them")
    return reasons


def time_calibration_loop() -> float:
    """How fast this machine is now: seconds of one turn of fixed work that does not depend on the engines.

    Mostly numpy, on one thread (OpenBLAS uses more only for products above 64 x 64 x 64), and a fifth Python, which
    varies more. Median of 15 turns of about 1 ms after 3 more: 99 % of 600 results on an idle machine were within 1 %.
    """
    return statistics.median([_turn() for _ in range(18)][3:])


def _turn() -> float:
    begin = time.perf_counter()
    for _ in range(280):
        np.matmul(_MATRIX, _MATRIX)
    x = 1
    for _ in range(6_000):
        x = (x + 7) & 127  # Python caches small integers; allocating others would take a varying time
    return time.perf_counter() - begin
