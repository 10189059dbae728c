"""The gate for regressions: `python -m bench compare OLD NEW`."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bench.__main__ import main
from bench.gate.decision import exit_code
from study.errors import StudyError
from study.record_files import as_json
from study.records.bench import BenchRecord
from tests.bench.builders import bench, case
from tests.bench.gate.test_compare import INVALID, NAME, start
from tests.conftest import run
from tests.support.study import resealed
from tests.test_design import modules_after

Gate = Callable[..., tuple[int, list[str]]]


def write(path: Path, record: BenchRecord) -> Path:
    """The record as pytest-benchmark's file, with a benchmark without extra_info: the harness."""
    study = as_json(record)
    benchmarks = [{"name": "test_null", "extra_info": {}}, *({"extra_info": it} for it in study.pop("cases"))]
    content = {"datetime": "2026-01-02T03:04:05.678", "benchmarks": benchmarks, "study": study}
    path.write_text(json.dumps(resealed(content)))
    return path


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gate:
    """Run the command on two records; returns its exit code and the lines of its output."""

    def call(old: BenchRecord, new: BenchRecord, *words: str) -> tuple[int, list[str]]:
        files = write(tmp_path / "old.json", old), write(tmp_path / "new.json", new)
        return main(["compare", *map(str, files), *words]), capsys.readouterr().out.splitlines()

    return call


def row(lines: list[str], metric: str = "median") -> list[str]:
    rows = [re.split(r"\s{2,}", line) for line in lines if line.startswith("gap")]
    return next(cells for cells in rows if cells[1] == metric)


# ---- exit codes


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["within the limit", "faster"], 0),
        (["within the limit", "slower", "undecided", "withheld"], 1),
        (["within the limit", "undecided"], 3),
        (["within the limit", "withheld"], 3),
        ([], 3),
    ],
)
def test_the_exit_code_by_the_verdicts(verdicts: list[str], code: int) -> None:
    assert exit_code(verdicts) == code


@pytest.mark.parametrize(
    ("limit", "code", "verdict"),
    [
        ("", 1, "slower"),
        ("0.09", 1, "slower"),
        ("11 %", 0, "within the limit"),
        ("300%", 0, "within the limit"),
        ("10%", 3, "undecided"),
        ("1%,median=12%", 0, "within the limit"),
    ],
)
def test_a_planted_slowdown_of_10_percent(gate: Gate, limit: str, code: int, verdict: str) -> None:
    found, lines = gate(bench(case(100e-6)), bench(case(110e-6)), *(["--fail-above", limit] if limit else []))
    assert found == code
    cells = row(lines)
    assert cells[:6] == [NAME, "median", "100.0 µs", "110.0 µs", "1.100", "1.099 to 1.101"]
    assert cells[7] == verdict
    assert lines[-1].startswith({0: "PASSED", 1: "FAILED", 3: "UNDECIDED"}[code])
    assert (f"shown to exceed the limit: {NAME} median" in lines[-1]) == (code == 1)


def test_a_faster_case_passes(gate: Gate) -> None:
    code, lines = gate(bench(case(110e-6)), bench(case(100e-6)))
    assert (code, lines[-1]) == (
        0,
        "PASSED: every quantity is shown to be within its limit (1 faster, 1 within the limit)",
    )


def test_a_wide_interval_is_not_a_pass(gate: Gate) -> None:
    code, lines = gate(bench(case(100e-6, 0.1)), bench(case(100e-6, 0.1)))
    assert code == 3
    assert lines[-1] == (
        "UNDECIDED: no quantity is shown to exceed its limit, but not all are shown to be within it (1 undecided, "
        "1 within the limit); more processes narrow the intervals (`--processes 10`), `python -m bench ab` "
        "narrows them further"
    )


@pytest.mark.parametrize("which", ["old", "new"])
@pytest.mark.parametrize(("changes", "reason"), [(INVALID, "noisy"), ({"quick": True}, "a quick run")])
def test_if_a_case_is_withheld_the_gate_does_not_pass(
    gate: Gate, which: str, changes: dict[str, Any], reason: str
) -> None:
    old, new = case(100e-6), case(200e-6)
    old, new = (replace(old, **changes), new) if which == "old" else (old, replace(new, **changes))
    code, lines = gate(bench(old), bench(new))
    assert code == 3
    assert f"withheld: {NAME} (median): {which}: {reason}" in lines
    assert row(lines)[4:6] == ["-"] * 2
    assert lines[-1].endswith("(1 withheld, 1 within the limit); measure again what is missing or withheld")


def test_of_many_reasons_the_first_are_printed(gate: Gate) -> None:
    reasons = tuple("abcdef")
    lines = gate(bench(case()), bench(case(p99_seconds=case().median_seconds, valid=False, reasons=reasons)))[1]
    assert f"withheld: {NAME} (median): new: a; new: b; new: c; new: d; and 2 more" in lines


def test_a_case_with_different_inputs_is_withheld(gate: Gate) -> None:
    """With another shape or other images it is another measurement, whatever its ratio."""
    code, lines = gate(bench(case(100e-6)), bench(case(200e-6, inputs_sha256="e" * 64)))
    assert code == 3
    assert f"withheld: {NAME} (median): the inputs differ from those of the old file" in lines


def test_a_withheld_case_does_not_hide_one_that_is_shown_slower(gate: Gate) -> None:
    old, new = bench(case(), case(batch=32)), bench(case(**INVALID), case(110e-6, batch=32))
    assert gate(old, new)[0] == 1


def test_a_case_that_is_missing_is_not_decided_but_a_new_one_has_nothing_to_be_slower_than(gate: Gate) -> None:
    one, both = bench(case()), bench(case(), case(batch=32))
    name = "gap-onnxruntime-batch32-threads1-native"
    code, lines = gate(both, one)
    assert code == 3
    assert f"only in the old file: {name}" in lines
    assert lines[-1].endswith("(2 within the limit, 1 missing); measure again what is missing or withheld")
    code, lines = gate(one, both)
    assert code == 0
    assert f"only in the new file: {name}" in lines


def test_a_metric_that_is_asked_for_and_missing_is_not_decided(gate: Gate) -> None:
    old, new = bench(case(), cold_starts=(start(0.5, 0.51, 0.49),)), bench(case())
    text = "cold start and memory are not compared: the new file has no cold starts"
    for words, code, shown in (([], 0, text), (["--metrics", "median,memory"], 3, f"only in the old file: {text}")):
        found, lines = gate(old, new, *words)
        assert found == code
        assert shown in lines


def test_the_tails_and_the_cold_start_have_limits_of_their_own(gate: Gate) -> None:
    old, new = (bench(case(), cold_starts=(start(*seconds),)) for seconds in ((0.5, 0.51), (0.6, 0.61)))
    for words, verdict in (("8%", "undecided"), ("40%", "within the limit"), ("5%,cold-start=1%", "slower")):
        lines = gate(old, new, "--fail-above", words)[1]
        assert row(lines, "cold-start")[7] == verdict, words


# ---- mistakes


def test_a_file_that_cannot_be_compared_is_refused_in_one_line(tmp_path: Path) -> None:
    old, new = (write(tmp_path / name, bench(case())) for name in ("old.json", "new.json"))
    whole, remedy = new.read_text(), "; measure with `pytest bench --benchmark-json=FILE`"
    other = write(tmp_path / "other.json", bench(case(batch=32))).read_text()
    for content, message in (
        (whole[:-20], "cannot be read as JSON"),
        ('{"benchmarks": []}', f"expected the pytest-benchmark JSON of this project's bench{remedy}"),
        (whole.replace('"arithmetic_seconds": 0.0002', '"arithmetic_seconds": 0'), "arithmetic_seconds"),
        (whole.replace("bench/5", "bench/3"), f"expected schema 'bench/5', found 'bench/3'{remedy}"),
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


def test_a_wrong_option_is_refused() -> None:
    limits = ["3", "-1%", "nan", "inf%", "3%%", "3% more", "", "three", "p99=3"]
    words = [(f"--fail-above={text}", "expected a share such as 3% or 0.03, found ") for text in limits]
    words += [(f"--fail-above={text}", "expected a limit such as 5% or p99=30%") for text in ("p98=3%", "5%,6%")]
    words.append(("--allow=machine,weather", "expected some of machine,threads,versions, or all; found 'machine,"))
    words.append(("--metrics=median,mode", "expected some of median,p99,cold-start,memory,size; found 'median,mode'"))
    for word, message in words:
        with pytest.raises(StudyError) as mistake:
            main(["compare", "a", "b", word])
        assert message in str(mistake.value)


def test_an_environment_without_scipy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)  # as if it were not installed
    with pytest.raises(StudyError) as refusal:
        main(["compare", "a", "b"])
    assert str(refusal.value) == (
        "bench compare needs scipy, which this environment lacks; install the bench's with `tox -e bench --notest` and "
        "run `.tox/bench/bin/python -m bench compare ...`"
    )


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
