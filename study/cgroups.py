"""The control groups of this process: the processor time that they allow, and how often they withheld it."""

from collections.abc import Iterator
from pathlib import Path

from study.system_files import ROOT, read


def quota_cores(root: Path = ROOT) -> float | None:
    """CPU quota of this process's control groups, in cores; None if unlimited.

    A group may use no more than its parents, so the smallest quota counts (Linux: admin-guide/cgroup-v2.rst, `cpu.max`;
    scheduler/sched-bwc.rst, `cpu.cfs_quota_us`, for version 1).
    """
    quotas = []
    for folder in cpu_groups(root):
        words = (read(folder / "cpu.max") or "").split()  # "max 100000" or "150000 100000"
        if not words:
            words = [read(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
        if all(word.isdecimal() for word in words):  # "max" and "-1" are no limit
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def throttled_seconds(root: Path = ROOT) -> float | None:
    """Time for which quotas have stopped the groups of this process, all together; None if no group reports it.

    `cpu.stat` counts it in `throttled_usec` (version 2), or in `throttled_time`, nanoseconds (version 1).
    """
    return throttled(list(cpu_groups(root)))


def throttled(groups: list[Path]) -> float | None:
    """The same of these folders, whose names need not be found again each time."""
    seconds = []
    for folder in groups:
        for line in (read(folder / "cpu.stat") or "").splitlines():
            name, _, count = line.partition(" ")
            if name in {"throttled_usec", "throttled_time"} and count.isdecimal():
                seconds.append(int(count) / (1e6 if name == "throttled_usec" else 1e9))
    return sum(seconds) if seconds else None


def cpu_groups(root: Path = ROOT) -> Iterator[Path]:
    """Folders of this process's control groups that limit processor time, each followed by its parents."""
    mounts: dict[str, list[str]] = {}
    for line in (read(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        kind, options = right.split()[0], right.split()[-1].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options):
            mounts.setdefault(kind, left.split()[3:5])  # the group, and its mount point
    for line in (read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        kind = "cgroup" if "cpu" in controllers.split(",") else "cgroup2"
        if kind not in mounts or (kind == "cgroup2" and controllers):
            continue
        top, mount_point = mounts[kind]
        mounted = root / mount_point.lstrip("/")
        folder = mounted / Path(group).relative_to(top) if Path(group).is_relative_to(top) else mounted
        yield folder
        while folder != mounted:
            folder = folder.parent
            yield folder
