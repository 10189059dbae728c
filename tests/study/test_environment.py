"""The facts about a machine, from a handmade /proc and /sys."""

import os
import platform
import sys
from pathlib import Path

import pytest
from msgspec import structs

from study import environment
from study.environment import describe, machine, quota_cores, usable_cores
from tests.support.records import BENCH_ENVIRONMENT, ENVIRONMENT

CPU = "sys/devices/system/cpu"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
)
V2 = "31 23 0:28 {} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def lay_out(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may run on the cores 2, 3, 10 and 11."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {11, 2, 10, 3}, raising=False)


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_variables")
def test_a_system_that_reports_nothing_gives_nulls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    nothing = {"affinity": None, "quota_cores": None, "governor": None, "turbo": None}
    assert machine(tmp_path) == {"cpu_flags": [], **nothing, "thread_variables": {}}
    assert usable_cores(tmp_path) == 8


def test_the_flags_are_those_of_the_first_processor_in_order(tmp_path: Path) -> None:
    for name in ("flags\t\t", "Features\t"):
        lay_out(tmp_path, {"proc/cpuinfo": f"model name\t: X\n{name}: sse2 avx2 fma avx2\nbugs\t: x\n\n{name}: other"})
        assert machine(tmp_path)["cpu_flags"] == ["avx2", "fma", "sse2"]


@pytest.mark.usefixtures("four_cores", "no_variables")
def test_the_affinity_is_in_order_and_only_set_variables_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("MKL_DYNAMIC", "")
    facts = machine(tmp_path)
    assert facts["affinity"] == [2, 3, 10, 11]
    assert facts["thread_variables"] == {"OMP_WAIT_POLICY": "ACTIVE", "MKL_DYNAMIC": ""}


@pytest.mark.usefixtures("four_cores")
def test_the_governors_of_the_allowed_cores_are_listed_once_each(tmp_path: Path) -> None:
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


# ---- the quota of the control groups


def test_the_smallest_quota_of_the_group_and_its_parents_counts(tmp_path: Path) -> None:
    for top, own, quota in (
        ("max 100000", "max 100000", None),
        ("max 100000", "150000 100000", 1.5),
        ("50000 100000", "150000 100000", 0.5),
        ("200000 50000", "max 50000", 4.0),
    ):
        groups = {"a/cpu.max": top, "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": own, "a/b/other/cpu.max": "1 100000"}
        files = {"proc/self/mountinfo": V2.format("/"), "proc/self/cgroup": "0::/a/b/c"}
        lay_out(tmp_path, files | {f"sys/fs/cgroup/{name}": text for name, text in groups.items()})
        assert quota_cores(tmp_path) == quota
        assert machine(tmp_path)["quota_cores"] == quota


def test_the_quota_of_control_groups_version_one(tmp_path: Path) -> None:
    for quota, cores in (("-1", None), ("250000", 2.5)):
        files = {
            "proc/self/mountinfo": V1.format("/"),
            "proc/self/cgroup": "3:cpuset:/x\n2:cpu,cpuacct:/user.slice/a\n0::/x",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu/user.slice/a/cpu.cfs_quota_us": quota,
            "sys/fs/cgroup/cpu/user.slice/a/cpu.cfs_period_us": "100000",
        }
        lay_out(tmp_path, files)
        assert quota_cores(tmp_path) == cores


def test_in_a_container_the_mounted_folder_is_its_own_group(tmp_path: Path) -> None:
    """Without a namespace the container's group has its full name there; with one it is the root."""
    for top, group in (("/docker/0123", "/docker/0123"), ("/docker/0123", "/"), ("/..", "/")):
        files = {"proc/self/mountinfo": V2.format(top), "proc/self/cgroup": f"0::{group}"}
        lay_out(tmp_path, {**files, "sys/fs/cgroup/cpu.max": "300000 100000"})
        assert quota_cores(tmp_path) == 3


def test_of_a_hierarchy_mounted_twice_the_first_mount_counts(tmp_path: Path) -> None:
    mounts = V2.format("/") + V2.format("/a").replace("/sys/fs/cgroup", "/run/other")
    lay_out(tmp_path, {"proc/self/mountinfo": mounts, "proc/self/cgroup": "0::/a"})
    lay_out(tmp_path, {"sys/fs/cgroup/cpu.max": "300000 100000", "run/other/cpu.max": "100000 100000"})
    assert quota_cores(tmp_path) == 3


@pytest.mark.usefixtures("four_cores")
def test_a_quota_limits_the_usable_cores_but_not_the_cores(tmp_path: Path) -> None:
    usable = {"max": 4, "1000000": 4, "400000": 4, "300001": 4, "300000": 3, "150000": 2, "1000": 1}
    for quota, cores in usable.items():
        files = {"proc/self/mountinfo": V2.format("/"), "proc/self/cgroup": "0::/a"}
        lay_out(tmp_path, {**files, "sys/fs/cgroup/a/cpu.max": f"{quota} 100000"})
        assert usable_cores(tmp_path) == cores
        assert environment.cores() == 4


def test_the_machine_at_hand_can_be_asked() -> None:
    found = machine()
    assert 1 <= usable_cores() <= environment.cores()
    affinity = found["affinity"]
    assert affinity is None or (isinstance(affinity, list) and len(affinity) == environment.cores())
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert "sse2" in environment.cpu_flags()


def test_an_environment_in_words() -> None:
    machine = {"cpu": "X1", "cores": 4, "memory_bytes": 8 * 2**30, "system": "Linux-6", "python": "3.11.7"}
    made = {**machine, "packages": {"torch": "2.13.0", "onnx": "1.23"}, "commit": "0123456789abcdef", "dirty": True}
    versions = "Python 3.11.7, torch 2.13.0, onnx 1.23"
    trained = describe(structs.replace(ENVIRONMENT, **made))
    assert str(trained) == f"X1, 4 cores, 8 GiB, Linux-6, {versions}; commit 0123456789ab with uncommitted changes"
    settings = {"governor": "performance", "turbo": False, "quota_cores": 1.5, "commit": None}
    measured = describe(structs.replace(BENCH_ENVIRONMENT, **made | settings))
    assert measured.machine == "X1, 4 cores (quota 1.5), 8 GiB"
    assert measured.setup == "governor performance, turbo off, Linux-6"
    assert (measured.versions, measured.commit) == (versions, "no commit known")
