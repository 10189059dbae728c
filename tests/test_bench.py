"""The bench: percentiles, warm-up, sampling by hand; then `pytest bench` itself, on real models and images."""

import gc
import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import cases, runtimes
from bench.cases import Case, find_cases, parity
from bench.percentiles import FEWEST_SAMPLES, percentile
from bench.sampling import garbage_collector_held, sample_count, warm_up
from study import catalogue
from study.artifacts import read_bench, sha256
from study.errors import StudyError
from tests.conftest import Trained, run

# ---- percentiles


def test_the_median_and_its_interval_by_hand() -> None:
    # B(20, 1/2) has 2.07 % below 6 and 2.07 % above 14: the interval is from the 6th to the 15th smallest
    found = percentile(list(range(20, 0, -1)), 50)
    assert found is not None
    assert (found.value, found.low, found.high) == (10.5, 6, 15)


@pytest.mark.parametrize(("percent", "fewest"), FEWEST_SAMPLES.items())
def test_no_percentile_from_too_few_samples(percent: int, fewest: int) -> None:
    assert percentile([1.0] * (fewest - 1), percent) is None
    assert percentile([1.0] * fewest, percent) is not None


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_the_interval_holds_the_truth_in_95_of_100_trials(percent: int) -> None:
    generator = np.random.default_rng(0)
    truth = -np.log(1 - percent / 100)  # of the exponential distribution
    trials = 2000
    held = 0
    for _ in range(trials):
        found = percentile(generator.exponential(size=700).tolist(), percent)
        assert found is not None
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert held / trials >= 0.94  # binomial standard error of 0.95 over 2,000 trials: 0.005


# ---- warm-up, samples, garbage collector


class Clock:
    """A clock that goes on only when something is called, by as much as that takes."""

    def __init__(self, durations: Iterator[float]) -> None:
        self.now, self.durations = 0.0, durations

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += next(self.durations)


def test_warm_up_goes_on_until_the_latency_is_stable() -> None:
    # blocks of five calls: 20 ms, 20 and 5 ms mixed, then three of 5 ms
    clock = Clock(itertools.chain([0.020] * 8, itertools.repeat(0.005)))
    warmed = warm_up(clock.call, clock=clock)
    assert warmed.stable
    assert warmed.calls == 5 * 5
    assert warmed.call_seconds == pytest.approx(0.005)
    assert warmed.seconds == pytest.approx(8 * 0.020 + 17 * 0.005)


def test_warm_up_gives_up_on_what_never_settles() -> None:
    clock = Clock(0.001 * 1.01**n for n in itertools.count())
    warmed = warm_up(clock.call, limit_seconds=3.0, clock=clock)
    assert not warmed.stable
    assert 3.0 <= warmed.seconds < 4.0


@pytest.mark.parametrize(("call_seconds", "expected"), [(1e-5, 10_000), (1e-3, 2000), (1.0, 700)])
def test_samples_fit_the_time_but_suffice_for_p99(call_seconds: float, expected: int) -> None:
    assert sample_count(call_seconds, quick=False) == expected
    assert expected >= FEWEST_SAMPLES[99]


def test_the_garbage_collector_is_held_and_given_back() -> None:
    assert gc.isenabled()
    with garbage_collector_held():
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_the_garbage_collector_is_given_back_after_a_failure() -> None:
    with pytest.raises(KeyboardInterrupt), garbage_collector_held():
        raise KeyboardInterrupt
    assert gc.isenabled()


# ---- cases


@pytest.fixture
def case(trained: Trained) -> Case:
    (found,) = find_cases(trained.artifacts, [catalogue.entry("gap")], ["onnxruntime"], [32], [1])
    return found


def test_cases_are_all_combinations(trained: Trained) -> None:
    entries = [catalogue.entry("baseline"), catalogue.entry("gap")]
    found = [str(c) for c in find_cases(trained.artifacts, entries, ["torch", "onnxruntime"], [1, 32], [1])]
    assert len(found) == len(set(found)) == 8
    assert found[0] == "baseline-torch-batch1-threads1"


def test_batches_rotate_over_the_pool_in_order(case: Case) -> None:
    pool = cases.image_pool(case.data)
    batches = case.batches(case.load())
    shown = np.concatenate([next(batches) for _ in range(33)])
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(shown[:1024], pool)
    np.testing.assert_array_equal(shown[1024:], pool[:32])
    assert pool.min() == 0
    assert pool.max() == 1


@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_every_runtime_runs_on_one_thread_and_gives_probabilities(trained: Trained, runtime: str) -> None:
    (case,) = find_cases(trained.artifacts, [catalogue.entry("gap")], [runtime], [7], [1])
    loaded = case.load()
    assert loaded.threads == 1
    with loaded.context:
        found = loaded.to_numpy(loaded.call(next(case.batches(loaded))))
        compared = parity(case, loaded)
    assert found.shape == (7, 10)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert compared["images"] == 1024
    assert compared["argmax_mismatches"] == 0
    assert 0 < compared["max_abs_difference"] <= 1e-5


def other(loaded: runtimes.Loaded, **changes: Any) -> Any:
    from dataclasses import replace

    return lambda entry, files, threads: replace(loaded, **changes)


def test_what_computes_something_else_is_not_timed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = case.load()
    monkeypatch.setitem(runtimes.RUNTIMES, "onnxruntime", other(loaded, call=lambda x: [loaded.call(x)[0][:, ::-1]]))
    with pytest.raises(StudyError, match="gap-onnxruntime-batch32-threads1: probabilities differ from torch's"):
        parity(case, case.load())


def test_an_engine_with_other_threads_than_asked_for_is_not_timed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "onnxruntime", other(case.load(), threads=2))
    with pytest.raises(StudyError, match="asked for 1 threads, onnxruntime says it has 2"):
        case.load()


# ---- the command


@pytest.fixture(scope="module")
def quick(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    file = tmp_path_factory.mktemp("bench") / "folder" / "that is not there yet" / "bench.json"
    words = ("--artifacts", trained.artifacts.root, "--models", "baseline,gap", "--batches", "1,32", "--quick")
    return file, run("pytest", "bench", f"--benchmark-json={file}", *words)


def test_the_json_holds_every_case_and_its_facts(trained: Trained, quick: tuple[Path, Any]) -> None:
    file, shown = quick
    assert shown.returncode == 0, shown.stdout
    assert f"wrote {file}" in shown.stdout
    record = read_bench(file, "")
    assert record["schema"] == "bench/1"
    assert record["harness_overhead_seconds"] > 0
    assert record["environment"]["packages"].keys() >= {"torch", "onnxruntime"}
    found = {(c["model"], c["runtime"], c["batch"]) for c in record["cases"]}
    assert found == set(itertools.product(["baseline", "gap"], ["torch", "onnxruntime"], [1, 32]))
    for c in record["cases"]:
        assert c["onnx_sha256"] == sha256(trained.artifacts.run(c["model"], 0).onnx)
        assert c["median_low_seconds"] <= c["median_seconds"] <= c["median_high_seconds"]
        assert c["p90_seconds"] is not None
        assert c["p95_seconds"] is c["p99_seconds"] is None, "70 samples do not tell"
        assert (c["samples"], c["threads"], c["threads_read_back"], c["mode"]) == (70, 1, 1, "native")
        assert not c["valid"]
        assert c["reasons"][0] == "a quick run: 70 samples are for a smoke test"


def test_the_facts_follow_from_the_samples_pytest_benchmark_stored(quick: tuple[Path, Any]) -> None:
    for benchmark in json.loads(quick[0].read_text())["benchmarks"]:
        if facts := benchmark["extra_info"]:
            samples = benchmark["stats"]["data"]
            assert facts["median_seconds"] == pytest.approx(np.median(samples), rel=1e-12)
            assert facts["p90_seconds"] == pytest.approx(np.percentile(samples, 90), rel=1e-12)
            assert facts["images_per_second"] == pytest.approx(facts["batch"] / np.median(samples))
            assert benchmark["stats"]["iterations"] == 1


def test_pytest_benchmark_compares_the_files(quick: tuple[Path, Any], tmp_path: Path) -> None:
    later = shutil.copy(quick[0], tmp_path / "later.json")
    shown = run("pytest_benchmark", "compare", quick[0], later)
    assert shown.returncode == 0, shown.stderr
    assert "baseline-torch-batch32-threads1" in shown.stdout


MISTAKES = {
    "an unknown model": (["--models", "gpa"], "no model is called 'gpa'"),
    "an unknown runtime": (
        ["--runtimes", "tensorrt"],
        "no runtime is called 'tensorrt'; there are: torch, onnxruntime",
    ),
    "a batch that is no number": (["--batches", "1,x"], "--batches: expected numbers from 1"),
    "no threads": (["--threads", "0"], "--threads: expected numbers from 1"),
    "a model that is not trained": (["--models", "l2-1e-4"], "run `python -m train l2-1e-4`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_anything_is_measured(mistake: str, trained: Trained) -> None:
    words, message = MISTAKES[mistake]
    shown = run("pytest", "bench", "--artifacts", trained.artifacts.root, *words)
    assert shown.returncode == 2
    assert message in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stdout + shown.stderr
    assert "conftest.py" not in shown.stdout + shown.stderr


def test_a_session_cut_short_does_not_replace_a_whole_file(trained: Trained, tmp_path: Path) -> None:
    """Here by an ONNX file that computes something else, found once the first case has been measured."""
    artifacts = trained.copy(tmp_path / "a")
    file = tmp_path / "bench.json"
    words = ("--artifacts", artifacts.root, "--models", "baseline,gap", "--batches", "1", "--quick")
    assert run("pytest", "bench", f"--benchmark-json={file}", *words).returncode == 0
    whole = file.read_bytes()

    gap, baseline = artifacts.run("gap", 0), artifacts.run("baseline", 0)
    old = sha256(gap.onnx)
    gap.onnx.write_bytes(baseline.onnx.read_bytes())
    gap.export.write_text(gap.export.read_text().replace(old, sha256(gap.onnx)))
    shown = run("pytest", "bench", f"--benchmark-json={file}", *words)
    assert shown.returncode == 1
    assert "probabilities differ" in shown.stdout
    assert f"not all was measured: wrote {file}.partial" in shown.stdout
    assert file.read_bytes() == whole
    kept = {c["model"] for c in read_bench(Path(f"{file}.partial"), "")["cases"]}
    assert kept == {"baseline"}


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in (tmp_path, tmp_path / "file" / "bench.json"):
        shown = run("pytest", "bench", f"--benchmark-json={name}")
        assert shown.returncode == pytest.ExitCode.USAGE_ERROR
        assert "--benchmark-json: " in shown.stderr


def test_a_stale_onnx_file_is_not_measured(trained: Trained, tmp_path: Path) -> None:
    artifacts = trained.copy(tmp_path / "a")
    onnx = artifacts.run("gap", 0).onnx
    onnx.write_bytes(onnx.read_bytes() + b"\0")
    shown = run("pytest", "bench", "--artifacts", artifacts.root, "--models", "gap", "--quick")
    assert f"{onnx} is not the file that" in shown.stdout + shown.stderr
    assert "run `python -m export gap`" in shown.stdout + shown.stderr
