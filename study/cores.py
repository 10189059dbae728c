"""The cores that this process may use, and which of them are threads of the same physical core."""

import math
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from study.cgroups import quota_cores
from study.system_files import CPUS, ROOT, cpu_list, read


def allowed() -> list[int] | None:
    """Numbers of the cores that this process may run on; None where the system does not limit them by number."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def cores() -> int:
    """How many logical cores this process may run on."""
    listed = allowed()
    return len(listed) if listed is not None else os.cpu_count() or 1


def allotted_cores(root: Path = ROOT) -> int:
    """The same, or under a container's quota as many as it allows to compute at once; processes beyond that wait."""
    quota = quota_cores(root)
    return cores() if quota is None else min(cores(), math.ceil(quota))


def siblings(core: int, root: Path = ROOT) -> frozenset[int]:
    """The logical cores of the physical core that `core` belongs to; at least itself."""
    return frozenset(cpu_list(root / CPUS / f"cpu{core}/topology/thread_siblings_list") or ()) | {core}


def with_siblings(numbers: Iterable[int], root: Path = ROOT) -> frozenset[int]:
    """These cores and their SMT siblings."""
    return frozenset().union(*(siblings(core, root) for core in numbers))


def physical_cores(numbers: Collection[int], root: Path = ROOT) -> int:
    """How many physical cores these logical cores are threads of."""
    return len({siblings(core, root) for core in numbers})


def usable_cores(root: Path = ROOT) -> int:
    """How many threads of this process can compute at once, each on a physical core of its own.

    Fewer than `cores()` where two of these are threads of one core (SMT), which share its arithmetic units, or under a
    container's quota.
    """
    listed = allowed()
    most = cores() if listed is None else physical_cores(listed, root)
    quota = quota_cores(root)
    return most if quota is None else min(most, math.ceil(quota))


def cache_neighbours(numbers: Collection[int], root: Path = ROOT) -> frozenset[int]:
    """The other cores that share the last cache with one of these, without their SMT siblings."""
    near: set[int] = set()
    for core in numbers:
        caches = sorted((root / CPUS / f"cpu{core}/cache").glob("index*"), key=lambda one: read(one / "level") or "")
        if caches:
            near |= set(cpu_list(caches[-1] / "shared_cpu_list") or ())
    return frozenset(near) - with_siblings(numbers, root)
