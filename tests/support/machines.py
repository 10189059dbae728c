"""A handmade /proc and /sys."""

import os
from pathlib import Path

import pytest

CPU = "sys/devices/system/cpu"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
)
V2 = "31 23 0:28 {} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def lay_out(root: Path, files: dict[str, str]) -> None:
    """Write these texts below `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


def pairs_of_threads(*pairs: tuple[int, int]) -> dict[str, str]:
    """The files of cores of two threads each, all below one cache."""
    names = sorted(core for pair in pairs for core in pair)
    shared = ",".join(map(str, names))
    files = {f"{CPU}/online": shared}
    for pair in pairs:
        for core in pair:
            folder = f"{CPU}/cpu{core}"
            files[f"{folder}/topology/thread_siblings_list"] = f"{pair[0]},{pair[1]}"
            for index, (level, size, those) in enumerate(((1, "32K", f"{pair[0]},{pair[1]}"), (3, "8192K", shared))):
                cache = f"{folder}/cache/index{index}"
                files |= {f"{cache}/level": str(level), f"{cache}/type": "Data" if level == 1 else "Unified"}
                files |= {f"{cache}/size": size, f"{cache}/shared_cpu_list": those}
    return files


def allow(monkeypatch: pytest.MonkeyPatch, *cores: int) -> None:
    """The process may run on these cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(cores), raising=False)
