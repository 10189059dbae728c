"""The gate for regressions: `python -m bench compare OLD NEW`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bench.__main__ import main
from bench.compare import compare
from study.artifacts import as_json
from study.errors import StudyError
from study.records.bench import BenchRecord, ComparisonRecord
from tests.bench.builders import bench, case, paired
from tests.bench.test_compare import NAME, change
from tests.conftest import run
from tests.test_design import modules_after

Gate = Callable[..., tuple[int, list[str]]]
INVALID: dict[str, Any] = {"valid": False, "reasons": ("noisy",)}


def write(path: Path, record: BenchRecord) -> Path:
    """The record as pytest-benchmark's file, with a benchmark without extra_info: the harness."""
    study = as_json(record)
    benchmarks = [{"name": "test_null", "extra_info": {}}, *({"extra_info": it} for it in study.pop("cases"))]
    path.write_text(json.dumps({"datetime": "2026-01-02T03:04:05.678", "benchmarks": benchmarks, "study": study}))
    return path


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gate:
    """Run the command on two records; returns its exit code and the lines of its output."""

    def call(old: BenchRecord, new: BenchRecord, *words: str) -> tuple[int, list[str]]:
        files = write(tmp_path / "old.json", old), write(tmp_path / "new.json", new)
        return main(["compare", *map(str, files), *words]), capsys.readouterr().out.splitlines()

    return call


def row(lines: list[str], name: str = NAME) -> list[str]:
    return re.split(r"\s{2,}", next(line for line in lines if line.startswith(name)))


def counts(slower: int = 0, faster: int = 0, alike: int = 0, withheld: int = 0) -> str:
    return f"{slower} slower, {faster} faster, {alike} without a difference shown, {withheld} withheld"


# ---- the gate


@pytest.mark.parametrize(("limit", "above"), [("", "1"), ("3%", "1.03"), ("0.09", "1.09"), ("11 %", ""), ("300%", "")])
def test_a_planted_slowdown_fails_above_the_limit(gate: Gate, limit: str, above: str) -> None:
    code, lines = gate(bench(case(100e-6)), bench(case(110e-6)), *(["--fail-above", limit] if limit else []))
    assert code == bool(above)
    assert row(lines)[:7] == [NAME, "100.0 µs", "110.0 µs", "1.100", "1.098 to 1.102", "0.0 %", "slower"]
    assert lines[-1] == counts(slower=1)
    assert (f"shown to be slower by a ratio above {above}: {NAME}" in lines) == bool(above)


def test_the_limit_applies_to_the_ratio_of_a_case_shown_to_be_slower(gate: Gate) -> None:
    """1.04 fails above 3 % though its interval reaches below 1.03, but not where it reaches below 1."""
    for half, code in ((0.01, 1), (0.05, 0)):
        old, new = bench(case(100e-6, half)), bench(case(104e-6, half))
        low = compare(old, new).cases[0].ratio.low
        assert 1 < low < 1.03 if code else low < 1
        assert gate(old, new, "--fail-above", "3%")[0] == code


def test_a_faster_case_passes(gate: Gate) -> None:
    code, lines = gate(bench(case(110e-6)), bench(case(100e-6)))
    assert (code, lines[-1]) == (0, counts(faster=1))


@pytest.mark.parametrize("which", ["old", "new"])
@pytest.mark.parametrize(("changes", "reason"), [(INVALID, "noisy"), ({"quick": True}, "a quick run")])
def test_an_invalid_case_has_no_verdict(gate: Gate, which: str, changes: dict[str, Any], reason: str) -> None:
    old, new = case(100e-6), case(200e-6)
    old, new = (replace(old, **changes), new) if which == "old" else (old, replace(new, **changes))
    code, lines = gate(bench(old), bench(new))
    assert (code, lines[-1]) == (0, counts(withheld=1))
    assert f"withheld: {NAME}: {which}: {reason}" in lines
    assert row(lines)[3:6] == ["-"] * 3


def test_a_case_with_different_inputs_is_withheld(gate: Gate) -> None:
    """With another shape or other images it is another measurement, whatever its ratio."""
    old = bench(case(100e-6), case(100e-6, batch=32))
    new = bench(case(200e-6, inputs_sha256="e" * 64), case(110e-6, batch=32))
    code, lines = gate(old, new)
    assert (code, lines[-1]) == (1, counts(slower=1, withheld=1))
    assert f"withheld: {NAME}: the inputs differ from those of the old file" in lines
    found = change(case(quick=True), case(inputs_sha256="e" * 64, **INVALID))
    assert found.doubts == ("old: a quick run", "new: noisy", "the inputs differ from those of the old file")


def test_if_every_case_is_withheld_standard_error_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a gate without a verdict would look like one that passed."""
    old = write(tmp_path / "old.json", bench(case(), case(batch=32)))
    message = "no verdict: every case is withheld, for the reasons above; measure again\n"
    for cases, error in (
        ([case(**INVALID), case(batch=32, quick=True)], message),
        ([case(), case(batch=32, **INVALID)], ""),
    ):
        assert main(["compare", str(old), str(write(tmp_path / "new.json", bench(*cases)))]) == 0
        assert capsys.readouterr().err == error


def test_different_cases_are_not_matched(gate: Gate) -> None:
    others: dict[str, Any] = {"model": "b", "variant": "uint8", "runtime": "torch", "batch": 32, "threads": 2}
    for name, value in {**others, "mode": "numpy", "device": "cuda"}.items():
        found = compare(bench(case(), case(**{name: value})), bench(case()))
        assert (len(found.cases), len(found.only_old), len(found.only_new)) == (1, 1, 0), name
    old, new = bench(case(), case(batch=32)), bench(case(device="cuda", threads=2), case(), case(variant="uint8"))
    code, lines = gate(old, new)
    assert (code, lines[-1]) == (0, counts(alike=1))
    assert "only in the old file: gap-onnxruntime-batch32-threads1-native" in lines
    both = "gap-onnxruntime-batch1-threads2-native-cuda, gap-uint8-onnxruntime-batch1-threads1-native"
    assert f"only in the new file: {both}" in lines


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (paired(7.0), paired(6.0), "speed-up fell"),
        (paired(6.0), paired(7.0), "speed-up rose"),
        (paired(7.0), paired(7.005), "no difference shown"),  # their intervals overlap
        (paired(7.0), paired(6.0, noise_floor=0.2), "no difference shown"),  # ln(7 / 6) is 0.154, ln 1.2 is 0.182
        (paired(7.0, between_spread=0.2), paired(6.0), "no difference shown"),
        (paired(7.0, **INVALID), paired(6.0), "withheld"),
    ],
)
def test_a_changed_speed_up_is_reported_and_does_not_decide(
    gate: Gate, old: ComparisonRecord, new: ComparisonRecord, verdict: str
) -> None:
    files = bench(case(), comparisons=(old,)), bench(case(), comparisons=(new,))
    found = compare(*files).speed_ups[0]
    assert (found.ratio.value, found.verdict) == (new.ratio.value / old.ratio.value, verdict)
    code, lines = gate(*files)
    assert (code, lines[-1]) == (0, counts(alike=1))
    shown = row(lines, "gap-torch/onnxruntime-batch1-threads1-native")
    assert (shown[1], shown[6]) == (f"{old.ratio.value:.2f}x", verdict)


# ---- measurement conditions

DIFFERENCES: list[tuple[str, dict[str, Any], str]] = [
    ("machine", {"cpu": "Another"}, "cpu 'A CPU' against 'Another'"),
    ("machine", {"cores": 4}, "cores 2 against 4"),
    ("machine", {"memory_bytes": 23 * 2**30}, "memory_bytes 25769803776 against 24696061952"),
    ("machine", {"quota_cores": 1.5}, "quota_cores None against 1.5"),
    ("machine", {"affinity": (1,)}, "cores in affinity 2 against 1"),
    ("threads", {"thread_variables": {"OMP_NUM_THREADS": "1"}}, "OMP_NUM_THREADS None against '1'"),
    ("versions", {"python": "3.12.1"}, "python '3.11.7' against '3.12.1'"),
    ("versions", {"packages": {"torch": "2.14.0", "numpy": "2.4.6"}}, "torch '2.13.0' against '2.14.0'"),
]


def test_a_difference_is_refused_unless_allowed(gate: Gate) -> None:
    for word, environment, text in DIFFERENCES:
        old, new = bench(case(100e-6)), bench(case(110e-6), **environment)
        with pytest.raises(StudyError, match=re.escape(f"{word}: {text}; compare anyway with `--allow {word}`")):
            compare(old, new)
        with pytest.raises(StudyError):
            compare(old, new, {"machine", "threads", "versions"} - {word})
        for allowed in (word, "all"):
            code, lines = gate(old, new, "--allow", allowed)
            assert code == 1
            assert f"DIFFERENT CONDITIONS, {word} (old against new): {text}" in lines


def test_differences_without_effect_on_the_code_are_only_reported(gate: Gate) -> None:
    packages = {"torch": "2.13.0", "numpy": "2.4.6", "onnx": "1.24.0"}
    memory = 24 * 2**30 - 2**20
    new = bench(case(), packages=packages, memory_bytes=memory, affinity=(4, 5), governor="powersave", cpu_flags=())
    code, lines = gate(bench(case()), new)
    assert code == 0
    assert "DIFFERENT CONDITIONS" not in "\n".join(lines)
    assert "also different: governor None against 'powersave', CPU flags of one only: avx2" in lines


# ---- output


def test_the_first_lines_describe_both_files(gate: Gate, tmp_path: Path) -> None:
    first, second = gate(bench(case()), bench(case(), dirty=True))[1][:2]
    commit = "2026-01-02T03:04:05, commit cccccccccccc"
    rest = "A CPU, 2 cores, 24 GiB, Python 3.11.7, torch 2.13.0, numpy 2.4.6, onnx 1.23.2"
    assert first == f"old: {tmp_path / 'old.json'}, {commit}; {rest}"
    assert second == f"new: {tmp_path / 'new.json'}, {commit} with uncommitted changes; {rest}"


def test_an_unknown_spread_between_processes_is_reported(gate: Gate) -> None:
    for old, new, unknown in ((1, 1, True), (3, 3, False), (1, 3, False), (3, 1, False)):
        _, lines = gate(bench(case(), processes=old), bench(case(), processes=new))
        assert any("`--processes 3`" in line for line in lines) == unknown


def test_times_have_a_unit_that_suits_them(gate: Gate) -> None:
    for old, new, shown in (
        (126.1e-6, 128.25e-6, ["126.1 µs", "128.2 µs"]),
        (0.25e-6, 0.5e-6, ["0.25 µs", "0.50 µs"]),
        (990e-6, 1100e-6, ["990.0 µs", "1,100.0 µs"]),  # one unit a row
        (1.622e-3, 2e-3, ["1.62 ms", "2.00 ms"]),
        (1.5, 2.25, ["1.50 s", "2.25 s"]),
    ):
        assert row(gate(bench(case(old)), bench(case(new)))[1])[1:3] == shown


def test_markdown_is_a_table_of_whole_rows(gate: Gate) -> None:
    cases = case(model="a|b"), case(110e-6, model="c", **INVALID)
    old, new = (bench(*cases, comparisons=(paired(model="a|b"),), cpu=cpu) for cpu in ("A", "B"))
    _, lines = gate(old, new, "--format", "markdown", "--allow", "machine")
    blocks = [block.splitlines() for block in "\n".join(lines).strip().split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert [len(table) for table in tables] == [2 + 2, 2 + 1]
    for table in tables:
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in table} == {9}
        assert re.fullmatch(r"(\|:?-+:?)+\|", table[1])
    assert tables[0][2].startswith(r"| a\|b-onnxruntime-batch1-threads1-native")
    assert all(line.startswith("- ") for block in blocks if block not in tables for line in block)
    assert "- **DIFFERENT CONDITIONS**, machine (old against new): cpu 'A' against 'B'" in lines


# ---- mistakes


def test_a_file_that_cannot_be_compared_is_refused_in_one_line(tmp_path: Path) -> None:
    old, new = (write(tmp_path / name, bench(case())) for name in ("old.json", "new.json"))
    whole, remedy = new.read_text(), "; measure with `pytest bench --benchmark-json=FILE`"
    other = write(tmp_path / "other.json", bench(case(batch=32))).read_text()
    for content, message in (
        (whole[:-20], "cannot be read as JSON"),
        ('{"benchmarks": []}', f"expected the pytest-benchmark JSON of this project's bench{remedy}"),
        (whole.replace('"yardstick_seconds": 0.001', '"yardstick_seconds": 0'), "yardstick_seconds"),
        (whole.replace("bench/3", "bench/2"), f"expected schema 'bench/3', found 'bench/2'{remedy}"),
        (other, f"no case is in both files: the old one has {NAME}; the new one has gap-onnxruntime-batch32-"),
        (write(tmp_path / "none.json", bench()).read_text(), f"the old one has {NAME}; the new one has none; measure"),
    ):
        new.write_text(content)
        with pytest.raises(StudyError, match=re.escape(message)) as refusal:
            main(["compare", str(old), str(new)])
        assert "\n" not in str(refusal.value)


def test_the_command_exits_with_the_code_of_the_gate(tmp_path: Path) -> None:
    old, new = (write(tmp_path / f"{us}.json", bench(case(us * 1e-6))) for us in (100, 110))
    ended = run("bench", "compare", old, new)
    assert (ended.returncode, ended.stderr) == (1, "")
    refused = run("bench", "compare", old, tmp_path / "missing.json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(r"error: [^\n]+ is missing; measure with [^\n]+\n", refused.stderr)


def test_a_wrong_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    limits = ["3", "-1%", "nan", "inf%", "3%%", "3% more", "", "three"]
    words = [(f"--fail-above={text}", f"expected a share such as 3% or 0.03, found {text!r}") for text in limits]
    words.append(("--allow=machine,weather", "expected some of machine,threads,versions, or all; found 'machine,"))
    for word, message in words:
        with pytest.raises(SystemExit) as ended:
            main(["compare", "a", "b", word])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    script = """
import contextlib, io, runpy
sys.argv = ["bench", "compare", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    runpy.run_module("bench", run_name="__main__")
assert "usage: python -m bench compare" in shown.getvalue()
"""
    heavy = {"torch", "pandas", "numpy", "onnx", "onnxruntime", "scipy", "tabulate"}
    assert not modules_after(script) & heavy
