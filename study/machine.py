"""The settings that decide how fast this process can run: they may change between two sessions on one machine."""

import os
from collections.abc import Collection
from pathlib import Path

from study.cgroups import quota_cores
from study.cores import allowed
from study.processor import cpu_flags, cpu_name, fingerprint, line, processor
from study.records.bench import TorchBuild
from study.system_files import CPUS, ROOT, read
from study.torch_build import torch_build

THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES"),
    *("GOMP_SPINCOUNT", "GOMP_CPU_AFFINITY", "KMP_BLOCKTIME", "KMP_AFFINITY"),
    *("MKL_NUM_THREADS", "MKL_DYNAMIC", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"),
    *("MALLOC_ARENA_MAX", "MALLOC_CONF", "LD_PRELOAD"),
)
"""Variables that change the threads, instructions or memory allocator of the engines."""


def machine(root: Path = ROOT, cpus: Collection[int] | None = None) -> dict[str, object]:
    """What a bench.json has of its machine beside the `Environment`: the keys of `BenchEnvironment`, null if unknown.

    `torch_build` is null until torch is imported.

    Args:
        cpus: the cores of the measuring processes, where they are others than those of this process.
    """
    numbers = allowed() if cpus is None else sorted(cpus)
    flags = cpu_flags(root)
    chip = processor(root)
    build: TorchBuild | None = torch_build()
    return {
        "fingerprint": fingerprint(chip, flags, cpu_name(root)),
        "processor": chip,
        "torch_build": build,
        "cpu_flags": flags,
        "affinity": numbers,
        "quota_cores": quota_cores(root),
        "governor": governor(root, numbers),
        "turbo": turbo(root),
        "thread_variables": thread_variables(),
    }


def identity(root: Path = ROOT) -> tuple[str, str]:
    """The fingerprint of this machine, and the machine in one line."""
    chip, name = processor(root), cpu_name(root)
    digest = fingerprint(chip, cpu_flags(root), name)
    return digest, line(name, chip, digest)


def thread_variables() -> dict[str, str]:
    """Those of THREAD_VARIABLES that are set."""
    return {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}


def governor(root: Path = ROOT, numbers: list[int] | None = None) -> str | None:
    """Frequency governor of these cores (None: of core 0); comma-separated if they differ."""
    names = {read(root / CPUS / f"cpu{core}/cpufreq/scaling_governor") for core in numbers or [0]} - {None}
    return ", ".join(sorted(str(name) for name in names)) or None


def turbo(root: Path = ROOT) -> bool | None:
    """Whether the processor may exceed its nominal frequency."""
    if (off := read(root / CPUS / "intel_pstate/no_turbo")) in {"0", "1"}:
        return off == "0"
    if (on := read(root / CPUS / "cpufreq/boost")) in {"0", "1"}:
        return on == "1"
    return None
