"""The options of `pytest bench`: the cases and the budget they mean, and every mistake in one line."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx.parser
import pytest

from bench import chosen, plan
from bench.plan import _numbers, _percentiles, _threads, add_bench_options, find_session, limit_threads
from bench.runtimes import RUNTIMES
from bench.session import Session
from study.errors import StudyError
from tests.conftest import Trained

BODY = "<float[2] table = {0.5, 2}> { factors = Gather(table, ids) y = Mul(x, factors) }"


def write(path: Path, batch: str, length: str = "W") -> Path:
    """A model of two inputs: each number is multiplied by 0.5 or 2, by an index that is the same for all rows."""
    graph = f"g (float[{batch}, W] x, int64[{length}] ids) => (float[{batch}, W] y) {BODY}"
    return save(path, graph)


def save(path: Path, graph: str) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {graph}')
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def planned(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """Plan a session from the words of a command line; the rest are options of other plugins."""
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "restored after the test")
    parser = argparse.ArgumentParser()
    add_bench_options(parser.add_argument)

    def call(*words: str, **others: object) -> Session:
        options = parser.parse_args(["--artifacts", str(trained.artifacts.root), *words])
        defaults = {"benchmark_disable": False, "benchmark_cprofile": None, "benchmark_timer": "time.perf_counter"}
        for name, value in {**defaults, "collectonly": True, **others}.items():
            setattr(options, name, value)
        return find_session(options, words)

    return call


def test_the_words_of_a_command_line_become_cases_pairs_and_a_budget(planned: Callable[..., Session]) -> None:
    session = planned("--models", "gap", "--batches", "1,32", "--seconds", "3", "--percentiles", "50,99.9")
    assert [str(case) for case in session.cases] == [
        f"gap-{runtime}-batch{batch}-threads1-native-cpu" for batch in (1, 32) for runtime in ("torch", "onnxruntime")
    ]
    assert [(one.runtime, other.runtime, one.batch) for one, other in session.pairs] == [
        ("torch", "onnxruntime", 1),
        ("torch", "onnxruntime", 32),
    ]
    assert [(case.runtime, case.batch) for case in session.starting] == [("torch", 1), ("onnxruntime", 1)]
    assert (session.budget.seconds, session.budget.percentiles, session.budget.processes) == (3, (50, 99.9), 5)
    assert (session.margin, session.precision, session.environment.load_after) == (0.02, None, None)
    assert session.environment.command[:2] == ("--models", "gap")
    assert session.environment.files_sha256["gap/model.onnx"] == session.cases[0].model.onnx_sha256
    quick = planned("--models", "gap", "--quick", "--cold-starts", "0")
    assert (quick.budget.quick, quick.budget.processes, quick.starting) == (True, 1, [])


def test_best_stands_for_every_setting_of_both_engines_and_their_best_are_compared(
    planned: Callable[..., Session],
) -> None:
    session = planned("--models", "gap", "--batches", "1", "--runtimes", "openvino,best")
    settings = [name for name in RUNTIMES if name.startswith(("torch", "onnxruntime")) and name != "torch-sparse"]
    assert [case.runtime for case in session.cases] == ["openvino", *settings]
    assert {"torch", "torch-compile", "onnxruntime"} <= set(settings)
    assert [one.name for one in session.families] == [
        f"gap best of torch/{other} batch 1" for other in ("openvino", "onnxruntime")
    ]
    quick = planned("--models", "gap", "--batches", "1", "--runtimes", "torch,torch-compile,onnxruntime", "--quick")
    assert quick.families == [], "the pilot chooses among them"
    assert planned("--models", "gap").families == []


def test_values_of_inputs_and_what_was_chosen_for_others(planned: Callable[..., Session], tmp_path: Path) -> None:
    two = write(tmp_path / "two.onnx", "N")
    words = ["--onnx", str(two), "--runtimes", "onnxruntime", "--batches", "3"]
    session = planned(*words, "--shape", "ids=5")
    assert session.notes == [
        "two: inputs drawn: 'ids' 0..1 (an index or a length); give others with --input NAME=VALUE or --feed FILE.npz"
    ]
    session = planned(*words, "--shape", "ids=5", "--input", "ids=1", "--input", "x=-2..-1")
    assert session.notes == []
    arrays = session.cases[0].model.pool(3)[0]
    assert arrays["ids"].tolist() == [1] * 5
    assert -2 <= arrays["x"].min() <= arrays["x"].max() <= -1
    np.savez(tmp_path / "call.npz", ids=np.arange(2), x=np.ones((4, 2), np.float32))
    (case,) = planned(*words, "--feed", str(tmp_path / "call.npz")).cases
    assert (case.batch, case.model.pool(4)[7]["ids"].tolist()) == (4, [0, 1])


MISTAKES: list[tuple[str, str]] = [
    ("--models gpa", "no model is called 'gpa'; the catalogue has: baseline, "),
    ("--models gap --runtimes tensorrt", "no runtime is called 'tensorrt'; there are: "),
    ("--models gap --batches 1,x", "--batches: expected numbers from 1"),
    ("--models gap --threads 100000", "--threads: expected at most the "),
    ("--models gap --percentiles 12", "expected some of 50,90,95,99,99.9, found '12'"),
    ("--models gap --processes 5 --precision 1%", "--precision decides on the number of processes; leave out"),
    ("--models gap --scenario online", "--scenario: expected latency, offline, server, found 'online'"),
    ("--models gap --processes 0", "--processes: expected at least 5, found 0"),
    ("--models gap --seconds nan", "--seconds: expected a number above 0, found nan"),
    ("--models gap --cold-starts 3", "--cold-starts: expected 0 or at least 5, found 3"),
    ("--models gap --runtimes best --quick", "--runtimes best: a pilot chooses it, and --quick has none"),
    ("--models gap --shape x=1", "--shape applies to a file given with --onnx; a module"),
    ("--onnx {two} --shape ids", "--shape: expected name=1,3,224,224 (name= for a scalar), found 'ids'"),
    ("--onnx {open} --runtimes onnxruntime", "input 'x' has shape [N, W]: give it with --size W=16"),
    ("--models gap --input x=1", "--input applies to a file given with --onnx; a module"),
    ("--onnx {two} --shape ids=5 --input ids=a", "{two}: --input ids=a: expected an integer from -9223372036854775808"),
    ("--onnx {two} --shape ids=5 --input id=1", "{two}: the model has no input 'id'; it has: 'x', 'ids'"),
    ("--onnx {two} --feed {bad}", "--feed {bad}: expected arrays of numpy.savez"),
    (
        "--onnx {random} --runtimes onnxruntime,reference",
        "output 'y' is random, because node 'y' (RandomNormalLike) draws numbers, so two engines cannot be compared; "
        "measure one alone, with --runtimes onnxruntime",
    ),
    ("--onnx {two} --runtimes onnxruntime --tolerance 2", "--tolerance: expected a share between 0 and 1"),
    ("--models gap --tolerance 0.1", "--tolerance applies to a file given with --onnx or to a module"),
    (
        "--onnx {text} --runtimes onnxruntime",
        "'word' has dtype str: expected floats of 16 bits or more, integers or bool; "
        "give it with --input word=TEXT or --feed FILE.npz",
    ),
    ("--onnx {none}", "{none}: expected an ONNX file, found nothing there"),
    ("--onnx /dev/null", "/dev/null: expected an ONNX file, found no plain file"),
    ("--onnx {bad}", "{bad}: expected an ONNX model, found other bytes or a part of one"),
    ("--onnx {two} {two} --shape ids=5", "would be measured twice"),
    ("--onnx {two} --runtimes torch", "{two}: none of torch runs an ONNX file"),
    ("--models l2-1e-4", "run `python -m train l2-1e-4 --artifacts "),
    ("--models gap --device cuda --runtimes onnxruntime", "--device cuda: "),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_is_refused_in_one_line(
    words: str, message: str, planned: Callable[..., Session], tmp_path: Path
) -> None:
    files = {name: tmp_path / f"{name}.onnx" for name in ("two", "open", "text", "bad", "none", "random")}
    write(files["two"], "N")
    write(files["open"], "N", "1")
    files["bad"].write_bytes(b"no model")
    save(files["random"], "g (float[N, 4] x) => (float[N, 4] y) { y = RandomNormalLike(x) }")
    save(files["text"], "g (string[N] word) => (string[N] y) { y = Identity(word) }")
    with pytest.raises(StudyError) as refusal:
        planned(*words.format(**files).split())
    assert message.format(**files) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_stale_onnx_file_is_refused(planned: Callable[..., Session], trained: Trained, tmp_path: Path) -> None:
    artifacts = trained.copy(tmp_path / "stale")
    with artifacts.run("gap", 0).onnx.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(StudyError, match="run `python -m export gap`"):
        planned("--models", "gap", "--artifacts", str(artifacts.root))


def test_the_export_runs_first_for_models_of_the_catalogue_alone(
    planned: Callable[..., Session], trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that `tox -e bench -- --onnx FILE` needs no trained model."""
    started: list[list[str]] = []
    codes = [0, 1]

    def start(words: list[str]) -> SimpleNamespace:
        started.append(words[1:])
        return SimpleNamespace(returncode=codes.pop(0))

    monkeypatch.setattr(chosen, "children", SimpleNamespace(run=start))
    two = write(tmp_path / "two.onnx", "N")
    planned("--export", "--onnx", str(two), "--shape", "ids=5", collectonly=False)
    assert started == []
    planned("--export", "--models", "gap", "--batches", "1", collectonly=False)
    words = ["-m", "export", "gap", f"--artifacts={trained.artifacts.root}"]
    assert started == [words]
    with pytest.raises(StudyError, match=r"^`python -m export gap --artifacts=.*` failed; see above$"):
        planned("--export", "--models", "gap", collectonly=False)


def test_files_of_one_name_are_told_apart_by_their_folders(planned: Callable[..., Session], tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a/onnx/model.onnx", "b/onnx/model.onnx", "b/quantised/model.onnx", "x.onnx")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, "N")
    words = ("--shape", "ids=5", "--input", "ids=1", "--runtimes", "onnxruntime", "--batches", "1")
    session = planned("--onnx", *map(str, files), *words)
    names = ["a-onnx-model", "b-onnx-model", "quantised-model", "x"]
    assert [case.model.name for case in session.cases] == names


def test_a_batch_size_that_a_file_does_not_take_is_named(planned: Callable[..., Session], tmp_path: Path) -> None:
    fixed = write(tmp_path / "fixed.onnx", "4")
    words = ("--onnx", str(fixed), "--shape", "ids=5", "--input", "ids=1", "--runtimes", "onnxruntime", "--batches")
    assert planned(*words, "1,8").notes == ["fixed: its inputs are fixed at batch 4, not measured at 1, 8"]
    assert planned(*words, "4").notes == []


def test_a_runtime_that_does_not_run_a_model_is_named(planned: Callable[..., Session], tmp_path: Path) -> None:
    two = write(tmp_path / "two.onnx", "N")
    words = ("--onnx", str(two), "--shape", "ids=5", "--input", "ids=1", "--models", "gap")
    session = planned(*words, "--runtimes", "torch,onnxruntime")
    assert session.notes == [
        "torch is left out for two: it runs only what a checkpoint of the catalogue or a module computes "
        "(onnx2fx and onnx2torch make torch modules of ONNX files)"
    ]
    assert {case.runtime for case in session.cases if case.model.name == "two"} == {"onnxruntime"}
    assert planned("--models", "gap").notes == []


def test_other_plugins_must_not_distort_the_measurements(
    planned: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = "several pytest workers would slow each other down"
    for name, value, message in (
        ("benchmark_disable", True, "--benchmark-disable leaves nothing to measure"),
        ("benchmark_cprofile", "cumtime", "--benchmark-cprofile would add to the latency"),
        ("benchmark_timer", "time.process_time", "--benchmark-timer: expected time.perf_counter"),
        ("dist", "load", workers),
    ):
        with pytest.raises(StudyError, match=message):
            planned("--models", "gap", **{name: value})
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    with pytest.raises(StudyError, match=workers):
        planned("--models", "gap")


# ---- single options


def test_numbers() -> None:
    assert _numbers("batches", "32,1,256") == [32, 1, 256]
    assert _numbers("batches", "1,2,1") == [1, 2]
    for text in ("", "0", "1,,2", "-1", "1.5", "²", "all"):
        with pytest.raises(StudyError) as refusal:
            _numbers("batches", text)
        assert str(refusal.value) == f"--batches: expected numbers from 1 with commas between them, found {text!r}"


def test_percentiles() -> None:
    assert _percentiles("99.9,50") == (99.9, 50)
    for text in ("", "75", "99.90", "p99", "50,,90"):
        with pytest.raises(StudyError) as refusal:
            _percentiles(text)
        assert str(refusal.value) == f"--percentiles: expected some of 50,90,95,99,99.9, found {text!r}"


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "most_threads", lambda cpus: len(cpus or range(4)))
    assert _threads("all") == [4]
    assert _threads("4,1") == [4, 1]
    with pytest.raises(StudyError, match=r"^--threads: expected at most the 4 cores this process may use, found 5$"):
        _threads("1,5")
    assert _threads("all", frozenset({2, 3})) == [2]
    with pytest.raises(StudyError, match=r"^--threads: expected at most the 2 cores"):
        _threads("4", frozenset({2, 3}))
    with pytest.raises(StudyError, match=r"^--threads: expected numbers from 1 with commas"):
        _threads("0")


def test_openmp_gets_no_more_threads_than_requested_and_none_that_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "to be overwritten")
    limit_threads(3)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("3", "PASSIVE")
