"""What `python -m bench compare` prints, and which files it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bench.__main__ import main
from bench.gate.compare import compare
from bench.gate.limits import LIMITS
from study.errors import StudyError
from tests.bench.builders import ENVIRONMENT, bench, case, paired
from tests.bench.gate.test_compare import INVALID
from tests.bench.gate.test_gate import Gate, gate, row, write
from tests.support.study import edit_json

__all__ = ["gate"]  # a fixture

# ---- measurement conditions

DIFFERENCES: list[tuple[str, dict[str, Any], str]] = [
    ("machine", {"cpu": "Another"}, "cpu 'A CPU' against 'Another'"),
    ("machine", {"cores": 4}, "cores 2 against 4"),
    (
        "machine",
        {"fingerprint": "ab" * 6, "processor": replace(ENVIRONMENT.processor, model="18")},
        "fingerprint '0123456789ab' against 'abababababab', model '17' against '18'",
    ),
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
            compare(old, new, LIMITS)
        with pytest.raises(StudyError):
            compare(old, new, LIMITS, allowed={"machine", "threads", "versions"} - {word})
        for allowed in (word, "all"):
            code, lines = gate(old, new, "--allow", allowed)
            assert code == 1
            assert f"DIFFERENT CONDITIONS, {word} (old against new): {text}" in lines


def test_differences_without_effect_on_the_code_are_only_reported(gate: Gate) -> None:
    packages = {"torch": "2.13.0", "numpy": "2.4.6", "onnx": "1.24.0", "ncnn": "1.0"}
    memory = 24 * 2**30 - 2**20
    new = bench(case(), packages=packages, memory_bytes=memory, affinity=(4, 5), governor="powersave", cpu_flags=())
    new = replace(new, environment=replace(new.environment, processor=replace(ENVIRONMENT.processor, microcode="0x2")))
    code, lines = gate(bench(case()), new)
    assert code == 0
    assert "DIFFERENT CONDITIONS" not in "\n".join(lines)
    assert (
        "also different: governor None against 'powersave', microcode '0x1' against '0x2', CPU flags of one only: avx2"
        in lines
    )


# ---- output


def test_the_first_lines_describe_both_files(gate: Gate, tmp_path: Path) -> None:
    first, second = gate(bench(case()), bench(case(), dirty=True))[1][:2]
    commit = "2026-01-02T03:04:05, commit cccccccccccc"
    rest = "A CPU, 2 cores, 24 GiB, machine 0123456789ab, Python 3.11.7, torch 2.13.0, numpy 2.4.6, onnx 1.23.2"
    assert first == f"old: {tmp_path / 'old.json'}, {commit}; {rest}"
    assert second == f"new: {tmp_path / 'new.json'}, {commit} with uncommitted changes; {rest}"


@pytest.mark.parametrize(
    ("date", "text"),
    [("02T03:44", "another day; `python"), ("05T03:04", "another day (these were measured 3 days apart); `python")],
)
def test_the_output_says_what_the_intervals_do_not_cover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], date: str, text: str
) -> None:
    old, new = (write(tmp_path / name, bench(case())) for name in ("old.json", "new.json"))
    edit_json(new, datetime=f"2026-01-{date}:05.678")
    main(["compare", str(old), str(new)])
    assert f"not what differs between two sessions, such as a reboot or {text}" in capsys.readouterr().out


def test_the_geometric_mean_is_one_line(gate: Gate) -> None:
    old, new = (bench(case(100e-6 * f), case(900e-6 * f, batch=32)) for f in (1, 1.02))
    lines = gate(old, new)[1]
    assert "geometric mean of the medians' ratios: 1.020 (1.019 to 1.021)" in lines


def test_quantities_have_a_unit_that_suits_them(gate: Gate) -> None:
    for old, new, shown in (
        (126.1e-6, 128.26e-6, ["126.1 µs", "128.3 µs"]),
        (0.25e-6, 0.5e-6, ["0.25 µs", "0.50 µs"]),
        (990e-6, 1100e-6, ["990.0 µs", "1,100.0 µs"]),  # one unit a row
        (1.622e-3, 2e-3, ["1.62 ms", "2.00 ms"]),
        (1.5, 2.25, ["1.50 s", "2.25 s"]),
    ):
        assert row(gate(bench(case(old)), bench(case(new)))[1])[2:4] == shown
    lines = gate(bench(case(onnx_bytes=1023)), bench(case(onnx_bytes=2048)))[1]
    assert row(lines, "size")[2:6] == ["1,023 B", "2,048 B", "2.002", "exact"]
    lines = gate(bench(case(onnx_bytes=3 * 2**20)), bench(case(onnx_bytes=3 * 2**19 + 3 * 2**20)))[1]
    assert row(lines, "size")[2:4] == ["3.000 MiB", "4.500 MiB"]


def test_markdown_is_a_table_of_whole_rows(gate: Gate) -> None:
    cases = case(model="a|b"), case(110e-6, model="c", **INVALID)
    old, new = (bench(*cases, comparisons=(paired(model="a|b"),), cpu=cpu) for cpu in ("A", "B"))
    _, lines = gate(old, new, "--format", "markdown", "--allow", "machine")
    blocks = [block.splitlines() for block in "\n".join(lines).strip().split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("|")]
    assert [len(table) for table in tables] == [2 + 4, 2 + 1]
    for table, columns in zip(tables, (9, 6), strict=True):
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {columns + 1}
        assert re.fullmatch(r"(\|:?-+:?)+\|", table[1])
    assert tables[0][2].startswith(r"| a\|b-onnxruntime-batch1-threads1-native")
    assert all(line.startswith("- ") for block in blocks if block not in tables for line in block)
    assert "- **DIFFERENT CONDITIONS**, machine (old against new): cpu 'A' against 'B'" in lines


def test_json_has_the_exit_code_and_every_change(gate: Gate) -> None:
    code, lines = gate(bench(case(100e-6)), bench(case(110e-6)), "--format", "json")
    found = json.loads("\n".join(lines))
    assert (found["schema"], found["exit_code"], code) == ("gate/1", 1, 1)
    assert [(it["metric"], it["verdict"]) for it in found["changes"]] == [
        ("median", "slower"),
        ("size", "within the limit"),
    ]
