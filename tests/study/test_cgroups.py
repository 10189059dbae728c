"""The limits of control groups, from a handmade /proc and /sys."""

from pathlib import Path

from study.cgroups import quota_cores, throttled_seconds
from tests.support.machines import V1, V2, lay_out


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


def test_the_time_of_being_stopped_is_that_of_all_groups_up_to_the_top(tmp_path: Path) -> None:
    groups = {
        "a/cpu.stat": "usage_usec 9\nnr_throttled 4\nthrottled_usec 250000",
        "a/b/cpu.stat": "throttled_usec 500000",
        "a/other/cpu.stat": "throttled_usec 99",
        "cpu.stat": "usage_usec 12",
    }
    files = {"proc/self/mountinfo": V2.format("/"), "proc/self/cgroup": "0::/a/b"}
    lay_out(tmp_path, files | {f"sys/fs/cgroup/{name}": text for name, text in groups.items()})
    assert throttled_seconds(tmp_path) == 0.75
    assert throttled_seconds(tmp_path / "empty") is None


def test_version_one_counts_nanoseconds(tmp_path: Path) -> None:
    files = {"proc/self/mountinfo": V1.format("/"), "proc/self/cgroup": "2:cpu,cpuacct:/a"}
    lay_out(tmp_path, {**files, "sys/fs/cgroup/cpu/a/cpu.stat": "nr_periods 3\nthrottled_time 1500000000"})
    assert throttled_seconds(tmp_path) == 1.5
