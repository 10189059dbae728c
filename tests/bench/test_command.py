"""`pytest bench` as a user runs it, on trained models and real images: what it writes, and what it refuses."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

from study.artifacts import read_bench, read_json, sha256
from study.environment import usable_cores
from tests.conftest import ROOT, Trained, run

Record = dict[str, Any]
BOTH = ("torch", "onnxruntime")
ONE = ("--models", "gap", "--batches", "1", "--quick", "--cold-starts", "0")
"""The least that can be measured."""
PERCENTILES = ("p90", "p95", "p99", "p999")


def bench(trained: Trained, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return run("pytest", "bench", "--artifacts", trained.artifacts.root, *words, **options)


def journal(file: Path) -> Path:
    return file.with_name(f"{file.name}.journal")


def kinds(file: Path) -> list[str]:
    """The kinds of a journal's whole lines."""
    return [json.loads(line)["kind"] for line in journal(file).read_text().split("\n")[:-1]]


# ---- the JSON


@dataclass(frozen=True)
class Quick:
    """A session of two models, two engines and two batches."""

    file: Path
    output: str
    content: Record
    record: Record


@pytest.fixture(scope="module")
def quick(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Quick:
    file = tmp_path_factory.mktemp("bench") / "folder" / "that is not there yet" / "bench.json"
    words = ("--models", "baseline,gap", "--batches", "1,32", "--cold-starts", "1", "--quick")
    shown = bench(trained, f"--benchmark-json={file}", *words)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return Quick(file, shown.stdout, json.loads(file.read_bytes()), read_bench(file, ""))


def test_the_json_is_in_its_place_and_has_all_that_was_asked_for(quick: Quick) -> None:
    assert f"wrote {quick.file}" in quick.output
    assert {path.name for path in quick.file.parent.iterdir()} == {"bench.json", "bench.json.journal"}
    record = quick.record
    assert (record["schema"], record["processes"]) == ("bench/2", 1)
    assert 0 < record["harness_overhead_seconds"] < 1e-5
    assert record["environment"]["packages"].keys() >= {"torch", "onnxruntime"}
    places = list(itertools.product(["baseline", "gap"], [1, 32]))
    cases = [(case["model"], case["batch"], case["runtime"]) for case in record["cases"]]
    assert sorted(cases) == sorted((*place, runtime) for place in places for runtime in BOTH)
    pairs = [(each["model"], each["batch"], each["reference"], each["runtime"]) for each in record["comparisons"]]
    assert sorted(pairs) == [(*place, "torch", "onnxruntime") for place in places]
    starts = [(each["model"], each["runtime"], each["processes"]) for each in record["cold_starts"]]
    assert sorted(starts) == sorted((model, runtime, 1) for model in ("baseline", "gap") for runtime in BOTH)


def test_what_was_measured_quickly_is_not_believed(quick: Quick) -> None:
    for case in quick.record["cases"]:
        assert case["quick"]
        assert not case["valid"]
        assert case["reasons"][0] == "a quick run: 70 samples are only a smoke test; leave out --quick"
    for each in quick.record["comparisons"]:
        assert (each["quick"], each["valid"], each["verdict"]) == (True, False, "withheld")
        assert each["reasons"][0] == "a quick run: 3 rounds are only a smoke test; leave out --quick"
    assert all(each["quick"] for each in quick.record["cold_starts"])
    assert quick.output.count(": withheld\n") == 4


def test_the_facts_of_each_case(trained: Trained, quick: Quick) -> None:
    for case in quick.record["cases"]:
        run_files = trained.artifacts.run(case["model"], 0)
        assert case["onnx_sha256"] == sha256(run_files.onnx)
        assert case["onnx_bytes"] == run_files.onnx.stat().st_size
        assert case["parameters"] == read_json(run_files.record, "run/1", "")["parameters"]
        assert (case["seed"], case["threads"], case["mode"], case["device"]) == (0, 1, "native", "cpu")
        assert case["threads_read_back"] == case["settings"]["threads"] == 1
        parity = case["parity"]
        assert (parity["images"], parity["argmax_mismatches"]) == (1024, 0)
        assert 0 < parity["max_abs_difference"] <= 1e-5
        assert {case["runtime"], parity["against"]} == set(BOTH)
        assert case["warmup"]["calls"] > 0
    macs = {case["model"]: case["macs"] for case in quick.record["cases"]}
    # LeNet-5 by hand: 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert macs["baseline"] == 117_600 + 240_000 + 48_000 + 10_080 + 840 == 416_520


def test_all_engines_are_given_the_same_inputs(quick: Quick) -> None:
    found: dict[tuple[str, int], list[str]] = {}
    for case in quick.record["cases"]:
        found.setdefault((case["model"], case["batch"]), []).append(case["inputs_sha256"])
    assert [len(digests) for digests in found.values()] == [2, 2, 2, 2]
    assert all(one == other for one, other in found.values())
    assert found["gap", 1] == found["baseline", 1] != found["gap", 32]


def test_the_statistics_follow_from_the_samples_that_pytest_benchmark_stored(quick: Quick) -> None:
    checked = 0
    for benchmark in quick.content["benchmarks"]:
        facts, samples = benchmark["extra_info"], benchmark["stats"]["data"]
        assert benchmark["stats"]["iterations"] == 1, "one call is one sample"
        if not facts:
            continue
        assert len(samples) == facts["samples"] == 70
        assert facts["median_seconds"] == pytest.approx(np.median(samples), rel=1e-12)
        assert facts["p90_seconds"] == pytest.approx(np.percentile(samples, 90), rel=1e-12)
        assert facts["images_per_second"] == pytest.approx(facts["batch"] / np.median(samples))
        assert facts["median_low_seconds"] <= facts["median_seconds"] <= facts["median_high_seconds"]
        assert facts["load_medians_seconds"] == pytest.approx([np.median(samples)]), "a quick run loads once"
        told = [name for name in PERCENTILES if facts[f"{name}_seconds"] is not None]
        assert told == ["p90"], "70 samples do not tell p95, which takes 130"
        intervals = [facts[f"{name}_{end}_seconds"] for name in PERCENTILES[1:] for end in ("low", "high")]
        assert intervals == [None] * 6
        checked += 1
    assert checked == 8


def test_the_journal_holds_the_same_records(quick: Quick) -> None:
    found = read_bench(journal(quick.file), "")
    for key in ("cases", "comparisons", "cold_starts"):
        assert found[key] == quick.record[key]
    assert kinds(quick.file) == ["session", *["case"] * 8, *["comparison"] * 4, *["cold_start"] * 4, "end"]
    assert found["environment"] == {**quick.record["environment"], "load_after": None}


def test_pytest_benchmark_compares_the_files(quick: Quick, tmp_path: Path) -> None:
    later = shutil.copy(quick.file, tmp_path / "later.json")
    shown = run("pytest_benchmark", "compare", quick.file, later)
    assert shown.returncode == 0, shown.stderr
    for case in ("gap-torch-batch32", "baseline-onnxruntime-batch1"):
        assert shown.stdout.count(f"{case}-threads1-native-cpu") == 2


def test_the_comparison_of_a_quick_file_with_itself_is_withheld(quick: Quick) -> None:
    shown = run("bench", "compare", quick.file, quick.file)
    assert shown.returncode == 0, shown.stderr
    assert "0 slower, 0 faster, 0 without a difference shown, 8 withheld" in shown.stdout


# ---- other ways to measure


def test_further_processes_measure_all_of_it_again(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    shown = bench(trained, f"--benchmark-json={file}", *ONE, "--processes", "2")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    record = read_bench(file, "")
    assert record["processes"] == 2
    assert (len(record["cases"]), len(record["comparisons"]), record["cold_starts"]) == (2, 1, [])
    for case in record["cases"]:
        one, other = (process["median_seconds"] for process in case["processes"])
        assert one == case["median_seconds"] != other
        assert case["between_spread"] == pytest.approx(max(one, other) / min(one, other) - 1)
    for each in record["comparisons"]:
        one, other = (process["ratio"] for process in each["processes"])
        assert one != other
        assert each["ratio"] == pytest.approx((one + other) / 2)
        assert each["between_spread"] == pytest.approx(max(one, other) / min(one, other) - 1)
        assert any(reason.startswith("in process 2: a quick run") for reason in each["reasons"])
    assert "2 processes within" in shown.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "bench.json.journal"]


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
    def run(self, inputs): return self.session.run(["probabilities"], inputs)
    def to_numpy(self, outputs): return outputs
    def settings(self): return {"threads": self.threads, "colour": "blue"}
    def context(self): return nullcontext()
    def close(self): del self.session
"""


def test_a_runtime_of_the_users_own_from_numpy_to_numpy(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "own_engine.py").write_text(ENGINE)
    file, own = tmp_path / "bench.json", "own_engine:Mine"
    words = (*ONE, "--mode", "numpy", "--runtimes", f"torch,{own}", "--cold-starts", "1")
    shown = bench(trained, f"--benchmark-json={file}", *words, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert shown.returncode == 0, shown.stdout + shown.stderr
    record = read_bench(file, "")
    torch, mine = record["cases"]
    assert (torch["runtime"], mine["runtime"], torch["mode"], mine["mode"]) == ("torch", own, "numpy", "numpy")
    assert mine["settings"] == {"threads": 1, "colour": "blue"}
    assert (mine["parity"]["against"], mine["parity"]["images"]) == ("torch", 1024)
    (pair,) = record["comparisons"]
    assert (pair["reference"], pair["runtime"], pair["mode"]) == ("torch", own, "numpy")
    assert [each["runtime"] for each in record["cold_starts"]] == ["torch", own]


def test_two_threads_where_there_are_two_cores(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    shown = bench(trained, f"--benchmark-json={file}", *ONE, "--threads", "2")
    if usable_cores() < 2:
        assert shown.returncode == 2
        assert "--threads: expected at most the 1 cores this process may use, found 2" in shown.stderr
        return
    assert shown.returncode == 0, shown.stdout + shown.stderr
    record = read_bench(file, "")
    assert [(c["runtime"], c["threads"], c["threads_read_back"]) for c in record["cases"]] == [
        (runtime, 2, 2) for runtime in BOTH
    ]
    assert [(each["threads"], each["reference"]) for each in record["comparisons"]] == [(2, "torch")]


TABLE = "<float[2] table = {0.5, 2}>"
BODY = "{ factors = Gather(table, ids) y = Mul(x, factors) }"


def write(path: Path, batch: str, length: str = "W") -> Path:
    """A model of two inputs: each number is multiplied by 0.5 or 2, as an index says that is the same for all rows."""
    graph = f"g (float[{batch}, W] x, int64[{length}] ids) => (float[{batch}, W] y) {TABLE} {BODY}"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {graph}')
    path.write_bytes(model.SerializeToString())
    return path


def test_any_onnx_files_in_the_engines_that_take_them(trained: Trained, tmp_path: Path) -> None:
    file, free, fixed = tmp_path / "b.json", write(tmp_path / "free.onnx", "N"), write(tmp_path / "fixed.onnx", "4")
    words = ("--runtimes", "onnxruntime,openvino", "--batches", "3", "--shape", "ids=5", "--quick")
    shown = bench(trained, f"--benchmark-json={file}", *words, "--cold-starts", "0", "--onnx", free, fixed)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    record = read_bench(file, "")
    found = [(case["model"], case["batch"], case["runtime"]) for case in record["cases"]]
    engines = ("onnxruntime", "openvino")
    assert found == [*itertools.product(["free"], [3], engines), *itertools.product(["fixed"], [4], engines)]
    for case in record["cases"]:
        assert (case["seed"], case["onnx_sha256"]) == (None, sha256(tmp_path / f"{case['model']}.onnx"))
        assert case["parity"] == {
            **{"images": 8 * case["batch"], "max_abs_difference": 0, "argmax_mismatches": 0},
            "against": "openvino" if case["runtime"] == "onnxruntime" else "onnxruntime",
        }
    pairs = [(each["model"], each["batch"], each["reference"], each["runtime"]) for each in record["comparisons"]]
    assert pairs == [("free", 3, *engines), ("fixed", 4, *engines)]


# ---- a session that is cut short


@pytest.fixture
def earlier(tmp_path: Path) -> tuple[Path, bytes]:
    """A file that an earlier session has written whole."""
    file, content = tmp_path / "bench.json", b'{"the earlier": "session"}'
    file.write_bytes(content)
    return file, content


def start_and_wait(trained: Trained, file: Path, ready: Callable[[], bool]) -> subprocess.Popen[str]:
    """A session in a process group of its own, once it is `ready`."""
    words = ["--artifacts", str(trained.artifacts.root), f"--benchmark-json={file}", *ONE, "--seconds", "0.5"]
    command = [sys.executable, "-m", "pytest", "bench", *(word for word in words if word != "--quick")]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "nothing was measured within a minute"
        time.sleep(0.02)
    return process


def has_a_case(file: Path) -> bool:
    return journal(file).is_file() and "case" in kinds(file)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_was_measured_before_the_end_is_in_the_journal(
    trained: Trained, earlier: tuple[Path, bytes], number: signal.Signals
) -> None:
    file, content = earlier
    process = start_and_wait(trained, file, lambda: has_a_case(file))
    os.killpg(process.pid, number)
    output = process.communicate()[0]
    assert process.returncode == (2 if number == signal.SIGINT else -number)
    assert file.read_bytes() == content
    record = read_bench(journal(file), "")
    first = record["cases"][0]
    assert first["runtime"] == "torch"
    assert first["samples"] > 70
    if number == signal.SIGINT:
        assert f"not all was measured: {journal(file)} has what was" in output
        assert kinds(file)[-1] == "end"
        left = {file, journal(file)}
        assert set(file.parent.iterdir()) == left, "nothing half written"
    else:
        assert "end" not in kinds(file)


def test_a_model_that_computes_something_else_ends_in_one_line_and_replaces_nothing(
    trained: Trained, earlier: tuple[Path, bytes], tmp_path: Path
) -> None:
    file, content = earlier
    artifacts = trained.copy(tmp_path / "artifacts")
    gap, baseline = artifacts.run("gap", 0), artifacts.run("baseline", 0)
    old = sha256(gap.onnx)
    gap.onnx.write_bytes(baseline.onnx.read_bytes())
    gap.export.write_text(gap.export.read_text().replace(old, sha256(gap.onnx)))
    words = ("--models", "baseline,gap", "--batches", "1", "--quick", "--cold-starts", "0")
    shown = run("pytest", "bench", f"--benchmark-json={file}", "--artifacts", artifacts.root, *words)
    assert shown.returncode == 1
    assert "error: gap-onnxruntime-batch1-threads1-native-cpu: outputs differ from torch's by" in shown.stdout
    assert "Traceback" not in shown.stdout
    assert "bench/cases.py" not in shown.stdout
    assert f"not all was measured: {journal(file)} has what was" in shown.stdout
    assert file.read_bytes() == content
    assert not list(file.parent.glob(".*"))
    kept = read_bench(journal(file), "")
    assert {case["model"] for case in kept["cases"]} == {"baseline"}
    assert {each["model"] for each in kept["comparisons"]} == {"baseline"}, "two that compute different things"


# ---- mistakes

GAP = ("--models", "gap")
TWO, USAGE = 2, int(pytest.ExitCode.USAGE_ERROR)
MISTAKES: dict[str, tuple[tuple[str, ...], str, int]] = {
    "an unknown model": (("--models", "gpa"), "no model is called 'gpa'; the catalogue has: baseline, ", TWO),
    "an unknown runtime": ((*GAP, "--runtimes", "tensorrt"), "no runtime is called 'tensorrt'; there are: ", TWO),
    "a batch that is no number": ((*GAP, "--batches", "1,x"), "--batches: expected numbers from 1", TWO),
    "no threads": ((*GAP, "--threads", "0"), "--threads: expected numbers from 1", TWO),
    "more threads than cores": ((*GAP, "--threads", "100000"), "--threads: expected at most the ", TWO),
    "an unknown percentile": ((*GAP, "--percentiles", "12"), "expected some of 50,90,95,99,99.9, found '12'", TWO),
    "no processes": ((*GAP, "--processes", "0"), "--processes from 1", TWO),
    "no time": ((*GAP, "--seconds", "nan"), "expected --seconds above 0", TWO),
    "nothing to measure": ((*GAP, "--benchmark-disable"), "--benchmark-disable leaves nothing to measure", TWO),
    "too few cold starts": ((*GAP, "--cold-starts", "3"), "--cold-starts: expected 0 or at least 5, found 3", TWO),
    "another timer": ((*GAP, "--benchmark-timer=time.process_time"), "--benchmark-timer: expected time.perf", TWO),
    "a profiler": ((*GAP, "--benchmark-cprofile=cumtime"), "--benchmark-cprofile would be in the latency", TWO),
    "a device for the JSON": (("--benchmark-json=/dev/null",), "/dev/null is no plain file", USAGE),
    "a shape without a file": ((*GAP, "--shape", "x=1"), "--shape is for the inputs of a file given with --onnx", TWO),
    "a shape of another form": (
        ("--onnx", "{two}", "--shape", "ids"),
        "--shape: expected name=1,3,224,224 (name= for a scalar), found 'ids'",
        TWO,
    ),
    "a shape that is missing": (
        ("--onnx", "{open}", "--runtimes", "onnxruntime"),
        "input 'x' has shape [N, W]: give it with --shape x=1,224",
        TWO,
    ),
    "a missing file": (("--onnx", "{none}"), "{none}: expected an ONNX file, found nothing there", TWO),
    "a corrupt file": (("--onnx", "{bad}"), "{bad}: expected an ONNX model, found a malformed file", TWO),
    "the same name twice": (("--onnx", "{two}", "{two}", "--shape", "ids=5"), "is asked for twice", TWO),
    "a file in torch": (("--onnx", "{two}", "--runtimes", "torch"), "{two}: none of torch runs an ONNX file", TWO),
    "a model that is not trained": (("--models", "l2-1e-4"), "run `python -m train l2-1e-4`", TWO),
    "a stale ONNX file": ((*GAP, "--artifacts", "{stale}"), "run `python -m export gap`", TWO),
    "no GPU for torch": ((*GAP, "--device", "cuda"), "--device cuda: torch finds no GPU here", TWO),
    "no GPU for ONNX Runtime": ((*GAP, "--device", "cuda", "--runtimes", "onnxruntime"), "--device cuda: ", TWO),
    "a folder for the JSON": (("--benchmark-json={folder}",), "{folder} is a folder", USAGE),
    "a file for the JSON's folder": (("--benchmark-json={bad}/b.json",), "--benchmark-json: {bad}: ", USAGE),
}


@pytest.fixture(scope="module")
def told(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, subprocess.CompletedProcess[str]], dict[str, str]]:
    """What each mistake ended in (two at a time), and the places that its words speak of."""
    folder = tmp_path_factory.mktemp("mistakes")
    write(folder / "two.onnx", "N")
    write(folder / "open.onnx", "N", "1")
    (folder / "bad.onnx").write_bytes(b"no model")
    stale = trained.copy(folder / "stale").run("gap", 0).onnx
    stale.write_bytes(stale.read_bytes() + b"\0")
    places = {name: str(folder / f"{name}.onnx") for name in ("two", "open", "bad", "none")}
    places |= {"folder": str(folder), "stale": str(folder / "stale")}

    def make(mistake: str) -> subprocess.CompletedProcess[str]:
        words = [word.format(**places) for word in MISTAKES[mistake][0]]
        return bench(trained, *words, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(MISTAKES, pool.map(make, MISTAKES), strict=True)), places


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_before_anything_is_measured(
    mistake: str, told: tuple[dict[str, subprocess.CompletedProcess[str]], dict[str, str]]
) -> None:
    _, message, code = MISTAKES[mistake]
    shown, output = told[0][mistake], told[0][mistake].stdout + told[0][mistake].stderr
    assert shown.returncode == code
    message = message.format(**told[1])
    assert [line for line in shown.stderr.splitlines() if message in line], output
    for word in ("Traceback", "INTERNALERROR", "conftest.py", "passed", "failed"):
        assert word not in output
    if code == TWO:
        assert len(shown.stderr.strip().splitlines()) == 1
        assert shown.stderr.startswith("Exit: error: ")
