"""The doctor: each finding from a handmade /proc and /sys, or from times worked out by hand; and the whole command."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.commands import doctor
from bench.doctor import last_cache, load, speed, system
from bench.doctor.findings import Finding, fit, report
from bench.doctor.load import Load, between, recommended
from bench.doctor.speed import Loop
from bench.last_cache import half_bytes
from bench.machine.counters import TICKS_PER_SECOND
from study.machine import THREAD_VARIABLES
from study.records.bench import Calibration
from tests.bench.machine.test_interference import QUIET, disturbed
from tests.support.machines import CPU, V2, allow, lay_out, pairs_of_threads

CLOCK = "sys/devices/system/clocksource/clocksource0/current_clocksource"
FULL = Calibration(arithmetic_seconds=1e-4, memory_seconds=1e-3)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may run on the cores 0 and 1, and no variable is set."""
    allow(monkeypatch, 0, 1)
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def found(root: Path, subject: str) -> Finding:
    (one,) = (finding for finding in system.findings(root=root) if finding.subject == subject)
    return one


@pytest.mark.usefixtures("quiet")
def test_a_system_that_reports_nothing_is_not_called_unfit(tmp_path: Path) -> None:
    assert {finding.grade for finding in system.findings(root=tmp_path)} == {"ok"}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("files", "subject", "grade", "text"),
    [
        (pairs_of_threads((0, 1)), "cores", "note", "0-1, 1 physical, of 2 threads each (SMT): keep the siblings 0-1"),
        ({f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave"}, "governor", "note", "powersave: the clock follows the"),
        ({f"{CPU}/cpu0/cpufreq/scaling_governor": "performance"}, "governor", "ok", "performance"),
        ({f"{CPU}/cpufreq/boost": "1"}, "turbo", "note", "on: the clock falls as the processor gets warm"),
        ({f"{CPU}/cpufreq/boost": "0"}, "turbo", "ok", "off"),
        ({CLOCK: "tsc"}, "clock", "ok", "tsc"),
        ({CLOCK: "hpet"}, "clock", "bad", "hpet: it is slow to read"),
        ({"proc/meminfo": "MemAvailable: 524288 kB"}, "memory", "bad", "0.5 GiB available: close other programs"),
        (
            {"proc/meminfo": "MemAvailable: 8388608 kB\nSwapTotal: 2097152 kB\nSwapFree: 1048576 kB"},
            "memory",
            "ok",
            "8.0 GiB available, 1.0 GiB swapped out",
        ),
        (
            {"sys/class/power_supply/AC/type": "Mains", "sys/class/power_supply/AC/online": "0"},
            "power",
            "bad",
            "on battery: plug it in",
        ),
        ({"sys/class/thermal/thermal_zone0/temp": "95000"}, "temperature", "note", "95 degrees Celsius: let it cool"),
        ({"sys/class/thermal/thermal_zone0/temp": "45000"}, "temperature", "ok", "45 degrees Celsius"),
    ],
)
def test_findings_of_the_system(tmp_path: Path, files: dict[str, str], subject: str, grade: str, text: str) -> None:
    lay_out(tmp_path, files)
    one = found(tmp_path, subject)
    assert one.grade == grade
    assert str(one).partition(": ")[2].strip().startswith(text)


@pytest.mark.usefixtures("quiet")
def test_quotas(tmp_path: Path) -> None:
    for quota, grade, text in (
        ("max", "ok", "none"),
        ("50000", "bad", "0.5 cores: one thread needs 1"),
        ("150000", "note", "1.5 cores: use at most 1 --threads"),
        ("400000", "ok", "4 cores"),
    ):
        files = {"proc/self/mountinfo": V2.format("/"), "proc/self/cgroup": "0::/a"}
        lay_out(tmp_path, {**files, "sys/fs/cgroup/a/cpu.max": f"{quota} 100000"})
        one = found(tmp_path, "quota")
        assert (one.grade, str(one).partition(": ")[2].strip().startswith(text)) == (grade, True), quota


@pytest.mark.usefixtures("quiet")
def test_variables_that_engines_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    one = found(tmp_path, "variables")
    assert (one.grade, one.found) == ("note", "OMP_PROC_BIND=true")


# ---- other processes


def moment(root: Path, busy: tuple[int, ...], processes: dict[int, tuple[str, int]]) -> load.Moment:
    lines = "".join(f"cpu{core} {ticks} 0 0 0 0 0 0 0\n" for core, ticks in enumerate(busy))
    lay_out(root, {"proc/stat": f"cpu 0 0 0 0 0 0 0 0\n{lines}"})
    for number, (name, ticks) in processes.items():
        lay_out(root, {f"proc/{number}/stat": f"{number} ({name}) S " + "0 " * 10 + f"{ticks} 0 0"})
    return load._now(root)


def test_the_processes_that_compute_most_are_named(tmp_path: Path) -> None:
    tick = TICKS_PER_SECOND
    names = {7: ("a b) c", 10), 8: ("idle", 5), 9: ("some", 0), 10: ("more", 0), 11: ("least", 0)}
    first = moment(tmp_path, (100, 100), names)
    used = {7: 2.0, 8: 0, 9: 0.4, 10: 0.6, 11: 0.3}
    later = {number: (name, ticks + round(used[number] * tick)) for number, (name, ticks) in names.items()}
    seen = between(first, moment(tmp_path, (100 + 2 * tick, 100 + tick), later), 2.0)
    assert seen.busy == {0: 1.0, 1: 0.5}
    assert seen.processes == (("a b) c (7)", 1.0), ("more (10)", 0.3), ("some (9)", 0.2))


def test_a_load_is_bad_only_on_the_own_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, 0, 1)
    seen = Load({0: 0.0, 1: 0.9}, (("make (7)", 0.9),))
    (all_cores, pinning) = load.findings(seen, root=tmp_path)
    assert str(all_cores) == (
        "bad   load:             core 1 90% busy; make (7) 0.90: stop these programs, or choose idle cores with --cpus"
    )
    assert pinning.remedy == "for one thread try `--cpus 0`"
    (pinned,) = load.findings(seen, {0}, tmp_path)
    assert pinned.grade == "ok"


def test_the_recommended_core_is_the_last_idle_one_with_idle_siblings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, 0, 1, 2, 3, 4, 5)
    lay_out(tmp_path, pairs_of_threads((0, 3), (1, 4), (2, 5)))
    quiet_cores = dict.fromkeys(range(6), 0.0)
    assert recommended(quiet_cores, tmp_path) == 5
    assert recommended({**quiet_cores, 2: 0.5}, tmp_path) == 4
    assert recommended(dict.fromkeys(range(6), 0.5), tmp_path) is None
    allow(monkeypatch, 0)
    assert recommended({0: 0.0}, tmp_path) is None, "there is no choice"


# ---- the loops


def test_a_busy_last_cache_is_a_note() -> None:
    (quiet_,), (busy,) = list(last_cache.findings(1.2)), list(last_cache.findings(2.4))
    assert (quiet_.grade, busy.grade) == ("ok", "note")
    assert str(quiet_) == "ok    last cache:       a byte takes 1.20 times as long to read from half of it as from 4 MB"


@pytest.mark.parametrize(("size", "half"), [("32768K", 2**24), ("16M", 2**23), ("8M", None), ("", None)])
def test_half_of_the_last_cache(tmp_path: Path, size: str, half: int | None) -> None:
    files = {"level": "3", "type": "Unified", "size": size, "shared_cpu_list": "0-1"}
    lay_out(
        tmp_path,
        {"sys/devices/system/cpu/online": "0", **{f"{CPU}/cpu0/cache/index3/{k}": v for k, v in files.items()}},
    )
    assert half_bytes(tmp_path) == half


def test_a_system_without_caches_says_nothing_of_them(tmp_path: Path) -> None:
    assert last_cache.observe(tmp_path) is None
    assert list(last_cache.findings(None)) == []


def slower(factor: float) -> Calibration:
    return Calibration(arithmetic_seconds=1e-4 * factor, memory_seconds=1e-3 * factor)


def test_an_even_loop_is_fine() -> None:
    found_ = list(speed.findings(Loop([FULL] * 100, QUIET, 0, 0)))
    assert fit(found_)
    assert [str(one).split(": ")[-1].strip() for one in found_[:3]] == [
        "the middle half of the loop's times spreads over 0.0%",
        "the middle half of the loop's times spreads over 0.0%",
        "one speed all the time",
    ]


def test_two_speeds() -> None:
    for share, grade in ((2, "ok"), (15, "note"), (40, "bad")):
        several = [slower(1.6)] * share + [FULL] * (100 - share)
        (one,) = (each for each in speed.findings(Loop(several, QUIET, 0, 0)) if each.subject == "two speeds")
        assert one.grade == grade
        assert one.found == f"{share}% of the time slower: arithmetic 1.60, memory 1.60 times as long"


def test_an_uneven_loop() -> None:
    """A quarter of the times each at 0, 4, 8 and 12 % above the lowest: the middle half spreads over some 8 %."""
    several = [slower(1 + 0.04 * (n % 4)) for n in range(100)]
    grades = {one.subject: one.grade for one in speed.findings(Loop(several, QUIET, 0, 0))}
    assert (grades["arithmetic speed"], grades["memory speed"]) == ("note", "note")


def test_disturbances_swapping_and_heat_are_bad() -> None:
    seen = disturbed(steal_share=0.2, involuntary_switches_per_second=90.0)
    found_ = [one for one in speed.findings(Loop([FULL] * 9, seen, 12, 3)) if one.grade == "bad"]
    assert [one.subject for one in found_] == ["swapping", "heat", "disturbance", "disturbance"]
    assert str(found_[3]) == (
        "bad   disturbance:      the host gave 20.0% of the CPU time to other virtual machines: measure when it is idle"
    )


def test_the_verdict() -> None:
    ok, note, bad = (Finding(grade, grade, "x") for grade in ("ok", "note", "bad"))
    for findings, last in (
        ([ok], "fit to measure on"),
        ([ok, note], "fit to measure on, with a note"),
        ([note, note], "fit to measure on, with 2 notes"),
        ([ok, bad, bad], "not fit to measure on: bad; change what the lines marked bad say, and run it again"),
    ):
        lines = list(report("M", findings))
        assert (lines[0], lines[-1]) == ("M", last)
        assert fit(findings) == (bad not in findings)


def test_the_command_on_this_machine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "SLEEP_SECONDS", 0.1)
    monkeypatch.setattr(doctor, "LOOP_SECONDS", 0.6)
    code = main(["doctor", "--format", "json"])
    shown = json.loads(capsys.readouterr().out)
    assert code == (0 if shown["fit"] else 1)
    assert {"cores", "load", "timer", "arithmetic speed", "two speeds"} <= {one["subject"] for one in shown["findings"]}
    assert main(["doctor"]) in {0, 1}
    assert shown["fingerprint"] in capsys.readouterr().out.splitlines()[0]
