"""The processor of this machine, its caches and cores, and a digest that tells one kind of machine from another."""

import hashlib
import json
import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import to_builtins

from study.cores import siblings
from study.records.bench import BenchEnvironment, Cache, Processor
from study.system_files import CPUS, ROOT, cpu_list, number, read

INSTRUCTION_SETS = {
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "asimdhp", "sve", "sve2", "i8mm", "bf16"),
}
"""Features that engines choose their kernels by. The others are not in the fingerprint: what else /proc/cpuinfo lists
changes with the kernel."""
DIGITS = 12
HYPERVISORS = (
    *("QEMU", "KVM", "VMware", "Xen", "Microsoft Corporation Virtual", "Amazon EC2", "Google", "DigitalOcean"),
    *("OpenStack", "innotek"),
)
"""Beginnings of the names that hypervisors present as the vendor or the product of a machine."""


def processor(root: Path = ROOT) -> Processor:
    """The processor as /proc and /sys report it."""
    blocks = list(_blocks(read(root / "proc/cpuinfo") or ""))

    def each(*names: str) -> str | None:
        """The values that the cores have under the first of these names that is there, each once."""
        for name in names:
            if values := dict.fromkeys(block[name] for block in blocks if block.get(name)):
                return "+".join(values)
        return None

    online = cpu_list(root / CPUS / "online")
    known = [core for core in online or () if read(root / CPUS / f"cpu{core}/topology/thread_siblings_list")]
    physical = {siblings(core, root) for core in known}
    packages = {number(root / CPUS / f"cpu{core}/topology/physical_package_id") for core in online or ()} - {None}
    smt = read(root / CPUS / "smt/active")
    nodes = cpu_list(root / "sys/devices/system/node/online")
    parts = [each("CPU variant"), each("CPU revision")]
    return Processor(
        architecture=platform.machine(),
        vendor=each("vendor_id", "CPU implementer"),
        family=each("cpu family", "CPU architecture"),
        model=each("model", "CPU part"),
        stepping=each("stepping") or " ".join(filter(None, parts)) or None,
        microcode=each("microcode"),
        logical_cores=len(online) if online else None,
        physical_cores=len(physical) or None,
        threads_per_core=max(map(len, physical), default=None),
        smt={"0": False, "1": True}.get(smt or ""),
        sockets=len(packages) or None,
        numa_nodes=len(nodes) if nodes else None,
        caches=tuple(caches(online or (), root)),
        hypervisor=hypervisor(root),
        clock_source=read(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
    )


def _blocks(cpuinfo: str) -> Iterator[dict[str, str]]:
    """The names and values of each processor in /proc/cpuinfo."""
    for block in cpuinfo.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        yield {name.strip(): value.strip() for name, _, value in pairs}


def caches(online: Sequence[int], root: Path = ROOT) -> Iterator[Cache]:
    """The caches of these cores, each kind once."""
    found: dict[tuple[int, str, int, int], set[str]] = defaultdict(set)
    for core in online:
        for folder in (root / CPUS / f"cpu{core}/cache").glob("index*"):
            level, kind, size, shared = (read(folder / name) for name in ("level", "type", "size", "shared_cpu_list"))
            cores = cpu_list(folder / "shared_cpu_list")
            if level and level.isdecimal() and kind and cores and shared:
                found[int(level), kind.lower(), _bytes(size or ""), len(cores)].add(shared)
    for (number_, kind, size_bytes, sharing), instances in sorted(found.items()):
        yield Cache(level=number_, kind=kind, size_bytes=size_bytes, shared_by=sharing, count=len(instances))


def _bytes(size: str) -> int:
    """The number of bytes of a size such as 32K; 0 if it is none."""
    digits, unit = size[:-1], size[-1:]
    return int(digits) * {"K": 2**10, "M": 2**20}.get(unit, 0) if digits.isdecimal() else 0


def hypervisor(root: Path = ROOT) -> str | None:
    """The hypervisor below, by the names that it presents; "unknown" if the processor reports one without a name."""
    names = [read(root / f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")]
    shown = " ".join(dict.fromkeys(name for name in names if name))
    if shown.startswith(HYPERVISORS) or (names[1] or "").startswith(HYPERVISORS):
        return shown
    if kind := read(root / "sys/hypervisor/type"):
        return kind
    return "unknown" if "hypervisor" in cpu_flags(root) else None


def cpu_flags(root: Path = ROOT) -> list[str]:
    """Features of the first processor in /proc/cpuinfo, sorted."""
    for line in (read(root / "proc/cpuinfo") or "").splitlines():
        name, _, words = line.partition(":")
        if name.strip() in {"flags", "Features"}:  # x86, ARM
            return sorted(set(words.split()))
    return []


def cpu_name(root: Path = ROOT) -> str:
    """The processor's model name, or the architecture if the system does not report one."""
    for line in (read(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def fingerprint(chip: Processor, flags: Sequence[str], name: str) -> str:
    """Digest of what does not change between sessions on one machine and decides how fast it is: 12 digits.

    Microcode, kernel, clock source, memory and the state of the frequency governor are left out: a reboot or an update
    may change them. So is whether the kernel says that SMT is on: the number of logical cores shows it.
    """
    parts = to_builtins(chip)
    for changing in ("microcode", "clock_source", "smt"):
        del parts[changing]
    parts |= {"name": name, "instructions": sorted(INSTRUCTION_SETS & set(flags))}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:DIGITS]


def in_words(environment: BenchEnvironment) -> str:
    """The machine of a bench.json in one line: what its fingerprint is made from, as far as people tell them apart."""
    return line(environment.cpu, environment.processor, environment.fingerprint)


def line(name: str, chip: Processor, identity: str) -> str:
    """The same of its parts: the processor's name, its facts and the fingerprint."""
    version = [
        f"{word} {value}"
        for word, value in (("family", chip.family), ("model", chip.model), ("stepping", chip.stepping))
        if value
    ]
    words = [f"{name} ({', '.join(version)})" if version else name]
    if chip.physical_cores:
        threads = f" of {chip.threads_per_core} threads" if (chip.threads_per_core or 1) > 1 else ""
        words.append(f"{chip.physical_cores} cores{threads}")
    if chip.caches:
        last = max(chip.caches, key=lambda cache: cache.level)
        many = f"{last.count} x " if last.count > 1 else ""
        words.append(f"L{last.level} {many}{last.size_bytes / 2**20:g} MiB")
    if chip.hypervisor:
        words.append("virtual" if chip.hypervisor == "unknown" else chip.hypervisor)
    return f"{', '.join(words)}; fingerprint {identity}"
