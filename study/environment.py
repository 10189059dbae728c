"""The machine, package versions and commit behind a result: read from the system, and described in words."""

import contextlib
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from study.records.base import Environment

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "pytest-benchmark",
)
ROOT = Path("/")
"""Contains /proc and /sys."""
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES"),
    *("GOMP_SPINCOUNT", "GOMP_CPU_AFFINITY", "KMP_BLOCKTIME", "KMP_AFFINITY"),
    *("MKL_NUM_THREADS", "MKL_DYNAMIC", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"),
    *("MALLOC_ARENA_MAX", "MALLOC_CONF", "LD_PRELOAD"),
)
"""Variables that change the threads, instructions or memory allocator of the engines."""


@dataclass(frozen=True)
class Description:
    """An environment in words; as a string, all of it."""

    machine: str
    """Such as "AMD EPYC, 2 cores, 24 GiB"."""
    setup: str
    """Frequency governor and turbo where they are known, and the operating system."""
    versions: str
    """Of Python and the packages."""
    commit: str

    def __str__(self) -> str:
        return f"{self.machine}, {self.setup}, {self.versions}; {self.commit}"


def describe(environment: Environment) -> Description:
    """The environment of a JSON file in words."""
    # Only a bench.json records how fast the machine may be.
    quota, turbo, governor = (getattr(environment, name, None) for name in ("quota_cores", "turbo", "governor"))
    share = "" if quota is None else f" (quota {quota:g})"
    settings = [f"governor {governor}" if governor else "", {True: "turbo on", False: "turbo off", None: ""}[turbo]]
    packages = (f"{name} {version}" for name, version in environment.packages.items())
    dirty = " with uncommitted changes" if environment.dirty else ""
    memory = f"{environment.memory_bytes / 2**30:.0f} GiB"
    return Description(
        machine=f"{environment.cpu}, {environment.cores} cores{share}, {memory}",
        setup=", ".join(filter(None, (*settings, environment.system))),
        versions=", ".join((f"Python {environment.python}", *packages)),
        commit=f"commit {environment.commit[:12]}{dirty}" if environment.commit else "no commit known",
    )


def environment() -> Environment:
    """The machine, the versions of the installed packages and the commit of this repository."""
    revision, dirty = commit()
    return Environment(
        cpu=cpu_name(),
        cores=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        python=platform.python_version(),
        packages=versions(),
        commit=revision,
        dirty=dirty,
    )


def cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_cores(root: Path = ROOT) -> int:
    """How many threads of this process can run at once: `cores()`, or fewer under a container's quota."""
    quota = quota_cores(root)
    return cores() if quota is None else min(cores(), math.ceil(quota))


def machine(root: Path = ROOT) -> dict[str, object]:
    """The settings that decide how fast this process can run; null or empty where the system does not report one.

    Returns:
        `cpu_flags`: the processor's features, sorted. `affinity`: numbers of the cores that this process may run on.
        `quota_cores`: processor time it may use, in cores. `governor`: frequency governor of these cores. `turbo`:
        whether they may exceed their nominal frequency. `thread_variables`: those of THREAD_VARIABLES that are set.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "cpu_flags": cpu_flags(root),
        "affinity": allowed,
        "quota_cores": quota_cores(root),
        "governor": governor(root, allowed),
        "turbo": turbo(root),
        "thread_variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }


def cpu_flags(root: Path = ROOT) -> list[str]:
    """Features of the first processor in /proc/cpuinfo, sorted."""
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        name, _, words = line.partition(":")
        if name.strip() in {"flags", "Features"}:  # x86, ARM
            return sorted(set(words.split()))
    return []


def quota_cores(root: Path = ROOT) -> float | None:
    """CPU quota of this process's control groups, in cores; None if unlimited.

    A group may use no more than its parents, so the smallest quota counts (Linux: admin-guide/cgroup-v2.rst, `cpu.max`;
    scheduler/sched-bwc.rst, `cpu.cfs_quota_us`, for version 1).
    """
    quotas = []
    for folder in _cpu_groups(root):
        words = (_read(folder / "cpu.max") or "").split()  # "max 100000" or "150000 100000"
        if not words:
            words = [_read(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
        if all(word.isdecimal() for word in words):  # "max" and "-1" are no limit
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def _cpu_groups(root: Path) -> Iterator[Path]:
    """Folders of this process's control groups that limit processor time, each followed by its parents."""
    mounts: dict[str, list[str]] = {}
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        kind, options = right.split()[0], right.split()[-1].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options):
            mounts.setdefault(kind, left.split()[3:5])  # the group, and its mount point
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
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


def governor(root: Path, allowed: list[int] | None) -> str | None:
    """Frequency governor of the `allowed` cores (None: of core 0); comma-separated if they differ."""
    folder = root / "sys/devices/system/cpu"
    names = {_read(folder / f"cpu{core}/cpufreq/scaling_governor") for core in allowed or [0]} - {None}
    return ", ".join(sorted(str(name) for name in names)) or None


def turbo(root: Path = ROOT) -> bool | None:
    """Whether the processor may exceed its nominal frequency."""
    folder = root / "sys/devices/system/cpu"
    if (off := _read(folder / "intel_pstate/no_turbo")) in {"0", "1"}:
        return off == "0"
    if (on := _read(folder / "cpufreq/boost")) in {"0", "1"}:
        return on == "1"
    return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def cpu_name() -> str:
    """The processor's model name, or the architecture if the system does not report one."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of the installed packages among PACKAGES."""
    installed = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def commit() -> tuple[str, bool] | tuple[None, None]:
    """The commit of this file's repository, and whether there are uncommitted changes; None outside git."""
    root = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(("git", "-C", str(root), *words), capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip(), bool(git("status", "--porcelain").strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None
