"""`pytest bench` as a user runs it, on trained models and real images: its files, and its mistakes."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.session import MOST_REPLACEMENTS
from study.bench_file import read_bench
from study.cores import usable_cores
from study.files import sha256
from study.onnx_values import digest
from study.record_files import as_json, read_record
from study.records.bench import BenchRecord, CaseRecord, ComparisonRecord
from study.records.training import RunRecord
from tests.bench.test_plan import save, write
from tests.conftest import ROOT, Trained, run

BOTH = ("torch", "onnxruntime")
ONE = ("--models", "gap", "--batches", "1", "--quick", "--seconds", "20", "--cold-starts", "0")
"""The smallest session of a trained model."""
FREE = ("--shape", "ids=5", "--batches", "1", "--cold-starts", "0", "--runtimes", "onnxruntime")
"""A case of a model that needs no torch."""


def bench(trained: Trained, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return run("pytest", "bench", "--artifacts", trained.artifacts.root, *words, **options)


def measured(file: Path, *words: str | Path, **options: Any) -> tuple[BenchRecord, str]:
    """The record and the output of a session that succeeds."""
    shown = run("pytest", "bench", f"--benchmark-json={file}", *words, **options)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return read_bench(file, ""), shown.stdout


def journal(file: Path) -> Path:
    return file.with_name(f"{file.name}.journal")


def kinds(file: Path) -> list[str]:
    """The kinds of a journal's complete lines."""
    return [list(json.loads(line))[1] for line in journal(file).read_text().split("\n")[:-1]]


def subject(record: CaseRecord | ComparisonRecord) -> tuple[str, int, str]:
    return record.key.model, record.key.batch, record.key.runtime


# ---- the JSON


@dataclass(frozen=True)
class Quick:
    """A session of two models, two engines and two batches."""

    file: Path
    output: str
    content: dict[str, Any]
    record: BenchRecord


@pytest.fixture(scope="module")
def quick(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Quick:
    file = tmp_path_factory.mktemp("bench") / "folder" / "that is not there yet" / "bench.json"
    words = ("--models", "baseline,gap", "--batches", "1,32", "--cold-starts", "1", "--quick", "--seconds", "20")
    record, output = measured(file, "--artifacts", trained.artifacts.root, *words)
    return Quick(file, output, json.loads(file.read_bytes()), record)


def test_the_json_is_in_its_place_and_complete(quick: Quick) -> None:
    assert f"wrote {quick.file}\n" in quick.output
    assert ".partial" not in quick.output
    assert {path.name for path in quick.file.parent.iterdir()} == {"bench.json", "bench.json.journal"}
    record = quick.record
    assert (quick.content["study"]["schema"], record.processes) == ("bench/5", 1)
    assert 0 < (record.harness_overhead_seconds or 0) < 1e-5
    assert record.environment.packages.keys() >= {"torch", "onnxruntime"}
    models = list(itertools.product(["baseline", "gap"], [1, 32]))
    assert sorted(map(subject, record.cases)) == sorted((*model, runtime) for model in models for runtime in BOTH)
    assert sorted(map(subject, record.comparisons)) == [(*model, "onnxruntime") for model in models]
    assert {each.reference for each in record.comparisons} == {"torch"}
    starts = [(each.key.model, each.key.runtime, each.processes) for each in record.cold_starts]
    assert sorted(starts) == sorted((model, runtime, 1) for model in ("baseline", "gap") for runtime in BOTH)


def test_the_progress_is_a_line_for_each_process(quick: Quick) -> None:
    lines = quick.output.splitlines()
    assert any(re.fullmatch(r"process 1 of 1: 12 measurements in \d+ (s|min)", line) for line in lines)
    assert any(re.fullmatch(r"cold starts: 4 measurements in \d+ (s|min)", line) for line in lines)


def test_the_output_fits_into_80_columns(quick: Quick) -> None:
    assert max(map(len, quick.output.replace(str(quick.file), "").splitlines())) <= 80


def test_quick_measurements_are_not_valid(quick: Quick) -> None:
    for case in quick.record.cases:
        assert (case.quick, case.valid) == (True, False)
        assert case.reasons[0] == "a quick run: one short process is only a smoke test; leave out --quick"
    for each in quick.record.comparisons:
        assert (each.quick, each.valid, each.verdict) == (True, False, "withheld")
        assert each.reasons[0] == "a quick run: one short process is only a smoke test; leave out --quick"
    assert all(each.quick for each in quick.record.cold_starts)
    assert len(re.findall(r"  withheld: [\d,]+\n", quick.output)) == 4


def test_the_facts_of_each_case(trained: Trained, quick: Quick) -> None:
    for case in quick.record.cases:
        key = case.key
        files = trained.artifacts.run(key.model, 0)
        assert (key.variant, key.seed, key.threads, key.mode, key.device) == ("standard", 0, 1, "native", "cpu")
        assert (key.onnx_sha256, case.onnx_bytes) == (sha256(files.onnx), files.onnx.stat().st_size)
        assert case.parameters == read_record(files.record, RunRecord, "").parameters
        assert case.threads_read_back == case.settings["threads"] == 1
        assert case.parity is not None
        assert (case.parity.images, case.parity.argmax_mismatches) == (1024, 0)
        assert 0 < case.parity.max_abs_difference <= 1e-5
        assert {key.runtime, case.parity.against} == set(BOTH)
        assert case.processes[0].warmup.calls > 0
    macs = {case.key.model: case.macs for case in quick.record.cases}
    # LeNet-5 by hand: 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert macs["baseline"] == 117_600 + 240_000 + 48_000 + 10_080 + 840 == 416_520


def test_all_engines_get_the_same_inputs(quick: Quick) -> None:
    digests: dict[tuple[str, int], list[str]] = {}
    for case in quick.record.cases:
        digests.setdefault((case.key.model, case.key.batch), []).append(case.inputs_sha256)
    assert [len(both) for both in digests.values()] == [2, 2, 2, 2]
    assert all(one == other for one, other in digests.values())
    assert digests["gap", 1] == digests["baseline", 1] != digests["gap", 32]


def test_the_statistics_follow_from_the_samples_that_pytest_benchmark_stored(quick: Quick) -> None:
    stored = [benchmark["stats"] for benchmark in quick.content["benchmarks"] if benchmark["extra_info"]]
    assert {benchmark["stats"]["iterations"] for benchmark in quick.content["benchmarks"]} == {1}
    for case, stats in zip(quick.record.cases, stored, strict=True):
        samples = stats["data"]
        assert len(samples) == case.samples == 70
        assert case.p90_seconds is not None
        assert case.median_seconds.value == pytest.approx(np.median(samples), rel=1e-12)
        assert case.p90_seconds.value == pytest.approx(np.percentile(samples, 90), rel=1e-12)
        assert case.images_per_second_at_median == pytest.approx(case.key.batch / np.median(samples))
        assert case.median_seconds.low <= case.median_seconds.value <= case.median_seconds.high
        (process,) = case.processes
        assert process.load_medians_seconds == pytest.approx([np.median(samples)]), "a quick run loads once"
        assert (case.p95_seconds, case.p99_seconds, case.p999_seconds) == (None, None, None), "p95 takes 130 samples"


def test_the_journal_has_the_same_records(quick: Quick) -> None:
    found = read_bench(journal(quick.file), "")
    for kind in ("cases", "comparisons", "cold_starts"):
        kept, whole = ({each.key: each for each in getattr(one, kind)} for one in (found, quick.record))
        assert kept.keys() == whole.keys(), kind
        assert [each.processes for each in kept.values()] == [whole[key].processes for key in kept]
    first, *kept_kinds = kinds(quick.file)
    assert first == "environment"
    assert sorted(kept_kinds[:12]) == ["case"] * 8 + ["comparison"] * 4, "each at once, in an order of its own"
    assert sorted(kept_kinds[12:24]) == sorted(kept_kinds[:12]), "and at the end"
    assert kept_kinds[24:] == [*["cold_start"] * 4, "exit_status"]
    assert as_json(found.environment) == {**as_json(quick.record.environment), "load_after": None}


def test_pytest_benchmark_compares_the_files(quick: Quick, tmp_path: Path) -> None:
    later = shutil.copy(quick.file, tmp_path / "later.json")
    shown = run("pytest_benchmark", "compare", quick.file, later)
    assert shown.returncode == 0, shown.stderr
    for case in ("gap-torch-batch32", "baseline-onnxruntime-batch1"):
        assert shown.stdout.count(f"{case}-threads1-native-cpu") == 2


def test_a_quick_file_compared_with_itself_is_withheld(quick: Quick) -> None:
    shown = run("bench", "compare", quick.file, quick.file)
    assert shown.returncode == 3, shown.stderr


# ---- other ways to measure


def test_a_session_is_a_pilot_and_five_processes(tmp_path: Path) -> None:
    """Of a model that needs no torch, with a choice of ONNX Runtime's settings."""
    file, model = tmp_path / "bench.json", write(tmp_path / "free.onnx", "N")
    engines = ("openvino", "onnxruntime", "onnxruntime-iobinding")
    record, output = measured(file, *FREE, "--onnx", model, "--runtimes", ",".join(engines), "--seconds", "0.1")
    assert record.pilot is not None
    assert record.pilot.processes == 2
    assert list(record.pilot.forecast_half_widths) == [f"free openvino/{name} batch 1" for name in engines[1:]]
    assert 5 <= record.processes <= 5 + MOST_REPLACEMENTS, "the others replace what was disturbed"
    for case in record.cases:
        assert [process.process for process in case.processes[:5]] == [1, 2, 3, 4, 5]
        assert case.median_seconds.low <= case.median_seconds.value <= case.median_seconds.high
    for comparison in record.comparisons:
        assert len({process.random_seed for process in comparison.processes}) == len(comparison.processes)
        assert comparison.after_switch_reference.lead_in_calls >= 1
    (best,) = [one for one in record.comparisons if one.best_of]
    assert best.best_of is not None
    assert [one.runtime for one in best.best_of.reference] == ["openvino"]
    assert best.best_of.runtime[0].runtime == best.key.runtime, "the fastest of the pilot"
    assert {one.runtime for one in best.best_of.runtime} == set(engines[1:])
    titles = [line.partition(":")[0] for line in output.splitlines()]
    assert [title for title in titles if re.fullmatch(r"pilot( \d of 2)?|forecast|process \d of 5", title)] == [
        *("pilot 1 of 2", "pilot 2 of 2", "pilot", "forecast"),
        *(f"process {n} of 5" for n in (1, 2, 3, 4, 5)),
    ]
    stored = json.loads(file.read_bytes())["benchmarks"]
    assert [len(each["stats"]["data"]) for each in stored] == [case.samples for case in record.cases]
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.json.journal", "free.onnx"}


ENGINE = """
import onnxruntime
from contextlib import nullcontext

class Mine:
    devices, needs_checkpoint = ("cpu",), False

    def __init__(self, model, setting):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, self.threads = setting.threads, setting.threads
        self.session = onnxruntime.InferenceSession(model.onnx, options)

    def to_native(self, inputs): return dict(inputs)
    def run(self, inputs): return self.session.run(None, inputs)
    def to_numpy(self, outputs): return outputs
    def settings(self): return {"threads": self.threads, "colour": "blue"}
    def context(self): return nullcontext()
    def close(self): del self.session
"""


def test_a_runtime_of_the_user_from_numpy_to_numpy(tmp_path: Path) -> None:
    (tmp_path / "own_engine.py").write_text(ENGINE)
    own, path = "own_engine:Mine", {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = ("--quick", *FREE, "--mode", "numpy", "--runtimes", f"onnxruntime,{own}", "--cold-starts", "1")
    record, _ = measured(tmp_path / "b.json", *words, "--onnx", write(tmp_path / "free.onnx", "N"), env=path)
    assert [(case.key.runtime, case.key.mode) for case in record.cases] == [("onnxruntime", "numpy"), (own, "numpy")]
    mine = record.cases[1]
    assert mine.settings == {"threads": 1, "colour": "blue"}
    assert mine.parity is not None
    assert (mine.parity.against, mine.parity.images) == ("onnxruntime", 8)
    (pair,) = record.comparisons
    assert (pair.reference, pair.key.runtime, pair.key.mode) == ("onnxruntime", own, "numpy")
    starts = [(each.key.runtime, each.key.mode) for each in record.cold_starts]
    assert starts == [("onnxruntime", "native"), (own, "native")]


def test_a_slow_model_is_measured_in_bounded_time(tmp_path: Path) -> None:
    """A call takes 1 s, and there are 0.8 s for a measurement: no more than its fewest calls are made."""
    calls = "        time.sleep(1)\n        open('calls', 'a').write('x')\n        return self.session.run"
    slow = ENGINE.replace(" return self.session.run", f"\n{calls}")
    (tmp_path / "slow_engine.py").write_text(f"import time\n{slow}")
    words = ["--quick", "--seconds", "0.2", "--cold-starts", "0", "--shape", "ids=5", "--batches", "1"]
    words += ["--runtimes", "onnxruntime,slow_engine:Mine", f"--benchmark-json={tmp_path / 'b.json'}"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-m", "pytest", str(ROOT / "bench"), "--rootdir", str(ROOT), *words]
    command += ["--onnx", str(write(tmp_path / "free.onnx", "N"))]
    shown = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    record = read_bench(tmp_path / "b.json", "")
    case = next(case for case in record.cases if case.key.runtime == "slow_engine:Mine")
    assert (case.samples, case.valid, case.p90_seconds) == (1, False, None)
    assert case.median_seconds.low == case.median_seconds.value == case.median_seconds.high > 1
    assert case.parity is not None
    assert case.parity.images == 1
    assert record.comparisons == ()
    ((name, reason),) = record.left_out.items()
    assert name == "free onnxruntime/slow_engine:Mine batch 1"
    # two loads of the slow engine, each called once, then once before the timing and once timed
    assert reason == "one round of the comparison takes 6.0 s; leave out --quick"
    # as the other engine's reference, in its own check, the warm-up, and one that is timed; the comparison's check and
    # warm-up
    assert len((tmp_path / "calls").read_text()) == 6


def test_a_session_that_leaves_everything_out_has_failed(tmp_path: Path) -> None:
    slow = ENGINE.replace(" return self.session.run", "\n        time.sleep(1)\n        return self.session.run")
    (tmp_path / "slow_engine.py").write_text(f"import time\n{slow}")
    words = ["--scenario", "server", "--bound", "1ms", "--quick", "--seconds", "0.2", "--shape", "ids=5"]
    words += ["--batches", "1", "--runtimes", "slow_engine:Mine", "--onnx", str(write(tmp_path / "free.onnx", "N"))]
    command = [sys.executable, "-m", "pytest", str(ROOT / "bench"), "--rootdir", str(ROOT), *words]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    shown = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert "left out: free slow_engine:Mine batch 1" in shown.stdout, shown.stdout + shown.stderr
    assert shown.returncode == 1


def test_two_threads_if_there_are_two_cores(tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    words = ("--quick", *FREE, "--threads", "2", "--onnx", write(tmp_path / "free.onnx", "N"))
    shown = run("pytest", "bench", *words, f"--benchmark-json={file}")
    if usable_cores() < 2:
        assert shown.returncode == 2
        assert "--threads: expected at most the 1 cores this process may use, found 2" in shown.stderr
        return
    assert shown.returncode == 0, shown.stdout + shown.stderr
    (case,) = read_bench(file, "").cases
    assert (case.key.runtime, case.key.threads, case.threads_read_back) == ("onnxruntime", 2, 2)


def test_any_onnx_files_in_the_engines_that_run_them(tmp_path: Path) -> None:
    free, fixed = write(tmp_path / "free.onnx", "N"), write(tmp_path / "fixed.onnx", "4")
    engines = ("onnxruntime", "openvino")
    words = (*FREE, "--quick", "--runtimes", ",".join(engines), "--batches", "3")
    record, _ = measured(tmp_path / "b.json", *words, "--onnx", free, fixed)
    assert list(map(subject, record.cases)) == [
        *itertools.product(["free"], [3], engines),
        *itertools.product(["fixed"], [4], engines),
    ]
    for case in record.cases:
        assert (case.key.seed, case.key.onnx_sha256) == (None, sha256(tmp_path / f"{case.key.model}.onnx"))
        assert case.parity is not None
        assert (case.parity.images, case.parity.max_abs_difference) == (8 * case.key.batch, 0)
        assert {case.parity.against, case.key.runtime} == set(engines)
    assert [(*subject(each), each.reference) for each in record.comparisons] == [
        ("free", 3, "openvino", "onnxruntime"),
        ("fixed", 4, "openvino", "onnxruntime"),
    ]


DETECTOR = """g (float[N, 3] file, int64 sr) => (float[N, 3] y) <int64 rate = {16000}> { is = Equal(sr, rate) y = If(is)
    <then_branch = a () => (float[N, 3] t) { t = Relu(file) }, else_branch = b () => (float[N, 3] e)
    { e = Neg(file) }> }"""


def test_the_user_gives_values_of_inputs(tmp_path: Path) -> None:
    save(tmp_path / "m.onnx", DETECTOR)
    np.savez(tmp_path / "call.npz", sr=16000)
    words = ["--onnx", str(tmp_path / "m.onnx"), "--runtimes", "onnxruntime", "--batches", "2", "--quick"]
    given = ["--cold-starts", "1", "--feed", str(tmp_path / "call.npz"), "--input", "file=0.5"]
    shown = run("pytest", "bench", *words, *given, f"--benchmark-json={tmp_path / 'b.json'}")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "inputs drawn" not in shown.stdout
    record = read_bench(tmp_path / "b.json", "")
    (case,) = record.cases
    assert case.inputs_sha256 == digest([{"file": np.full((2, 3), 0.5, np.float32), "sr": np.array(16000)}] * 8)
    assert case.input_shapes == {"file": (2, 3), "sr": ()}
    assert record.environment.command == ("bench", *words, *given, f"--benchmark-json={tmp_path / 'b.json'}")
    assert len(record.cold_starts) == 1
