"""What other processes do now: the load of each core, and who causes it."""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.doctor.findings import Finding
from bench.machine.counters import TICKS_PER_SECOND, Ticks, own_cores, parse_stat
from bench.machine.cpus import shown
from bench.machine.interference import MOST_CACHE_SHARE, MOST_OTHER_SHARE
from study.cores import allowed, siblings
from study.system_files import ROOT, read

IDLE = 0.05
"""Busy share up to which a core is called idle."""
SHOWN = 3
"""The processes that are named."""


@dataclass(frozen=True)
class Load:
    """The machine in a stretch in which this process slept."""

    busy: Mapping[int, float]
    """Busy share of each core."""
    processes: tuple[tuple[str, float], ...]
    """Name and number of the processes that computed most, and the cores that they used."""


def observe(seconds: float, root: Path = ROOT) -> Load:
    """Sleep for some seconds, and see what the others do."""
    first = _now(root)
    time.sleep(seconds)
    return between(first, _now(root), seconds)


Moment = tuple[Mapping[int, Ticks], Mapping[str, int]]
"""Counts of each core, and ticks of each process."""


def _now(root: Path) -> Moment:
    ticks = {}
    for file in (root / "proc").glob("[0-9]*/stat"):
        text = read(file) or ""
        name, _, rest = text.partition("(")[2].rpartition(")")
        words = rest.split()
        if len(words) > 12 and file.parent.name != str(os.getpid()):
            ticks[f"{name} ({file.parent.name})"] = int(words[11]) + int(words[12])  # utime, stime: proc_pid_stat(5)
    return parse_stat(read(root / "proc/stat") or ""), ticks


def between(first: Moment, last: Moment, seconds: float) -> Load:
    """The load between two moments."""
    cores = first[0].keys() & last[0].keys()
    total = seconds * TICKS_PER_SECOND
    busy = {core: min(1.0, (last[0][core].busy - first[0][core].busy) / total) for core in sorted(cores)}
    used = {name: (ticks - first[1].get(name, 0)) / total for name, ticks in last[1].items() if name in first[1]}
    most = sorted(used.items(), key=lambda item: -item[1])[:SHOWN]
    return Load(busy, tuple((name, cores_) for name, cores_ in most if cores_ >= 0.01))


def findings(load: Load, cpus: Collection[int] | None = None, root: Path = ROOT) -> Iterator[Finding]:
    """What the load means for processes on `cpus`, and which core one thread may be pinned to."""
    own = own_cores(cpus, root)
    if not load.busy or own is None:
        yield Finding("note", "load", "not visible", "make sure that nothing else runs")
        return
    mine = {core: share for core, share in load.busy.items() if core in own.with_siblings}
    names = ", ".join(f"{name} {cores:.2f}" for name, cores in load.processes) or "no process stands out"
    text = f"{_shares(load.busy)}; {names}"
    if sum(mine.values()) / own.physical > MOST_OTHER_SHARE:
        yield Finding("bad", "load", text, "stop these programs, or choose idle cores with --cpus")
    elif own.cache_neighbours and _mean(load.busy, own.cache_neighbours) > MOST_CACHE_SHARE:
        yield Finding("bad", "load", text, "stop the programs on the cores that share the last cache")
    else:
        yield Finding("ok", "load", text)
    if cpus is None and (one := recommended(load.busy, root)) is not None:
        yield Finding("ok", "pinning", f"core {one} and its siblings are idle", f"for one thread try `--cpus {one}`")


def recommended(busy: Mapping[int, float], root: Path = ROOT) -> int | None:
    """The core to which one thread may be pinned: idle, with idle siblings, the last one; None if there is none.

    The last, because the kernel handles most interrupts and its own work on the first ones.
    """
    listed = allowed() or []
    idle = [core for core in listed if all(busy.get(one, 0.0) <= IDLE for one in siblings(core, root))]
    return max(idle) if len(listed) > 1 and idle else None


def _mean(busy: Mapping[int, float], cores: Collection[int]) -> float:
    return sum(busy.get(core, 0.0) for core in cores) / len(cores)


def _shares(busy: Mapping[int, float]) -> str:
    """The busy cores, each with its share."""
    loaded = {core: share for core, share in busy.items() if share > IDLE}
    if not loaded:
        return f"cores {shown(busy)} idle"
    most = sorted(loaded.items(), key=lambda item: -item[1])[:8]
    return ", ".join(f"core {core} {share:.0%} busy" for core, share in sorted(most))
