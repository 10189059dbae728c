"""`pytest bench` interrupted, with a wrong model, and with mistakes: what it leaves and reports."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from study import locks
from study.bench_file import read_bench
from study.files import sha256
from tests.bench.test_command import FREE, bench, journal, kinds
from tests.bench.test_plan import write
from tests.conftest import ROOT, Trained, run
from tests.support.study import edit_json

# ---- interrupted sessions


@pytest.fixture
def earlier(tmp_path: Path) -> tuple[Path, bytes]:
    """The file of an earlier session."""
    file, content = tmp_path / "bench.json", b'{"the earlier": "session"}'
    file.write_bytes(content)
    return file, content


def start_and_wait(file: Path, ready: Callable[[], bool]) -> subprocess.Popen[str]:
    """A session of a model that needs no torch, in a process group of its own, once it is `ready`."""
    model = write(file.parent / "free.onnx", "N")
    words = [*FREE, "--seconds", "0.1", "--processes", "20", "--onnx", str(model), f"--benchmark-json={file}"]
    command = [sys.executable, "-m", "pytest", "bench", *words]
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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_journal_survives_an_interruption(earlier: tuple[Path, bytes], number: signal.Signals) -> None:
    file, content = earlier
    process = start_and_wait(file, lambda: has_a_case(file))
    os.killpg(process.pid, number)
    output = process.communicate()[0]
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert file.read_bytes() == content
    first = read_bench(journal(file), "").cases[0]
    assert (first.key.model, first.key.runtime, first.quick) == ("free", "onnxruntime", False)
    assert first.samples >= 1
    if number != signal.SIGKILL:
        (line,) = [line for line in output.splitlines() if "interrupted" in line]
        assert line.startswith(f"interrupted: the finished measurements are in {journal(file)}, which `python -m bench")
        assert line.endswith("run the same command again to measure everything")
        assert kinds(file)[-1] == "exit_status"
        assert {each.name for each in file.parent.iterdir()} == {"free.onnx", file.name, journal(file).name}, (
            "no partial file is left"
        )
    else:
        assert "exit_status" not in kinds(file)


@pytest.mark.parametrize("hook", ["sessionfinish", "terminal_summary", "unconfigure"])
def test_a_signal_while_the_result_is_written_lets_it_be_written(tmp_path: Path, hook: str) -> None:
    """A plugin sends it from inside of pytest, which would end with a traceback."""
    code = f"import os, signal\ndef pytest_{hook}():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    (tmp_path / "sends_a_signal.py").write_text(code)
    model, file = write(tmp_path / "free.onnx", "N"), tmp_path / "b.json"
    words = (*FREE, "--quick", "--seconds", "0.1", "--cold-starts", "0", "--onnx", model, f"--benchmark-json={file}")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    shown = run("pytest", "bench", "-p", "sends_a_signal", *words, env={**os.environ, "PYTHONPATH": path})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"wrote {file}" in shown.stdout
    assert read_bench(file, "").cases


def test_a_model_with_wrong_outputs_is_one_line_and_the_others_are_measured(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    artifacts = trained.copy(tmp_path / "artifacts")
    gap, baseline = artifacts.run("gap", 0), artifacts.run("baseline", 0)
    gap.onnx.write_bytes(baseline.onnx.read_bytes())
    edit_json(gap.export, onnx_sha256=sha256(gap.onnx))
    words = ("--models", "baseline,gap", "--batches", "1", "--quick", "--cold-starts", "0")
    shown = run("pytest", "bench", f"--benchmark-json={file}", "--artifacts", artifacts.root, *words)
    assert shown.returncode == 1
    line = r"error: gap-(torch|onnxruntime)-batch1-threads1-native-cpu: output 'probabilities' \("
    assert len(re.findall(line, shown.stdout)) == 3, "of both cases and of their comparison"
    assert " differs from torch's by " in shown.stdout
    assert "Traceback" not in shown.stdout
    assert "bench/cases.py" not in shown.stdout
    assert "Warning" not in shown.stdout
    record = read_bench(file, "")
    assert {case.key.model for case in record.cases} == {"baseline"}
    assert {each.key.model for each in record.comparisons} == {"baseline"}
    assert set(record.failed) == {f"gap {each} batch 1" for each in ("torch", "onnxruntime", "torch/onnxruntime")}
    assert not list(file.parent.glob(".*"))


# ---- what lies in the place of its files


def test_nothing_is_written_through_a_link_and_another_session_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    for name in (".b.json.partial", "b.json.journal"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    model = write(tmp_path / "free.onnx", "N")
    words = (*FREE, "--quick", "--seconds", "0.1", "--onnx", model, f"--benchmark-json={tmp_path / 'b.json'}")
    with locks.held(locks.of_file(tmp_path / "b.json"), print):
        shown = run("pytest", "bench", *words)
    assert (shown.returncode, shown.stdout) == (2, "")
    refused = f"process {os.getpid()} measures into {tmp_path / 'b.json'}; wait for it, or name another file"
    assert shown.stderr == f"error: --benchmark-json: {refused}\n"
    assert run("pytest", "bench", *words).returncode == 0
    assert (tmp_path / "precious").read_text() == "precious"
    assert {each.name for each in tmp_path.iterdir()} == {
        *("precious", ".b.json.partial", "free.onnx", "b.json", "b.json.journal")
    }


# ---- mistakes (most are in test_plan.py)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--models", "gpa"), "error: no model is called 'gpa'; the catalogue has: baseline, "),
        (
            ("--benchmark-json=/dev/null",),
            "error: --benchmark-json: expected the name of a file, /dev/null is no plain file",
        ),
        (
            ("--benchmark-json={folder}",),
            "error: --benchmark-json: expected the name of a file, {folder} is a folder",
        ),
        (("--benchmark-json={file}/b.json",), "error: --benchmark-json: {file}: "),
    ],
)
def test_a_mistake_ends_in_one_line_before_anything_is_measured(
    words: tuple[str, ...], message: str, trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    places = {"folder": tmp_path, "file": tmp_path / "file"}
    shown = bench(trained, *(word.format(**places) for word in words))
    assert shown.returncode == 2
    assert shown.stdout == ""
    (line,) = shown.stderr.splitlines()
    assert line.startswith(message.format(**places))
