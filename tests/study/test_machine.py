"""The settings of a machine, from a handmade /proc and /sys."""

import os
import platform
import sys
from pathlib import Path

import pytest
from msgspec import convert

from study.cores import cores, usable_cores
from study.environment import environment
from study.machine import THREAD_VARIABLES, machine
from study.processor import cpu_flags
from study.record_files import as_json
from study.records.bench import BenchEnvironment
from tests.support.machines import CPU, allow, lay_out

REST: dict[str, object] = {"load_before": None, "load_after": None, "files_sha256": {}, "gpu": None}


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_variables")
def test_a_system_that_reports_nothing_gives_nulls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    nothing = {"affinity": None, "quota_cores": None, "governor": None, "turbo": None}
    found = machine(tmp_path)
    assert {name: found[name] for name in nothing} == nothing
    assert (found["cpu_flags"], found["thread_variables"]) == ([], {})
    assert usable_cores(tmp_path) == 8


def test_the_flags_are_those_of_the_first_processor_in_order(tmp_path: Path) -> None:
    for name in ("flags\t\t", "Features\t"):
        lay_out(tmp_path, {"proc/cpuinfo": f"model name\t: X\n{name}: sse2 avx2 fma avx2\nbugs\t: x\n\n{name}: other"})
        assert machine(tmp_path)["cpu_flags"] == ["avx2", "fma", "sse2"]


@pytest.mark.usefixtures("no_variables")
def test_the_affinity_is_in_order_and_only_set_variables_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, 11, 2, 10, 3)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("MKL_DYNAMIC", "")
    facts = machine(tmp_path)
    assert facts["affinity"] == [2, 3, 10, 11]
    assert facts["thread_variables"] == {"OMP_WAIT_POLICY": "ACTIVE", "MKL_DYNAMIC": ""}


def test_the_governors_of_the_allowed_cores_are_listed_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, 2, 3, 10, 11)
    files = {f"{CPU}/cpu{core}/cpufreq/scaling_governor": "performance" for core in (2, 3, 10)}  # none for core 11
    lay_out(tmp_path, files | {f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave"})
    assert machine(tmp_path)["governor"] == "performance"
    lay_out(tmp_path, {f"{CPU}/cpu2/cpufreq/scaling_governor": "schedutil"})
    assert machine(tmp_path)["governor"] == "performance, schedutil"


def test_turbo(tmp_path: Path) -> None:
    for n, (file, text, turbo) in enumerate(
        (
            ("intel_pstate/no_turbo", "0", True),
            ("intel_pstate/no_turbo", "1", False),
            ("cpufreq/boost", "1", True),
            ("cpufreq/boost", "0", False),
            ("cpufreq/boost", "unknown", None),
        )
    ):
        lay_out(tmp_path / str(n), {f"{CPU}/{file}": text})
        assert machine(tmp_path / str(n))["turbo"] is turbo


def test_the_machine_at_hand_can_be_asked() -> None:
    found = machine()
    convert({**as_json(environment()), **found, **REST}, BenchEnvironment)
    assert 1 <= usable_cores() <= cores()
    affinity = found["affinity"]
    assert affinity is None or (isinstance(affinity, list) and len(affinity) == cores())
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert "sse2" in cpu_flags()
