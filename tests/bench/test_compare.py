"""The gate for regressions: `python -m bench compare OLD NEW`, on records made here."""

import json
import math
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import main
from bench.compare import Change, Measured, compare, judge, median, quotient
from study.artifacts import check
from study.errors import StudyError
from tests.conftest import run
from tests.test_design import modules_after

Record = dict[str, Any]
MACHINE = dict.fromkeys(
    (
        *("other_cores", "steal_share", "involuntary_switches_per_second"),
        *("load_before", "load_after", "clock_disagreement"),
    )
)
NAME = "gap-onnxruntime-batch1-threads1-native"


def case(median: float = 100e-6, half: float = 0.001, **changes: Any) -> Record:
    """A valid case whose median is `median` seconds, with an interval of `half` of it to both sides."""
    medians = {
        "median_seconds": median,
        "median_low_seconds": median * (1 - half),
        "median_high_seconds": median * (1 + half),
    }
    percentiles = {f"{p}{end}_seconds": None for p in ("p90", "p95", "p99", "p999") for end in ("", "_low", "_high")}
    return {
        **{"model": "gap", "seed": 0, "runtime": "onnxruntime", "batch": 1, "threads": 1, "mode": "native"},
        **{"device": "cpu", "onnx_sha256": "a" * 64, "onnx_bytes": 1, "parameters": 1, "macs": None},
        **{"subnormal_weights": 0, "inputs_sha256": "b" * 64, "samples": 1000, **medians, **percentiles},
        **{"input_seed": None, "input_shapes": {}},
        **{"images_per_second": 1 / median, "parity": None, "threads_read_back": 1, "settings": {}, "cores_used": 1},
        **{"drift": 0, "spread": 0.01, "machine": MACHINE, "yardstick_seconds": 1e-3},
        **{"load_medians_seconds": [median] * 5},
        **{"warmup": {"calls": 10, "seconds": 1, "stable": True}, "processes": [{**medians, "valid": True}]},
        **{"between_spread": None, "quick": False, "valid": True, "reasons": []},
        **changes,
    }


def paired(ratio: float = 7.0, half: float = 0.001, **changes: Any) -> Record:
    """A valid comparison of torch with ONNX Runtime, in which the latter is `ratio` times as fast."""
    interval = {"ratio": ratio, "low": ratio * (1 - half), "high": ratio * (1 + half)}
    control = {"ratio": 1, "low": 0.999, "high": 1.001}
    return {
        **{"model": "gap", "seed": 0, "onnx_sha256": "a" * 64, "runtime": "onnxruntime", "batch": 1, "threads": 1},
        **{
            "mode": "native",
            "device": "cpu",
            "reference": "torch",
            "rounds": 9,
            "blocks": 9,
            "calls": 9,
            "random_seed": 0,
            "settings": {"reference": {}, "runtime": {}},
        },
        **{**interval, "controls": {"reference": control, "runtime": control}, "noise_floor": 0.001},
        **{"processes": [{**interval, "noise_floor": 0.001}], "between_spread": None, "verdict": "faster"},
        **{"cores_used": 1, "machine": MACHINE, "quick": False, "valid": True, "reasons": []},
        **changes,
    }


def record(*cases: Record, comparisons: tuple[Record, ...] = (), processes: int = 1, **environment: Any) -> Record:
    """What `read_bench` gives for a file with these cases, held against the schema."""
    found = {
        "schema": "bench/2",
        "environment": {
            **{"cpu": "A CPU", "cores": 2, "memory_bytes": 24 * 2**30, "system": "Linux", "python": "3.11.7"},
            **{"packages": {"torch": "2.13.0", "numpy": "2.4.6", "onnx": "1.23.2"}, "commit": "c" * 40, "dirty": False},
            **{"cpu_flags": ["avx2"], "affinity": [0, 1], "quota_cores": None, "governor": None, "turbo": None},
            **{"thread_variables": {}, "load_before": None, "load_after": None, "files_sha256": {}, "gpu": None},
            **environment,
        },
        **{"harness_overhead_seconds": None, "processes": processes, "comparisons": list(comparisons)},
        **{"cold_starts": [], "cases": list(cases)},
    }
    check(found, "bench/2", "this test", "mend the builder")
    return found


def write(path: Path, found: Record) -> Path:
    """`found` as pytest-benchmark's file, with the case without extra_info that measures the harness."""
    study = {key: value for key, value in found.items() if key != "cases"}
    benchmarks = [{"name": "test_null", "extra_info": {}}, *({"extra_info": it} for it in found["cases"])]
    path.write_text(json.dumps({"datetime": "2026-01-02T03:04:05.678", "benchmarks": benchmarks, "study": study}))
    return path


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command on two records; gives its exit code and what it printed."""

    def call(old: Record, new: Record, *words: str) -> tuple[int, str]:
        files = write(tmp_path / "old.json", old), write(tmp_path / "new.json", new)
        return main(["compare", *map(str, files), *words]), capsys.readouterr().out

    return call


def change(old: Record, new: Record, *comparisons: Record) -> Change:
    return compare(record(old, comparisons=comparisons), record(new)).cases[0]


# ---- ratio, interval, floor, verdict


def test_ratio_and_interval_by_hand() -> None:
    # in powers of 2, the new one is 2 [1, 6] and the old one 0 [-3, 0]: down by sqrt(1 + 0), up by sqrt(16 + 9)
    assert quotient(Measured(1, 1 / 8, 1), Measured(4, 2, 64)) == pytest.approx((4, 4 * 2**-1, 4 * 2**5))
    # the new one 0 [-3, 0], the old one 0 [0, 4]: down by sqrt(9 + 16), up by nothing
    assert quotient(Measured(1, 1, 16), Measured(1, 1 / 8, 1)) == pytest.approx((1, 2**-5, 1))


def test_a_case_has_the_ratio_of_its_medians() -> None:
    found = change(case(100e-6, 0.01), case(110e-6, 0.01))
    half = math.sqrt(2) * 0.01  # ln(1.01) is 0.00995 and -ln(0.99) 0.01005: on average 0.01, and twice squared
    assert found.ratio == pytest.approx((1.1, 1.1 * math.exp(-half), 1.1 * math.exp(half)), rel=1e-4)
    assert (found.name, found.verdict) == (NAME, "slower")


@pytest.mark.parametrize(
    ("loads", "half"),
    [
        ([0], 0),  # one load tells nothing of others
        ([0, 0, 0, 0, 0], 0),
        ([-0.01, 0.01], 12.706 * 0.01),  # sd = 0.01 sqrt(2) of n = 2; t(0.975, 1) = 12.706
        ([-0.02, -0.01, 0, 0.01, 0.02], 2.776 * 0.01 / math.sqrt(2)),  # sd = 0.01 sqrt(10 / 4), n = 5, t(0.975, 4)
        ([0.02, 0.01, -0.01, -0.02, 0], 2.776 * 0.01 / math.sqrt(2)),
    ],
)
def test_the_interval_of_a_median_is_at_least_that_of_its_loads(loads: list[float], half: float) -> None:
    medians = [100e-6 * math.exp(x) for x in loads]
    wide = median(case(100e-6, 1e-6, load_medians_seconds=medians))
    assert wide == pytest.approx((100e-6, 100e-6 * math.exp(-half), 100e-6 * math.exp(half)), rel=1e-5)
    narrow = median(case(100e-6, 0.2, load_medians_seconds=medians))  # wider by its calls alone
    assert narrow == pytest.approx((100e-6, 80e-6, 120e-6))


def test_either_limit_is_the_farther_of_the_two() -> None:
    loads = [100e-6 * math.exp(x) for x in (-0.001, 0.001)]  # 1.28 % to both sides
    limits = {"median_low_seconds": 95e-6, "median_high_seconds": 100.1e-6}
    found = median(case(load_medians_seconds=loads, **limits))
    assert found == pytest.approx((100e-6, 95e-6, 100e-6 * math.exp(0.012706)), rel=1e-5)


@pytest.mark.parametrize("side", [0, 1])
def test_loads_that_differ_hide_a_small_change(side: int) -> None:
    medians = [1.0, 1.02]
    cases = [case(it, 0.0001) for it in medians]
    assert change(*cases).verdict == "slower"
    cases[side]["load_medians_seconds"] = [medians[side] * x for x in (0.98, 0.99, 1, 1.01, 1.02)]  # 2 % to both sides
    found = change(*cases)
    assert found.verdict == "slower"
    cases[side]["load_medians_seconds"] = [medians[side] * x for x in (0.97, 0.985, 1, 1.015, 1.03)]  # 2.9 %
    found = change(*cases)
    assert found.ratio.value == pytest.approx(1.02)
    assert found.verdict == "no difference shown"


intervals = st.builds(
    lambda value, below, above: Measured(value, value / below, value * above),
    st.floats(1e-7, 10),
    st.floats(1, 3),
    st.floats(1, 3),
)


@given(intervals, intervals, st.floats(0, 1))
def test_swapping_old_and_new_inverts(old: Measured, new: Measured, floor: float) -> None:
    there, back = quotient(old, new), quotient(new, old)
    assert there.low <= there.value <= there.high
    assert there == pytest.approx((1 / back.value, 1 / back.high, 1 / back.low))
    edge = min(abs(math.log(limit)) for limit in (there.low, there.high))
    if edge > 1e-9 and abs(abs(math.log(there.value)) - floor) > 1e-9:  # where rounding cannot decide
        inverse = {"slower": "faster", "faster": "slower"}
        forth = judge(there, floor, "slower", "faster")
        assert judge(back, floor, "slower", "faster") == inverse.get(forth, forth)


@given(intervals, intervals)
def test_swapping_two_files_inverts_their_cases(one: Measured, other: Measured) -> None:
    keys = ("median_seconds", "median_low_seconds", "median_high_seconds")
    a, b = (case(**dict(zip(keys, it, strict=True)), yardstick_seconds=1e-3 * it.value) for it in (one, other))
    there, back = change(a, b), change(b, a)
    assert (there.old, there.new) == (back.new, back.old)
    assert there.floor == pytest.approx(back.floor)
    assert there.ratio.value == pytest.approx(1 / back.ratio.value)


@pytest.mark.parametrize(
    ("ratio", "floor", "verdict"),
    [
        ((1.10, 1.05, 1.15), 0.05, "slower"),
        ((0.90, 0.85, 0.95), 0.05, "faster"),
        ((1.10, 1.00, 1.20), 0.05, "no difference shown"),  # the interval holds 1
        ((0.90, 0.80, 1.00), 0.05, "no difference shown"),
        ((1.10, 1.05, 1.15), 0.10, "no difference shown"),  # ln 1.10 is 0.0953
        ((0.90, 0.85, 0.95), 0.11, "no difference shown"),  # ln 0.90 is -0.1054
        ((0.90, 0.85, 0.95), 0.10, "faster"),
    ],
)
def test_verdict_by_hand(ratio: tuple[float, float, float], floor: float, verdict: str) -> None:
    assert judge(Measured(*ratio), floor, "slower", "faster") == verdict


def test_without_a_source_of_noise_the_floor_is_nothing() -> None:
    assert change(case(), case()).floor == 0


@pytest.mark.parametrize("side", [0, 1])
def test_the_floor_is_the_spread_between_processes_of_either_file(side: int) -> None:
    spreads = [0.02, 0.02]
    spreads[side] = 0.07
    assert change(case(between_spread=spreads[0]), case(between_spread=spreads[1])).floor == pytest.approx(
        math.log(1.07)
    )


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_the_floor_is_the_noise_of_the_comparisons_a_runtime_takes_part_in(runtime: str) -> None:
    comparisons = (
        paired(noise_floor=0.03),
        paired(noise_floor=0.9, batch=32),
        paired(noise_floor=0.9, runtime="openvino", reference="other"),
    )
    old, new = record(case(runtime=runtime), comparisons=comparisons), record(case(runtime=runtime))
    for pair in ((old, new), (new, old)):
        assert compare(*pair).cases[0].floor == pytest.approx(math.log(1.03))


@pytest.mark.parametrize("yardstick", [1.05e-3, 1e-3 / 1.05])
@pytest.mark.parametrize(("spread", "noise"), [(0.02, 0.03), (0.03, 0.02), (0, 0.03)])
def test_the_yardsticks_shift_and_the_largest_noise_add_up(yardstick: float, spread: float, noise: float) -> None:
    found = change(case(), case(between_spread=spread, yardstick_seconds=yardstick), paired(noise_floor=noise))
    assert found.floor == pytest.approx(0.07835, abs=1e-5)  # ln 1.05 = 0.04879 and ln 1.03 = 0.02956


def test_the_yardsticks_shift_alone_is_the_floor_where_nothing_else_is_known() -> None:
    assert change(case(), case(yardstick_seconds=1.05e-3)).floor == pytest.approx(0.04879, abs=1e-5)


@pytest.mark.parametrize(
    ("case_factor", "machine_factor", "verdict"),
    [
        (1.12, 1.10, "no difference shown"),  # ln 1.12 = 0.1133 against ln 1.10 + ln 1.03 = 0.0953 + 0.0296 = 0.1249
        (1.14, 1.10, "slower"),  # ln 1.14 = 0.1310
        (1.12, 1.00, "slower"),
        (1 / 1.12, 1 / 1.10, "no difference shown"),
        (1 / 1.14, 1 / 1.10, "faster"),
    ],
)
def test_only_what_lies_beyond_the_machines_shift_and_the_noise_is_the_engines(
    case_factor: float, machine_factor: float, verdict: str
) -> None:
    new = case(100e-6 * case_factor, yardstick_seconds=1e-3 * machine_factor)
    found = change(case(), new, paired(noise_floor=0.03))
    assert not found.ratio.low <= 1 <= found.ratio.high
    assert found.verdict == verdict


@pytest.mark.parametrize("factor", [2, 0.5])
def test_a_machine_that_shifts_is_no_change_of_the_case(factor: float) -> None:
    found = change(case(), case(100e-6 * factor, yardstick_seconds=1e-3 * factor))
    assert found.ratio.value == factor
    assert not found.ratio.low <= 1 <= found.ratio.high
    assert found.verdict == "no difference shown"


# ---- the gate


@pytest.mark.parametrize(
    ("limit", "code"),
    [((), 1), (("--fail-above", "3%"), 1), (("--fail-above", "15%"), 0), (("--fail-above", "0.15"), 0)],
)
def test_a_planted_slowdown_fails_above_the_limit(gate: Any, limit: tuple[str, ...], code: int) -> None:
    ended, shown = gate(record(case(100e-6)), record(case(110e-6)), *limit)
    assert ended == code
    row = re.split(r"\s{2,}", next(line for line in shown.splitlines() if line.startswith(NAME)))
    assert row[:3] == [NAME, "100.0 µs", "110.0 µs"]
    assert row[3:7] == ["1.100", "1.098 to 1.102", "0.0 %", "slower"]
    assert shown.splitlines()[-1] == "1 slower, 0 faster, 0 without a difference shown, 0 withheld"
    failed = re.findall(r"^shown to be slower, and by a ratio above (\S+): (.*)$", shown, re.M)
    assert failed == ([("1.03" if limit else "1", NAME)] if code else [])


@pytest.mark.parametrize(("half", "code"), [(0.01, 1), (0.05, 0)])
def test_the_limit_is_for_the_ratio_of_what_is_shown_to_be_slower(gate: Any, half: float, code: int) -> None:
    """1.04 fails above 3 % though its interval reaches below 1.03, but not where it reaches below 1."""
    old, new = case(100e-6, half), case(104e-6, half)
    low = compare(record(old), record(new)).cases[0].ratio.low
    assert 1 < low < 1.03 if code else low < 1
    assert gate(record(old), record(new), "--fail-above", "3%")[0] == code


def test_what_is_faster_passes(gate: Any) -> None:
    code, shown = gate(record(case(110e-6)), record(case(100e-6)))
    assert code == 0
    assert shown.splitlines()[-1] == "0 slower, 1 faster, 0 without a difference shown, 0 withheld"


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"valid": False, "reasons": ["another program used 1.3 cores"]}, "another program used 1.3 cores"),
        ({"quick": True}, "a quick run"),
    ],
)
def test_what_is_not_valid_shows_nothing(gate: Any, side: int, changes: Record, reason: str) -> None:
    cases = [case(100e-6), case(200e-6)]
    cases[side] |= changes
    code, shown = gate(record(cases[0]), record(cases[1]))
    assert code == 0
    assert f"withheld: {NAME}: {('old', 'new')[side]}: {reason}" in shown
    assert "2.000" not in shown
    assert shown.splitlines()[-1] == "0 slower, 0 faster, 0 without a difference shown, 1 withheld"


def test_where_every_case_is_withheld_that_is_said_last(tmp_path: Path) -> None:
    """Otherwise a gate that judges nothing would look like one that was passed."""
    doubtful: Record = {"valid": False, "reasons": ["noisy"]}
    old = write(tmp_path / "old.json", record(case(), case(batch=32)))
    for name, cases, said in (
        ("none", [case(**doubtful), case(batch=32, quick=True)], True),
        ("one", [case(), case(batch=32, **doubtful)], False),
    ):
        ended = run("bench", "compare", old, write(tmp_path / f"{name}.json", record(*cases)))
        assert ended.returncode == 0
        last = "nothing could be judged: every case is withheld, for the reasons above; measure again\n"
        assert ended.stderr == (last if said else "")


def test_cases_are_matched_whatever_their_seed_and_onnx_file() -> None:
    old, new = case(), case(110e-6, seed=1, onnx_sha256="d" * 64, settings={"spinning": True})
    found = change(old, new)
    assert found.remarks == ("another ONNX file", "other settings: spinning")
    assert (found.verdict, found.doubts) == ("slower", ())
    assert change(old, old).remarks == ()


def test_a_case_with_other_inputs_is_withheld(gate: Any) -> None:
    """Of another shape or with other images it is another measurement, whatever its ratio."""
    old = record(case(100e-6), case(100e-6, batch=32))
    new = record(case(200e-6, inputs_sha256="e" * 64), case(110e-6, batch=32))
    code, shown = gate(old, new)
    assert f"withheld: {NAME}: other inputs than in the old file\n" in shown
    assert "2.000" not in shown
    assert code == 1, "the other case is judged"
    assert shown.splitlines()[-1] == "1 slower, 0 faster, 0 without a difference shown, 1 withheld"


def test_other_inputs_are_told_beside_the_other_doubts() -> None:
    found = change(case(quick=True), case(valid=False, reasons=["noisy"], inputs_sha256="e" * 64))
    assert found.doubts == ("old: a quick run", "new: noisy", "other inputs than in the old file")


@pytest.mark.parametrize("key", ["model", "runtime", "batch", "threads", "mode", "device"])
def test_cases_that_differ_in_what_is_measured_are_not_matched(gate: Any, key: str) -> None:
    others: Record = {"model": "b", "runtime": "torch", "batch": 32, "threads": 2, "mode": "numpy", "device": "cuda"}
    code, shown = gate(record(case(), case(**{key: others[key]})), record(case()))
    assert code == 0
    assert len(re.findall("^only in the old file: .*$", shown, re.M)) == 1
    assert "only in the new file" not in shown
    assert shown.splitlines()[-1] == "0 slower, 0 faster, 1 without a difference shown, 0 withheld"


def test_the_names_of_cases_without_a_counterpart(gate: Any) -> None:
    _, shown = gate(record(case(), case(batch=32)), record(case(device="cuda", threads=2), case()))
    assert "only in the old file: gap-onnxruntime-batch32-threads1-native\n" in shown
    assert "only in the new file: gap-onnxruntime-batch1-threads2-native-cuda\n" in shown


# ---- speed-ups


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (paired(7.0), paired(6.0), "speed-up fell"),
        (paired(6.0), paired(7.0), "speed-up rose"),
        (paired(7.0), paired(7.005), "no difference shown"),  # their intervals overlap
        (paired(7.0), paired(6.0, noise_floor=0.2), "no difference shown"),  # ln(7 / 6) is 0.154, ln 1.2 is 0.182
        (paired(7.0, between_spread=0.2), paired(6.0), "no difference shown"),
        (paired(7.0, valid=False, reasons=["noisy"]), paired(6.0), "withheld"),
        (paired(7.0), paired(6.0, quick=True), "withheld"),
    ],
)
def test_a_changed_speed_up_is_told_and_decides_nothing(gate: Any, old: Record, new: Record, verdict: str) -> None:
    files = record(case(), comparisons=(old,)), record(case(), comparisons=(new,))
    found = compare(*files).speed_ups[0]
    assert found.ratio.value == new["ratio"] / old["ratio"]
    assert found.verdict == verdict
    code, shown = gate(*files)
    assert code == 0
    assert re.search(rf"^gap-torch/onnxruntime-batch1-threads1-native +{old['ratio']:.2f}x .* {verdict}", shown, re.M)
    assert shown.splitlines()[-1] == "0 slower, 0 faster, 1 without a difference shown, 0 withheld"


# ---- what may be compared

DIFFERENCES = {
    "cpu": ("machine", {"cpu": "Another"}, "cpu 'A CPU' against 'Another'"),
    "cores": ("machine", {"cores": 4}, "cores 2 against 4"),
    "memory": ("machine", {"memory_bytes": 23 * 2**30}, "memory_bytes 25769803776 against 24696061952"),
    "quota": ("machine", {"quota_cores": 1.5}, "quota_cores None against 1.5"),
    "affinity": ("machine", {"affinity": [1]}, "cores in affinity 2 against 1"),
    "variable": ("threads", {"thread_variables": {"OMP_NUM_THREADS": "1"}}, "OMP_NUM_THREADS None against '1'"),
    "python": ("versions", {"python": "3.12.1"}, "python '3.11.7' against '3.12.1'"),
    "package": ("versions", {"packages": {"torch": "2.14.0", "numpy": "2.4.6"}}, "torch '2.13.0' against '2.14.0'"),
}


@pytest.mark.parametrize(("word", "environment", "told"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_difference_is_refused_unless_allowed(gate: Any, word: str, environment: Record, told: str) -> None:
    old, new = record(case(100e-6)), record(case(110e-6), **environment)
    with pytest.raises(StudyError, match=re.escape(f"{word}: {told}; compare with `--allow {word}`")):
        compare(old, new)
    with pytest.raises(StudyError):
        compare(old, new, {"machine", "threads", "versions"} - {word})
    for allowed in (word, "all", "machine,threads,versions"):
        code, shown = gate(old, new, "--allow", allowed)
        assert code == 1
        assert f"NOT MEASURED ALIKE, {word} (old against new): {told}" in shown


def test_threads_that_an_engine_has_itself_are_compared_case_by_case() -> None:
    old = record(case(), case(batch=32), case(batch=256))
    new = record(case(), case(batch=32, threads_read_back=2), case(batch=64, threads_read_back=2))
    told = ": threads: threads read back of gap-onnxruntime-batch32-threads1-native 1 against 2; compare"
    with pytest.raises(StudyError, match=re.escape(told)):
        compare(old, new)
    assert len(compare(old, new, ["threads"]).cases) == 2


def test_every_difference_is_told_at_once() -> None:
    new = record(case(threads_read_back=2), cpu="Another", cores=4, python="3.12.1")
    told = (
        r"machine: cpu .*, cores .*; threads: .*; versions: python .*; compare with `--allow machine,threads,versions`"
    )
    with pytest.raises(StudyError, match=told):
        compare(record(case()), new)


def test_what_does_not_matter_for_time_is_not_refused(gate: Any) -> None:
    packages = {"torch": "2.13.0", "numpy": "2.4.6", "onnx": "1.24.0"}
    memory = 24 * 2**30 - 2**20
    new = record(case(), packages=packages, memory_bytes=memory, affinity=[4, 5], governor="powersave", cpu_flags=[])
    code, shown = gate(record(case()), new)
    assert code == 0
    assert "NOT MEASURED ALIKE" not in shown
    assert "also different: governor None against 'powersave', CPU flags of one only: avx2" in shown


def test_a_case_that_is_twice_in_a_file_is_refused() -> None:
    with pytest.raises(StudyError, match=f"the new file has {NAME} twice"):
        compare(record(case()), record(case(), case(seed=1)))


# ---- what is printed


def test_the_first_lines_tell_both_files(gate: Any, tmp_path: Path) -> None:
    first, second = gate(record(case()), record(case(), dirty=True))[1].splitlines()[:2]
    commit = "2026-01-02T03:04:05, commit cccccccccccc"
    rest = "A CPU, 2 cores, 24 GiB, Python 3.11.7, torch 2.13.0, numpy 2.4.6, onnx 1.23.2"
    assert first == f"old: {tmp_path / 'old.json'}, {commit}; {rest}"
    assert second == f"new: {tmp_path / 'new.json'}, {commit} with uncommitted changes; {rest}"


@pytest.mark.parametrize(("old", "new", "said"), [(1, 1, True), (3, 3, False), (1, 3, False), (3, 1, False)])
def test_a_single_process_is_told(gate: Any, old: int, new: int, said: bool) -> None:
    _, shown = gate(record(case(), processes=old), record(case(), processes=new))
    assert ("`--processes 3`" in shown) == said


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (126.1e-6, 128.25e-6, ("126.1 µs", "128.2 µs")),
        (17.2e-6, 19e-6, ("17.20 µs", "19.00 µs")),
        (0.25e-6, 0.5e-6, ("0.25 µs", "0.50 µs")),
        (990e-6, 1100e-6, ("990.0 µs", "1,100.0 µs")),  # a row has one unit
        (1.622e-3, 2e-3, ("1.62 ms", "2.00 ms")),
        (1.5, 2.25, ("1.50 s", "2.25 s")),
    ],
)
def test_times_have_a_unit_that_suits_them(gate: Any, old: float, new: float, shown: tuple[str, str]) -> None:
    table = gate(record(case(old)), record(case(new)))[1]
    row = re.split(r"\s{2,}", next(line for line in table.splitlines() if line.startswith(NAME)))
    assert tuple(row[1:3]) == shown


def test_markdown_is_a_table_of_whole_rows(gate: Any) -> None:
    cases = case(model="a|b"), case(110e-6, model="c", valid=False, reasons=["noisy"])
    old, new = (record(*deepcopy(cases), comparisons=(paired(model="a|b"),), cpu=cpu) for cpu in ("A", "B"))
    _, shown = gate(old, new, "--format", "markdown", "--allow", "machine")
    blocks = [block.splitlines() for block in shown.strip().split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert [len(table) for table in tables] == [2 + 2, 2 + 1]
    for table in tables:
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in table} == {9}
        assert re.fullmatch(r"(\|:?-+:?)+\|", table[1])
    assert r"| a\|b-onnxruntime-batch1-threads1-native" in shown
    assert all(line.startswith("- ") for block in blocks if block not in tables for line in block)
    assert "- **NOT MEASURED ALIKE**, machine (old against new): cpu 'A' against 'B'\n" in shown


# ---- mistakes


def spoil(path: Path, kind: str) -> None:
    if kind == "missing":
        path.unlink()
    elif kind == "cut short":
        path.write_text(path.read_text()[:-20])
    elif kind == "another's":
        path.write_text('{"benchmarks": []}')
    elif kind == "damaged":
        path.write_text(path.read_text().replace('"yardstick_seconds": 0.001', '"yardstick_seconds": 0'))
    elif kind == "nothing in common":
        write(path, record(case(batch=32)))
    elif kind == "no case":
        write(path, record())
    elif kind == "another machine":
        write(path, record(case(), cpu="Another"))


@pytest.mark.parametrize(
    "kind",
    ["missing", "cut short", "another's", "damaged", "nothing in common", "no case", "another machine"],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    old, new = (write(tmp_path / name, record(case())) for name in ("old.json", "new.json"))
    spoil(new, kind)
    ended = run("bench", "compare", old, new)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", ended.stderr)


def test_the_command_leaves_with_the_gates_code(tmp_path: Path) -> None:
    old, new = (write(tmp_path / f"{us}.json", record(case(us * 1e-6))) for us in (100, 110))
    for words, code in (((), 1), (("--fail-above", "15%"), 0)):
        ended = run("bench", "compare", old, new, *words)
        assert (ended.returncode, ended.stderr) == (code, "")


@pytest.mark.parametrize("text", ["3", "-1%", "nan", "inf%", "3%%", "3% more", "", "%", "three"])
def test_a_limit_that_is_no_share_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", "a", "b", f"--fail-above={text}"])
    assert ended.value.code == 2
    assert f"expected a share such as 3% or 0.03, found {text!r}" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "code"), [("9%", 1), ("9 %", 1), ("0.09", 1), ("11%", 0), ("11 %", 0), ("300%", 0)])
def test_a_limit_is_a_share_or_percent(gate: Any, text: str, code: int) -> None:
    assert gate(record(case(100e-6)), record(case(110e-6)), "--fail-above", text)[0] == code


def test_an_unknown_word_to_allow_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", "a", "b", "--allow", "machine,weather"])
    assert ended.value.code == 2
    assert "expected some of machine,threads,versions, or all; found 'machine,weather'" in capsys.readouterr().err


def test_without_a_command_the_usage_is_shown() -> None:
    ended = run("bench")
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: python -m bench")


@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    script = f"""
import contextlib, io, runpy
sys.argv = ["bench", *{words!r}]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    runpy.run_module("bench", run_name="__main__")
assert "usage: python -m bench" in shown.getvalue()
"""
    heavy = {"torch", "pandas", "numpy", "onnx", "onnxruntime", "scipy", "tabulate", "jsonschema"}
    assert not modules_after(script) & heavy
