"""What disturbs a measurement is seen and said: of counters by hand, and of a neighbour that is really there."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench import interference as watch
from bench.interference import Observed, Snapshot, Ticks, as_record, disturbances, observe, parse_stat
from tests.conftest import ROOT

STAT = """\
cpu  1000 200 300 5000 60 7 8 90 400 50
cpu0 500 100 150 2500 30 4 4 45 200 25
cpu1 500 100 150 2500 30 3 4 45 200 25
intr 12345 0 1
ctxt 6789
"""
QUIET = Observed(
    wall_seconds=2.0,
    cores_used=1.0,
    other_cores=0.01,
    steal_share=0.0,
    involuntary_switches_per_second=1.0,
    load_before=0.3,
    load_after=0.9,
    clock_disagreement=1e-6,
)


def moment(
    seconds: float, raw: float, date: float, process: float = 0, switches: int = 0, ticks: Ticks | None = None
) -> Snapshot:
    return Snapshot(seconds, (raw, date), process, switches, None, ticks)


class TestCounters:
    def test_busy_time_has_neither_idle_time_nor_steal_nor_guests_twice(self) -> None:
        assert parse_stat(STAT) == Ticks(busy=1000 + 200 + 300 + 7 + 8, idle=5000 + 60, steal=90, cores=2)

    def test_a_kernel_before_steal_was_counted(self) -> None:
        assert parse_stat("cpu 1 2 3 4 5 6 7\ncpu0 1 2 3 4 5 6 7\n") == Ticks(19, 9, None, 1)

    @pytest.mark.parametrize("text", ["", "intr 1 2 3\n"])
    def test_no_counters(self, text: str) -> None:
        assert parse_stat(text) is None

    def test_what_others_used_is_what_the_machine_used_without_this_process(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watch, "TICKS_PER_SECOND", 100)
        before = moment(10, 50, 1e9, process=3.0, switches=7, ticks=Ticks(1000, 4000, 20, 4))
        after = moment(12, 52, 1e9 + 2, process=4.9, switches=17, ticks=Ticks(1310, 4488, 22, 4))
        seen = observe(before, after)
        assert seen.wall_seconds == 2
        assert seen.cores_used == pytest.approx(1.9 / 2)
        assert seen.other_cores == pytest.approx((3.1 - 1.9) / 2)
        assert seen.steal_share == pytest.approx(0.02 / (2 * 4))
        assert seen.involuntary_switches_per_second == 5
        assert seen.clock_disagreement == 0

    def test_others_used_no_less_than_nothing(self) -> None:
        """The kernel counts this process's own time by another clock, and finer."""
        seen = observe(moment(0, 0, 0, 0, 0, Ticks(0, 0, 0, 1)), moment(1, 1, 1, 1.0, 0, Ticks(99, 1, 0, 1)))
        assert seen.other_cores == 0

    @pytest.mark.parametrize(
        ("seconds", "first", "last"),
        [
            pytest.param(0.4, Ticks(0, 0, 0, 2), Ticks(40, 40, 1, 2), id="too short for ticks of 10 ms"),
            pytest.param(2, None, None, id="no /proc/stat"),
            pytest.param(2, Ticks(0, 0, 0, 0), Ticks(0, 0, 0, 0), id="a sandbox where nothing is counted"),
        ],
    )
    def test_what_is_not_known_is_null(self, seconds: float, first: Ticks | None, last: Ticks | None) -> None:
        seen = observe(moment(0, 0, 0, ticks=first), moment(seconds, seconds, seconds, seconds, ticks=last))
        assert seen.other_cores is None
        assert seen.steal_share is None
        assert disturbances(seen, 1) == []

    def test_a_system_without_proc_is_watched_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(watch, "PROC_STAT", tmp_path / "stat")
        monkeypatch.delattr(time, "CLOCK_MONOTONIC_RAW", raising=False)
        seen = watch.snapshot()
        assert seen.ticks is None
        assert len(seen.other_clocks) == 1
        assert seen.other_clocks[0] == pytest.approx(time.time(), abs=5)


class TestClocks:
    @pytest.mark.parametrize(
        ("raw", "date", "disagreement"),
        [(2, 2, 0), (2.002, 2, 0.001), (2.002, 1.99, 0.005), (2, -3598, 1800), (2, 3602, 1800)],
    )
    def test_the_clock_that_is_farthest_off_counts(self, raw: float, date: float, disagreement: float) -> None:
        """The last two: an hour back or on."""
        seen = observe(moment(5, 100, 1e6), moment(7, 100 + raw, 1e6 + date))
        assert seen.clock_disagreement == pytest.approx(disagreement, abs=1e-9)

    def test_they_are_not_compared_over_less_than_a_tenth_of_a_second(self) -> None:
        assert observe(moment(0, 0, 0), moment(0.09, 5, 5)).clock_disagreement is None

    def test_those_of_this_machine_agree_here(self) -> None:
        with watch.watch() as watched:
            time.sleep(0.2)
        assert watched.observed.clock_disagreement is not None
        assert watched.observed.clock_disagreement < 0.01
        assert watched.observed.wall_seconds == pytest.approx(0.2, abs=0.1)
        assert watched.observed.cores_used < 0.5


class TestReasons:
    def test_a_quiet_machine_gives_none(self) -> None:
        assert disturbances(QUIET, 1) == []

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("other_cores", 0.98, "other processes used 0.98 cores meanwhile: stop them, or measure on a quiet"),
            ("steal_share", 0.125, "the host gave 12.5% of the cores' time to other machines: measure when it is"),
            ("involuntary_switches_per_second", 130.4, "the kernel took the core away 130 times a second: stop what"),
            ("cores_used", 0.72, "0.72 cores used by 1 threads: stop what else runs on this machine"),
            ("cores_used", 1.9, "1.90 cores used by 1 threads: stop what else runs in this process"),
            ("clock_disagreement", 0.02, "the clocks disagree by 2.00%: measure again, and if they still do, stop"),
        ],
    )
    def test_each_disturbance_is_named_with_what_to_do(self, field: str, value: float, reason: str) -> None:
        (found,) = disturbances(replace(QUIET, **{field: value}), 1)
        assert found.startswith(reason)

    def test_just_below_the_limits_nothing_is_said(self) -> None:
        calm = replace(QUIET, other_cores=0.15, steal_share=0.01, cores_used=0.9, clock_disagreement=0.001)
        assert disturbances(replace(calm, involuntary_switches_per_second=watch.MOST_SWITCHES), 1) == []

    def test_a_few_switches_in_a_moment_are_not_many(self) -> None:
        many = replace(QUIET, involuntary_switches_per_second=40)
        assert disturbances(many, 1) != []
        assert disturbances(replace(many, wall_seconds=0.1), 1) == []

    def test_cores_and_switches_are_those_of_all_threads(self) -> None:
        two = replace(QUIET, cores_used=1.9, involuntary_switches_per_second=1.5 * watch.MOST_SWITCHES)
        assert disturbances(two, 2) == []
        assert len(disturbances(two, 1)) == 2
        assert disturbances(two, 3) == [], "threads wait for each other as a rule"


def test_the_record_has_what_the_schema_names_under_machine() -> None:
    assert as_record(QUIET) == {
        "other_cores": 0.01,
        "steal_share": 0.0,
        "involuntary_switches_per_second": 1.0,
        "load_before": 0.3,
        "load_after": 0.9,
        "clock_disagreement": 1e-6,
    }


@pytest.mark.skipif(not watch.PROC_STAT.exists(), reason="only Linux tells what the whole machine does")
def test_a_busy_neighbour_is_seen_and_named() -> None:
    busy = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(busy, stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
            with watch.watch() as watched:
                end = time.perf_counter() + 1
                while time.perf_counter() < end:
                    pass
        finally:
            neighbour.kill()
    other = watched.observed.other_cores
    assert other is not None
    assert 0.5 < other <= (os.cpu_count() or 1) + 0.1
    assert any(reason.startswith("other processes used") for reason in disturbances(watched.observed, 1))


def test_the_yardstick_keeps_to_one_thread_where_numpy_may_use_four() -> None:
    script = """
import time
from bench.interference import yardstick
time.sleep(0.3)  # new threads of OpenBLAS spin for a while
process, thread = time.process_time(), time.thread_time()
assert 1e-5 < yardstick() < 1
print((time.process_time() - process) / (time.thread_time() - thread))
"""
    four = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "4")
    output = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **four})
    assert float(output) == pytest.approx(1, abs=0.02)


def test_what_the_processes_do_that_this_one_started_is_not_the_neighbours() -> None:
    """A second of computing in a child, which is not this process's own time either."""
    burn = "import time\nwhile time.process_time() < 1: pass"
    with watch.watch() as watched:
        subprocess.run([sys.executable, "-c", burn], check=True)
    assert watched.observed.cores_used < 0.5
    if watched.observed.other_cores is not None:  # counted by /proc/stat, where there is one
        quiet = watched.observed.other_cores
        with watch.watch() as watched:
            child = subprocess.Popen([sys.executable, "-c", burn])
            time.sleep(1.2)
        assert watched.observed.other_cores is not None
        assert watched.observed.other_cores > quiet + 0.3, "one that has not ended is counted as a neighbour"
        child.wait()
