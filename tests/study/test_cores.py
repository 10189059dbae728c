"""Which cores this process may use, from a handmade /proc and /sys."""

from pathlib import Path

import pytest

from study.cores import allotted_cores, cache_neighbours, cores, physical_cores, usable_cores, with_siblings
from study.system_files import numbers
from tests.support.machines import CPU, V2, allow, lay_out, pairs_of_threads


def test_a_list_of_cores() -> None:
    assert numbers("0-2,8,10-11") == [0, 1, 2, 8, 10, 11]
    for wrong in ("", "a", "1-", "3-1", "-1", "1,,2", "0 1"):
        with pytest.raises(ValueError, match="expected numbers and ranges"):
            numbers(wrong)


def test_threads_of_one_core_do_not_count_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, pairs_of_threads((0, 4), (1, 5), (2, 6), (3, 7)))
    for may_use, physical in (((0, 1, 2, 3, 4, 5, 6, 7), 4), ((0, 4), 1), ((0, 1), 2), ((3, 6, 7), 2)):
        allow(monkeypatch, *may_use)
        assert (cores(), usable_cores(tmp_path)) == (len(may_use), physical)
        assert allotted_cores(tmp_path) == len(may_use), "without a quota"
        assert physical_cores(may_use, tmp_path) == physical


def test_the_neighbours_of_a_core(tmp_path: Path) -> None:
    lay_out(tmp_path, pairs_of_threads((0, 4), (1, 5)))
    assert with_siblings([0], tmp_path) == {0, 4}
    assert cache_neighbours([0], tmp_path) == {1, 5}
    assert cache_neighbours([4, 1], tmp_path) == set()


def test_without_files_each_core_is_a_physical_one(tmp_path: Path) -> None:
    assert with_siblings([2, 3], tmp_path) == {2, 3}
    assert physical_cores([2, 3], tmp_path) == 2
    assert cache_neighbours([2, 3], tmp_path) == set()
    lay_out(tmp_path, {f"{CPU}/cpu2/topology/thread_siblings_list": "nonsense"})
    assert with_siblings([2], tmp_path) == {2}


def test_a_quota_limits_the_usable_cores_but_not_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, 2, 3, 10, 11)
    usable = {"max": 4, "1000000": 4, "400000": 4, "300001": 4, "300000": 3, "150000": 2, "1000": 1}
    for quota, count in usable.items():
        files = {"proc/self/mountinfo": V2.format("/"), "proc/self/cgroup": "0::/a"}
        lay_out(tmp_path, {**files, "sys/fs/cgroup/a/cpu.max": f"{quota} 100000"})
        assert usable_cores(tmp_path) == allotted_cores(tmp_path) == count
        assert cores() == 4
