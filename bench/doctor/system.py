"""What /proc and /sys report of the machine without a measurement."""

import sys
import time
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path

from bench.doctor.findings import Finding
from bench.machine.cpus import shown
from study.cgroups import quota_cores
from study.cores import allowed, physical_cores, with_siblings
from study.machine import governor, thread_variables, turbo
from study.system_files import ROOT, number, read

GOOD_CLOCKS = ("tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page", "xen")
SLOWEST_CLOCK = 1e-6
"""Seconds: a call of 15 microseconds would be measured to 7 %."""
LEAST_MEMORY = 2**30
"""Bytes that have to be available: engines, and their copies of a model."""


def findings(cpus: Collection[int] | None = None, root: Path = ROOT) -> Iterator[Finding]:
    """All of them, for processes on `cpus` (None: wherever this one may run)."""
    numbers = sorted(cpus or allowed() or ())
    yield from _cores(numbers, root)
    yield from _frequency(numbers, root)
    yield from _clocks(root)
    yield from _memory(root)
    yield from _power(root)
    yield from _variables()
    yield from _subnormals()


def _cores(numbers: list[int], root: Path) -> Iterator[Finding]:
    if not numbers:
        yield Finding("note", "cores", "this system does not number them", "disturbances of single cores are not seen")
        return
    physical = physical_cores(numbers, root)
    siblings = with_siblings(numbers, root)
    text = f"{shown(numbers)}, {physical} physical" if physical < len(numbers) else shown(numbers)
    if len(siblings) > physical:
        text += f", of {len(siblings) // physical} threads each (SMT)"
        remedy = f"keep the siblings {shown(siblings)} idle; `--threads all` means {physical}"
        yield Finding("note", "cores", text, remedy)
    else:
        yield Finding("ok", "cores", text)
    quota = quota_cores(root)
    if quota is None:
        yield Finding("ok", "quota", "none")
    elif quota < 1:
        yield Finding("bad", "quota", f"{quota:g} cores", "one thread needs 1: raise it (`docker run --cpus`)")
    else:
        remedy = f"use at most {int(quota)} --threads" if quota < physical else ""
        yield Finding("note" if remedy else "ok", "quota", f"{quota:g} cores", remedy)


def _frequency(numbers: list[int], root: Path) -> Iterator[Finding]:
    name = governor(root, numbers or None)
    if name in {None, "performance"}:
        yield Finding("ok", "governor", name or "not visible, as in most virtual machines")
    else:
        remedy = "the clock follows the load; run `sudo cpupower frequency-set -g performance`"
        yield Finding("note", "governor", str(name), remedy)
    boost = turbo(root)
    if boost:
        remedy = "the clock falls as the processor gets warm; switch it off for the smallest spread"
        yield Finding("note", "turbo", "on", remedy)
    else:
        yield Finding("ok", "turbo", "off" if boost is False else "not visible")


def _clocks(root: Path) -> Iterator[Finding]:
    source = read(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source is not None and source not in GOOD_CLOCKS:
        yield Finding("bad", "clock", source, "it is slow to read: boot with a kernel that uses tsc (`tsc=reliable`)")
    else:
        yield Finding("ok", "clock", source or "not visible")
    step = timer_step()
    remedy = "" if step <= SLOWEST_CLOCK else "calls of some microseconds cannot be timed here"
    yield Finding("bad" if remedy else "ok", "timer", f"{step * 1e9:.0f} ns from one reading to the next", remedy)


def timer_step(readings: int = 20_000) -> float:
    """Median step between two readings of the clock that differ, seconds."""
    times = [time.perf_counter() for _ in range(readings)]
    steps = sorted(b - a for a, b in pairwise(times) if b > a)
    return steps[len(steps) // 2] if steps else 1.0


def _memory(root: Path) -> Iterator[Finding]:
    values = {}
    for line in (read(root / "proc/meminfo") or "").splitlines():
        name, _, words = line.partition(":")
        if (size := words.split()) and size[0].isdecimal():
            values[name] = int(size[0]) * 1024
    free = values.get("MemAvailable")
    if free is None:
        yield Finding("ok", "memory", "not visible")
        return
    text = f"{free / 2**30:.1f} GiB available"
    if (swapped := values.get("SwapTotal", 0) - values.get("SwapFree", 0)) > 0:
        text += f", {swapped / 2**30:.1f} GiB swapped out"
    if free < LEAST_MEMORY:
        yield Finding("bad", "memory", text, "close other programs: the machine may begin to swap")
    else:
        yield Finding("ok", "memory", text)


def _power(root: Path) -> Iterator[Finding]:
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    mains = [read(one / "online") for one in supplies if read(one / "type") == "Mains"]
    batteries = [one.name for one in supplies if read(one / "status") == "Discharging"]
    if ("0" in mains and "1" not in mains) or (batteries and "1" not in mains):
        yield Finding("bad", "power", "on battery", "plug it in: the clock is lowered to save power")
    zones = [number(zone) for zone in (root / "sys/class/thermal").glob("thermal_zone*/temp")]
    hottest = max((zone for zone in zones if zone is not None), default=None)
    if hottest is not None:
        hot = hottest >= 90_000
        remedy = "let it cool: the processor lowers its clock" if hot else ""
        yield Finding("note" if hot else "ok", "temperature", f"{hottest / 1000:.0f} degrees Celsius", remedy)


def _variables() -> Iterator[Finding]:
    texts = [f"{name}={value}" for name, value in thread_variables().items()]
    remedy = "they change threads, instructions or memory of the engines; unset those you do not want" if texts else ""
    yield Finding("note" if texts else "ok", "variables", ", ".join(texts) or "none that engines read are set", remedy)


def _subnormals() -> Iterator[Finding]:
    if sys.float_info.min / 2 == 0:
        yield Finding("bad", "subnormals", "flushed to zero", "a library was loaded that changes arithmetic: remove it")
    else:
        yield Finding("ok", "subnormals", "computed, as in all engines here")
