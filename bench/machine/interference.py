"""Detect interference (other processes, steal time, frequency changes, preemption) during a measurement.

Measure within `with monitor() as monitored:`; `disturbances(monitored.interference, threads=1)` then gives the reasons
why the measurement is not valid.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.machine.counters import TICKS_PER_SECOND, OwnCores, Snapshot, own_cores, snapshot
from study.records.bench import Machine

SHORTEST = 0.5
"""Seconds. In less, /proc/stat, which counts in steps of 10 ms, is too coarse, and a few switches are a high rate."""
SHORTEST_FOR_CLOCKS = 0.1
"""Seconds. In less, the time to read the clocks is too large a part of their disagreement."""

MOST_LOAD = 1.5
"""One-minute load average, used only where /proc/stat is missing: the bench itself and half a process."""
MOST_OTHER_SHARE = 0.075
"""Share of the process's own physical cores that others use, on these or on their SMT siblings: well above an idle
system's services, well below one busy process on a machine of up to a dozen cores; on a larger one the kernel keeps
another program away from this one."""
MOST_CACHE_SHARE = 0.5
"""Busy share of the remaining cores that share the last cache: their programs slow this one by a few percent, in cache
and memory alone."""
MOST_STEAL = 0.01
"""Share of the time that the own cores were to compute, in which the host ran other guests."""
MOST_SWITCHES = 20
"""Involuntary context switches per second and thread. Linux 6.18 on two cores: 0 to 12 when idle, 22 to 50 beside a
busy process, 130 on the same core."""
FEWEST_CORES_USED, MOST_CORES_USED = 0.9, 1.1
"""Cores used per thread. Below the range, threads waited for a core or for each other; above it, unrequested threads
ran."""
MOST_CLOCK_DISAGREEMENT = 0.001
"""Twice the 0.05 % by which Linux may slew a clock (adjtimex(2)): beyond it a clock was set, or is wrong."""


@dataclass(frozen=True)
class Interference:
    """Activity between two snapshots; None where the system does not report it, or not finely enough."""

    wall_seconds: float
    cores_used: float
    """CPU time of this process and of its children that have ended / wall time."""
    machine: Machine
    """Its clock disagreement is the largest of |interval by another clock / interval by the performance counter - 1|.
    """


class Monitored:
    """The result of `monitor`."""

    interference: Interference
    """Set when the block ends."""


@contextmanager
def monitor(cpus: Collection[int] | None = None) -> Iterator[Monitored]:
    """Record the activity of the machine during the block, from one snapshot before it and one after it.

    Args:
        cpus: the cores of the processes that are measured, where they are others than those of this process.
    """
    monitored = Monitored()
    before = snapshot()
    yield monitored
    monitored.interference = interference(before, snapshot(), own_cores(cpus))


def interference(before: Snapshot, after: Snapshot, own: OwnCores | None = None) -> Interference:
    """The activity between two snapshots.

    Args:
        own: the cores of the measured processes; None: those of this process.
    """
    wall = after.seconds - before.seconds
    computed = after.process_seconds - before.process_seconds + after.children_seconds - before.children_seconds
    clock_disagreement = throttled_share = None
    if wall >= SHORTEST_FOR_CLOCKS:
        others = [b - a for a, b in zip(before.other_clocks, after.other_clocks, strict=True)]
        clock_disagreement = max(abs(other / wall - 1) for other in others)
    if before.throttled_seconds is not None and after.throttled_seconds is not None:
        throttled_share = max(0.0, after.throttled_seconds - before.throttled_seconds) / wall
    return Interference(
        wall_seconds=wall,
        cores_used=computed / wall,
        machine=Machine(
            **_of_cores(before, after, wall, computed, own or own_cores()),
            throttled_share=throttled_share,
            involuntary_switches_per_second=(after.involuntary_switches - before.involuntary_switches) / wall,
            load_before=before.load,
            load_after=after.load,
            clock_disagreement=clock_disagreement,
        ),
    )


def _of_cores(
    before: Snapshot, after: Snapshot, wall: float, computed: float, own: OwnCores | None
) -> dict[str, float | None]:
    """The keys of `Machine` that come from the counts of the cores.

    Args:
        computed: seconds of this process and its children.
    """
    both = before.ticks.keys() & after.ticks.keys()
    busy = {core: (after.ticks[core].busy - before.ticks[core].busy) / TICKS_PER_SECOND for core in both}
    idle = sum(after.ticks[core].idle - before.ticks[core].idle for core in both)
    found: dict[str, float | None] = dict.fromkeys(
        ("other_cores", "other_share", "cache_neighbours_share", "steal_share")
    )
    # In some sandboxes /proc/stat exists, but its counters never change.
    if wall < SHORTEST or sum(busy.values()) + idle <= 0:
        return found
    mine = both if own is None else own.with_siblings & both
    physical = len(both) if own is None else own.physical
    on_mine = sum(busy[core] for core in mine)
    found["other_cores"] = max(0.0, sum(busy.values()) - computed) / wall
    if not mine:
        return found
    found["other_share"] = max(0.0, on_mine - computed) / wall / physical
    if own is not None and (near := own.cache_neighbours & both):
        found["cache_neighbours_share"] = sum(busy[core] for core in near) / wall / len(near)
    steals = [(before.ticks[core].steal, after.ticks[core].steal) for core in mine]
    if all(first is not None and last is not None for first, last in steals):
        stolen = sum(max(0, (last or 0) - (first or 0)) for first, last in steals) / TICKS_PER_SECOND
        found["steal_share"] = stolen / max(wall, on_mine + stolen)
    return found


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
    other, steal, near = machine.other_share or 0.0, machine.steal_share or 0.0, machine.cache_neighbours_share or 0.0
    clocks, stopped = machine.clock_disagreement or 0.0, machine.throttled_share or 0.0
    load = machine.load_before or 0.0
    reasons = []
    if machine.other_cores is None and seen.wall_seconds >= SHORTEST and load > MOST_LOAD:
        reasons.append(f"the load average was {load:.1f} just before: wait until other programs have ended")
    if other > MOST_OTHER_SHARE:
        reasons.append(f"other processes used {other:.0%} of this one's cores: stop them, or choose idle --cpus")
    if near > MOST_CACHE_SHARE:
        reasons.append(f"the cores that share the last cache were {near:.0%} busy: stop other programs")
    if steal > MOST_STEAL:
        reasons.append(f"the host gave {steal:.1%} of the CPU time to other virtual machines: measure when it is idle")
    if stopped > 0:
        reasons.append(
            f"the quota of a control group stopped its processes for {stopped:.1%} of the time: raise it (`docker run "
            "--cpus`), or use fewer --threads"
        )
    if clocks > MOST_CLOCK_DISAGREEMENT:
        reasons.append(f"the clocks disagree by {clocks:.2%}: measure again, and stop the program that adjusts them")
    return reasons
