"""Interference with a measurement is detected: from counters worked out by hand, and from a real busy neighbour."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bench.machine import counters
from bench.machine.counters import OwnCores, Snapshot, Ticks, parse_stat, snapshot
from bench.machine.interference import Interference, disturbances, interference, monitor
from study.records.bench import Machine

STAT = """\
cpu  1000 200 300 5000 60 7 8 90 400 50
cpu0 500 100 150 2500 30 4 4 45 200 25
cpu1 500 100 150 2500 30 3 4 45 200 25
intr 12345 0 1
"""
QUIET = Interference(
    wall_seconds=2.0,
    cores_used=1.0,
    machine=Machine(
        other_cores=0.01,
        other_share=0.005,
        cache_neighbours_share=None,
        steal_share=0.0,
        throttled_share=0.0,
        involuntary_switches_per_second=1.0,
        load_before=0.3,
        load_after=0.9,
        clock_disagreement=1e-6,
    ),
)


def disturbed(seen: Interference = QUIET, /, **changes: Any) -> Interference:
    """`seen` with changes of its own fields or of those of its machine."""
    own = {name: changes.pop(name) for name in ("wall_seconds", "cores_used") if name in changes}
    return replace(seen, machine=structs.replace(seen.machine, **changes), **own)


def moment(
    seconds: float,
    raw: float,
    date: float,
    process: float = 0,
    switches: int = 0,
    ticks: Mapping[int, Ticks] | None = None,
    **more: float,
) -> Snapshot:
    return Snapshot(seconds, (raw, date), process, switches, None, ticks or {}, **more)


def own(
    cores: set[int], siblings: set[int] | None = None, physical: int | None = None, near: set[int] | None = None
) -> OwnCores:
    """The cores of a process, alone on physical cores unless siblings are given."""
    both = frozenset(cores | (siblings or set()))
    return OwnCores(both, physical or len(cores), frozenset(near or ()))


def after(seconds: float, computed: float, busy: Mapping[int, float], **more: Any) -> Interference:
    """The activity of a stretch in which the cores were busy for these seconds, and this process computed so long."""
    steal = more.pop("steal", {})
    cores, tick = more.pop("own", own(set(busy))), counters.TICKS_PER_SECOND
    last = {
        core: Ticks(round(one * tick), round((seconds - one) * tick), round(steal.get(core, 0) * tick))
        for core, one in busy.items()
    }
    begin = moment(0, 0, 0, ticks=dict.fromkeys(busy, Ticks(0, 0, 0)), throttled_seconds=1.0)
    end = moment(seconds, seconds, seconds, computed, ticks=last, **{"throttled_seconds": 1.0, **more})
    return interference(begin, end, cores)


# ---- counters and clocks


def test_busy_time_excludes_idle_time_and_steal_and_counts_guests_once() -> None:
    each = 500 + 100 + 150 + 4
    assert parse_stat(STAT) == {
        0: Ticks(busy=each + 4, idle=2500 + 30, steal=45),
        1: Ticks(busy=each + 3, idle=2500 + 30, steal=45),
    }
    assert parse_stat("cpu 1 2 3 4 5 6 7\ncpu0 1 2 3 4 5 6 7\n") == {0: Ticks(19, 9, None)}, "a kernel without steal"
    assert parse_stat("intr 1 2 3\n") == {}


def test_wall_time_switches_and_clocks() -> None:
    seen = interference(moment(10, 50, 1e9, process=3.0, switches=7), moment(12, 52, 1e9 + 2, process=4.9, switches=17))
    assert (seen.wall_seconds, seen.machine.involuntary_switches_per_second) == (2, 5)
    assert seen.machine.clock_disagreement == 0
    assert seen.cores_used == pytest.approx(1.9 / 2)


def test_other_cores_are_those_of_the_machine_less_those_of_this_process_and_its_children() -> None:
    seen = after(2, 1.5, {0: 1.9, 1: 1.0, 2: 0.2, 3: 0}, children_seconds=0.4)
    assert seen.cores_used == pytest.approx(1.9 / 2)
    assert seen.machine.other_cores == pytest.approx((3.1 - 1.9) / 2)
    assert seen.machine.other_share == pytest.approx((3.1 - 1.9) / 2 / 4)


def test_only_the_own_cores_and_their_siblings_count_as_disturbed() -> None:
    """Core 0 has the sibling 4, core 1 shares the cache, and the cores 2 and 3 are another processor's."""
    cores = own({0}, siblings={4}, physical=1, near={1})
    quiet = after(2, 2.0, {0: 2.0, 4: 0.0, 1: 0.6, 2: 2.0, 3: 2.0}, own=cores)
    assert (quiet.machine.other_share, quiet.machine.cache_neighbours_share) == (0, 0.3)
    assert quiet.machine.other_cores == pytest.approx(4.6 / 2)
    assert disturbances(quiet, 1) == []
    (sibling,) = disturbances(after(2, 2.0, {0: 2.0, 4: 0.5, 1: 0.0, 2: 0.0, 3: 0.0}, own=cores), 1)
    assert sibling.startswith("other processes used 25% of this one's cores: stop them, or choose idle --cpus")
    (cache,) = disturbances(after(2, 2.0, {0: 2.0, 4: 0.0, 1: 1.8, 2: 0.0, 3: 0.0}, own=cores), 1)
    assert cache == "the cores that share the last cache were 90% busy: stop other programs"


def test_a_background_of_a_third_of_a_core_disturbs_a_small_machine_and_not_a_large_one() -> None:
    for size, disturbed_ in ((2, True), (4, True), (64, False)):
        busy = dict.fromkeys(range(size), 0.0) | {0: 2.0, 1: 0.7}
        assert bool(disturbances(after(2, 2.0, busy), 1)) == disturbed_


def test_steal_counts_against_what_the_own_cores_were_to_compute() -> None:
    """One thread that waits for a fifth of the time has waited for a fifth, on two cores and on sixty-four."""
    for size in (2, 64):
        busy = dict.fromkeys(range(size), 0.0) | {1: 1.6}
        seen = after(2, 1.6, busy, steal={1: 0.4})
        assert seen.machine.steal_share == pytest.approx(0.2)
    assert after(2, 2.0, {0: 2.0, 1: 0.0}, steal={1: 1.0}, own=own({0})).machine.steal_share == 0, "another core's"


def test_throttling_by_a_quota_is_a_reason() -> None:
    """A quota of 1.5 cores, and two threads that are stopped for a quarter of each period."""
    seen = after(2, 3.0, {0: 1.5, 1: 1.5}, throttled_seconds=1.5)
    assert seen.machine.throttled_share == 0.25
    (reason,) = disturbances(seen, 2)
    assert reason == (
        "the quota of a control group stopped its processes for 25.0% of the time: raise it (`docker run --cpus`), or "
        "use fewer --threads"
    )
    assert after(2, 3.0, {0: 1.5, 1: 1.5}, throttled_seconds=None).machine.throttled_share is None


def test_other_cores_are_never_negative() -> None:
    """The kernel counts the time of this process by another, finer clock."""
    seen = after(1, 1.0, {0: 0.99})
    assert (seen.machine.other_cores, seen.machine.other_share) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "first", "last"),
    [
        pytest.param(0.4, {0: Ticks(0, 0, 0)}, {0: Ticks(40, 40, 1)}, id="too short for ticks of 10 ms"),
        pytest.param(2, None, None, id="no /proc/stat"),
        pytest.param(2, {0: Ticks(0, 0, 0)}, {0: Ticks(0, 0, 0)}, id="a sandbox that counts nothing"),
    ],
)
def test_unknown_values_are_none(
    seconds: float, first: Mapping[int, Ticks] | None, last: Mapping[int, Ticks] | None
) -> None:
    seen = interference(moment(0, 0, 0, ticks=first), moment(seconds, seconds, seconds, seconds, ticks=last))
    shares = (seen.machine.other_share, seen.machine.cache_neighbours_share, seen.machine.throttled_share)
    assert (seen.machine.other_cores, seen.machine.steal_share, *shares) == (None,) * 5
    assert disturbances(seen, 1) == []


def test_a_system_without_proc_and_raw_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(counters, "PROC_STAT", tmp_path / "stat")
    monkeypatch.delattr(time, "CLOCK_MONOTONIC_RAW", raising=False)
    seen = snapshot()
    assert seen.ticks == {}
    (date,) = seen.other_clocks
    assert date == pytest.approx(time.time(), abs=5)


def test_the_clock_that_is_farthest_off_counts() -> None:
    hour = 3600
    for raw, date, disagreement in ((2.002, 2, 0.001), (2.002, 1.99, 0.005), (2, 2 - hour, 1800), (2, 2 + hour, 1800)):
        seen = interference(moment(5, 100, 1e6), moment(7, 100 + raw, 1e6 + date))
        assert seen.machine.clock_disagreement == pytest.approx(disagreement, abs=1e-9)
    assert interference(moment(0, 0, 0), moment(0.09, 5, 5)).machine.clock_disagreement is None, "too short"


def test_the_clocks_of_this_machine_agree() -> None:
    with monitor() as monitored:
        time.sleep(0.2)
    seen = monitored.interference
    assert seen.machine.clock_disagreement is not None
    assert seen.machine.clock_disagreement < 0.01
    assert seen.wall_seconds == pytest.approx(0.2, abs=0.1)
    assert seen.cores_used < 0.5


# ---- reasons


def test_each_disturbance_beyond_its_limit_has_a_reason() -> None:
    for field, limit, value, reason in (
        ("other_share", 0.075, 0.49, "other processes used 49% of this one's cores: stop them, or choose idle --cpus"),
        ("cache_neighbours_share", 0.5, 0.8, "the cores that share the last cache were 80% busy: stop other programs"),
        ("throttled_share", 0.0, 0.125, "the quota of a control group stopped its processes for 12.5% of the time"),
        ("steal_share", 0.01, 0.125, "the host gave 12.5% of the CPU time to other virtual machines: measure when"),
        ("involuntary_switches_per_second", 20, 130.4, "the kernel preempted the process 130 times a second: stop"),
        ("cores_used", 0.9, 0.72, "0.72 cores used by 1 thread: stop other programs on this machine"),
        ("cores_used", 1.1, 1.9, "1.90 cores used by 1 thread: stop other threads of this process"),
        ("clock_disagreement", 0.001, 0.02, "the clocks disagree by 2.00%: measure again, and stop the program"),
    ):
        (found,) = disturbances(disturbed(**{field: value}), 1)
        assert found.startswith(reason)
        assert disturbances(disturbed(**{field: limit}), 1) == []


def test_the_load_average_counts_only_without_proc_stat() -> None:
    busy = disturbed(load_before=1.6)
    assert disturbances(busy, 1) == []
    (reason,) = disturbances(disturbed(busy, other_cores=None), 1)
    assert reason == "the load average was 1.6 just before: wait until other programs have ended"


def test_a_few_switches_in_a_short_measurement_are_not_many() -> None:
    many = disturbed(involuntary_switches_per_second=40)
    assert disturbances(many, 1) != []
    assert disturbances(disturbed(many, wall_seconds=0.1), 1) == []


def test_limits_of_cores_and_switches_are_per_thread() -> None:
    two = disturbed(cores_used=1.9, involuntary_switches_per_second=30)
    assert disturbances(two, 2) == []
    assert len(disturbances(two, 1)) == 2
    assert disturbances(two, 3) == [], "several threads usually wait for each other"


# ---- the real machine


def busy_wait(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.skipif(not counters.PROC_STAT.exists(), reason="only Linux reports the activity of the whole machine")
def test_a_busy_neighbour_is_detected() -> None:
    busy = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(busy, stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
            with monitor() as monitored:
                busy_wait(1)
        finally:
            neighbour.kill()
    other = monitored.interference.machine.other_cores
    assert other is not None
    assert 0.5 < other <= (os.cpu_count() or 1) + 0.1
    assert any(reason.startswith("other processes used") for reason in disturbances(monitored.interference, 1))


def test_child_processes_that_have_ended_are_no_neighbours() -> None:
    """A second of computing in a child belongs neither to this process nor to others."""
    before = snapshot()
    burn = "import time\nwhile time.process_time() < 1: pass"
    with subprocess.Popen([sys.executable, "-c", burn]) as child:
        assert snapshot().children_seconds == before.children_seconds, "a child that still runs counts as a neighbour"
    after = snapshot()
    assert child.returncode == 0
    assert 1 <= after.children_seconds - before.children_seconds < 2
    assert after.process_seconds - before.process_seconds < 0.5
