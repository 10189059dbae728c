"""`python -m bench convert`: the files of github-action-benchmark and Bencher."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from study.records.bench import BenchRecord
from tests.bench.builders import around, bench, case, cold_start, paired
from tests.bench.gate.test_gate import write

INVALID: dict[str, Any] = {"valid": False, "reasons": ("noisy",)}
NAME = "gap-onnxruntime-batch1-threads1-native"
PAIR = "gap-torch/onnxruntime-batch1-threads1-native"


def converted(tmp_path: Path, record: BenchRecord, to: str) -> Any:
    out = tmp_path / "out.json"
    assert main(["convert", str(write(tmp_path / "bench.json", record)), "--to", to, "-o", str(out)]) == 0
    return json.loads(out.read_text())


@pytest.fixture
def whole() -> BenchRecord:
    """A session with one of each measurement: 100 us, p99 of 150 us, eight times as fast as torch."""
    return bench(
        case(100e-6, 0.01, p99_seconds=around(150e-6, 0.1), onnx_bytes=4096),
        comparisons=(paired(8.0, 0.25),),
        cold_starts=(cold_start(),),
    )


def test_github_action_benchmark_gets_entries_that_are_better_if_smaller(tmp_path: Path, whole: BenchRecord) -> None:
    """The tool requires name, unit and value; range and extra are texts that it shows."""
    entries = converted(tmp_path, whole, "github-action-benchmark")
    assert all(set(it) - {"range"} == {"name", "unit", "value", "extra"} for it in entries)
    assert [(it["name"], it["unit"], it["value"], it.get("range")) for it in entries] == [
        (f"{NAME} latency", "us", pytest.approx(100), "99.0099 to 101"),
        (f"{NAME} latency-p99", "us", pytest.approx(150), "136.364 to 165"),
        (f"{PAIR} relative-time", "ratio", pytest.approx(1 / 8), "0.1 to 0.15625"),
        (f"{NAME} cold-start", "us", pytest.approx(5e5), "450000 to 600000"),
        (f"{NAME} peak-memory", "KiB", pytest.approx(64 * 1024), "58982.4 to 78643.2"),
        ("gap file-size", "KiB", 4.0, None),
    ]


def test_bencher_gets_values_with_both_limits_in_nanoseconds(tmp_path: Path, whole: BenchRecord) -> None:
    metrics = converted(tmp_path, whole, "bencher")
    assert {name: set(measures) for name, measures in metrics.items()} == {
        NAME: {"latency", "latency-p99", "cold-start", "peak-memory"},
        PAIR: {"relative-time"},
        "gap": {"file-size"},
    }
    assert metrics[NAME]["latency"] == pytest.approx({"value": 1e5, "lower_value": 1e5 / 1.01, "upper_value": 1.01e5})
    assert metrics["gap"]["file-size"]["value"] == 4096


def test_what_is_not_valid_is_left_out_and_listed(
    tmp_path: Path, whole: BenchRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    record = bench(case(), case(batch=32, **INVALID), case(batch=2, quick=True), comparisons=(paired(**INVALID),))
    metrics = converted(tmp_path, record, "bencher")
    assert set(metrics) == {NAME, "gap"}
    assert capsys.readouterr().err.splitlines() == [
        f"left out: {NAME.replace('1-t', '32-t')}: noisy",
        f"left out: {NAME.replace('1-t', '2-t')}: a quick run",
        f"left out: {PAIR}: noisy",
    ]


def test_if_nothing_is_valid_no_file_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chart would otherwise show a gap as if there were no benchmark any more."""
    out = tmp_path / "out.json"
    file = write(tmp_path / "bench.json", bench(case(**INVALID)))
    assert main(["convert", str(file), "--to", "bencher", "-o", str(out)]) == 3
    assert not out.exists()
    assert capsys.readouterr().err.splitlines()[-1] == "no measurement is valid: nothing is written"


def test_without_an_output_file_it_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(write(tmp_path / "bench.json", bench(case()))), "--to", "bencher"]) == 0
    assert NAME in json.loads(capsys.readouterr().out)
