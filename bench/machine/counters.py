"""Clocks and counters of this process and of each core, at one moment."""

import os
import resource
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from study.cgroups import cpu_groups, throttled
from study.cores import allowed, cache_neighbours, physical_cores, with_siblings
from study.system_files import ROOT

PROC_STAT = Path("/proc/stat")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ticks:
    """Counts of one core since boot, in clock ticks (proc_stat(5))."""

    busy: int
    idle: int
    steal: int | None


@dataclass(frozen=True)
class OwnCores:
    """The cores that matter to a process, by their numbers."""

    with_siblings: frozenset[int]
    """Those that it may run on, and their SMT siblings, which share the units that compute."""
    physical: int
    """How many physical cores these are."""
    cache_neighbours: frozenset[int]
    """Further cores below the same last cache."""


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
    ticks: Mapping[int, Ticks] = field(default_factory=dict)
    """Of each core; empty where the system does not report them."""
    children_seconds: float = 0.0
    """CPU time of child processes that have ended."""
    throttled_seconds: float | None = None
    """Time for which quotas have stopped the control groups of this process."""


def own_cores(cpus: Collection[int] | None = None, root: Path = ROOT) -> OwnCores | None:
    """The cores of this process, or of one that runs on `cpus`; None where the system does not number them."""
    numbers = allowed() if cpus is None else cpus
    return None if numbers is None else _own_cores(frozenset(numbers), root)


@cache
def _own_cores(numbers: frozenset[int], root: Path) -> OwnCores:
    return OwnCores(with_siblings(numbers, root), physical_cores(numbers, root), cache_neighbours(numbers, root))


def snapshot() -> Snapshot:
    """Clocks and counters now; takes about 0.1 ms."""
    stat, load = "", None
    with suppress(OSError):
        stat = PROC_STAT.read_text()
    with suppress(OSError):
        load = os.getloadavg()[0]
    stopped = throttled(_groups())
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, *others = _clocks()
    own = time.process_time()
    ended = children.ru_utime + children.ru_stime
    return Snapshot(seconds, tuple(others), own, switches, load, parse_stat(stat), ended, stopped)


@cache
def _groups() -> list[Path]:
    return list(cpu_groups())


def _clocks() -> tuple[float, ...]:
    """All clocks at one moment: the shortest of several readings, so that none was interrupted."""
    raw = getattr(time, "CLOCK_MONOTONIC_RAW", None)
    readings = []
    for _ in range(5):
        begin = time.perf_counter()
        others = (time.time(),) if raw is None else (time.clock_gettime(raw), time.time())
        readings.append((time.perf_counter() - begin, begin, *others))
    return min(readings)[1:]


def parse_stat(text: str) -> dict[int, Ticks]:
    """The counts of each core in the text of /proc/stat; empty if it has none.

    Guest time is left out, because the kernel includes it in `user` and `nice`.
    """
    counts = {}
    for line in text.splitlines():
        name, *words = line.split() or [""]
        if name.startswith("cpu") and name != "cpu":  # which is the sum
            user, nice, system, idle, iowait, irq, softirq, *rest = map(int, words)
            counts[int(name[3:])] = Ticks(
                user + nice + system + irq + softirq, idle + iowait, rest[0] if rest else None
            )
    return counts
