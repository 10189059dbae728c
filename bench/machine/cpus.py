"""The option `--cpus`: the cores that the measuring processes run on.

By default nothing is pinned. Several threads are placed better by the kernel, which knows which cores are idle now. One
thread gains from a core whose SMT sibling is idle, since it never migrates and shares neither its units nor its caches;
on a core where other programs run it loses, because it cannot move away. `python -m bench doctor` recommends a core.
"""

import os
from collections.abc import Collection
from pathlib import Path

from study.cores import allowed, physical_cores, usable_cores
from study.errors import StudyError
from study.system_files import ROOT, numbers


def chosen_cpus(text: str | None) -> frozenset[int] | None:
    """The cores of a list such as "2,3" or "0-3"; None without the option.

    Raises:
        StudyError: it is no list, or this process may not run on all of them.
    """
    if text is None:
        return None
    may_use = allowed()
    if may_use is None or not hasattr(os, "sched_setaffinity"):
        raise StudyError("--cpus: this system does not let a process choose its cores; leave it out")
    try:
        wanted = frozenset(numbers(text))
    except ValueError as error:
        raise StudyError(f"--cpus: {error}") from None
    if missing := wanted - set(may_use):
        raise StudyError(
            f"--cpus: expected some of the cores that this process may run on, {shown(may_use)}; found {shown(missing)}"
        )
    return wanted


def most_threads(cpus: Collection[int] | None, root: Path = ROOT) -> int:
    """How many threads these cores (None: those this process may run on) compute at once, one a physical core."""
    return usable_cores(root) if cpus is None else min(usable_cores(root), physical_cores(cpus, root))


def pin(cpus: Collection[int] | None) -> None:
    """Keep this process, and the threads and processes that it starts from now on, on these cores; None: anywhere.

    It has to come before an engine is imported: threads that exist already stay where they are.
    """
    if cpus is not None:
        os.sched_setaffinity(0, cpus)


def shown(cores: Collection[int]) -> str:
    """A list of cores with ranges, such as "0-3,8"."""
    ranges: list[list[int]] = []
    for core in sorted(cores):
        if ranges and core == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], core]
        else:
            ranges.append([core])
    return ",".join("-".join(map(str, one)) for one in ranges)
