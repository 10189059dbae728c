"""The conformance run: programs that misbehave, the verdict on their results, the command, and interruptions."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from export.conformance import command
from export.conformance.cells import BATCHES, MAX_RESULT_BYTES, Subject, compared, read_result, run_cell
from export.conformance.environments import MARK, Prepared, prepare
from export.conformance.processes import CommandError, error_message, run
from export.conformance.runtimes import Runtime, constraints
from export.conformance.subjects import find_subjects
from export.exporter import export
from study import catalogue
from study.artifacts import Artifacts
from study.data import tensors
from study.errors import StudyError
from study.record_files import read_record, write_record
from study.records.export import CellRecord, ExportRecord, PortabilityRecord
from study.variants import Variant
from tests import conftest
from tests.conftest import ROOT, Trained

EXPECTED = np.tile(np.array([0.25, 0.5, 0.25], np.float32), (9, 1))
"""Probabilities of nine images and three classes."""
BEGIN = """
import os, signal, subprocess, sys, time
import numpy as np
model, images, batch, probabilities = sys.argv[1:]
rows = np.full((9, 3), 0.25, np.float32)
rows[:, 1] = 0.5
"""
RIGHT = "np.save(probabilities, rows)"


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A model that none of the programs here reads."""
    images = tmp_path / "images.npy"
    np.save(images, np.zeros((9, 1, 28, 28), np.float32))
    expected = dict.fromkeys(BATCHES, EXPECTED)
    return Subject(
        model="baseline",
        onnx=tmp_path / "model.onnx",
        onnx_sha256="0" * 64,
        largest_difference=1e-5,
        images=images,
        expected=expected,
    )


def document_with(program: str, folder: Path) -> Path:
    """A document with this program below the heading "This"."""
    path = folder / "portability.md"
    path.write_text(f"# Programs\n\n## This\n\n```python\n{BEGIN}{program}\n```\n\n## End\n")
    return path


def cell_of(program: str, subject: Subject, folder: Path, seconds: float = 60) -> CellRecord:
    this = Runtime("this", "This {version}", "This")
    prepared = prepare(this, folder / "environment", folder, document_with(program, folder))
    return run_cell(this, prepared, subject, 7, seconds)


# ---- programs


def test_a_program_that_computes_the_same_passes(subject: Subject, tmp_path: Path) -> None:
    cell = cell_of(
        "from pathlib import Path\nassert Path.home() == Path(probabilities).parent\n" + RIGHT, subject, tmp_path
    )
    assert cell.seconds is not None
    assert cell == CellRecord(
        runtime="this",
        model="baseline",
        variant="standard",
        seed=0,
        onnx_sha256="0" * 64,
        batch=7,
        verdict="passed",
        shape=(9, 3),
        finite=True,
        row_sum_error=0.0,
        max_abs_difference=0.0,
        argmax_mismatches=0,
        allowed=1e-5,
        seconds=cell.seconds,
        reason=None,
    )


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('no such operator: Frobnicate')", "exit code 1: ValueError: no such operator: Frobnicate"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("sys.exit(3)", "exit code 3"),
        ("pass", "it left no result (No such file or directory)"),
        ("rows[4, 2] = np.nan\n" + RIGHT, "1 of its numbers are not finite"),
    ],
)
def test_a_program_that_fails_has_its_reason(program: str, reason: str, subject: Subject, tmp_path: Path) -> None:
    cell = cell_of(program, subject, tmp_path)
    assert (cell.verdict, cell.reason) == ("failed", reason)


def test_a_program_that_hangs_is_killed_with_its_children(subject: Subject, tmp_path: Path) -> None:
    child = "import os, time; open({!r}, 'w').write(str(os.getpid())); time.sleep(60)".format(str(tmp_path / "child"))
    cell = cell_of(f"subprocess.run([sys.executable, '-c', {child!r}])", subject, tmp_path, seconds=5)
    assert (cell.verdict, cell.reason) == ("failed", "no end after 5 s")
    pid = int((tmp_path / "child").read_text())
    for _ in range(100):  # until the system has removed it
        if not Path(f"/proc/{pid}").exists() or "(zombie)" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the program's child still runs")


def test_the_error_message_is_the_line_that_matters(tmp_path: Path) -> None:
    messages = {
        "": "",
        "loading\nTraceback (most recent call last):\n  File ...\nKeyError: 'image'\n": "KeyError: 'image'",
        "Looking in links\nERROR: Could not find a version\nERROR: No matching distribution found for a==1\n\n"
        "[notice] A new release of pip is available": "ERROR: No matching distribution found for a==1",
        "npm error code E404\nnpm error 404 Not Found\nnpm error A complete log of this run can be found in: /x": (
            "npm error 404 Not Found"
        ),
        "npm error request to https://me:key@mirror/a failed": "npm error request to (an address) failed",
        "a.mjs:3\n  throw\n  ^\n\nError: no model\n    at main (a.mjs:3)\n\nNode.js v20.1.0\n": "Error: no model",
        "terminate called after throwing\n  what():  no such file": "what():  no such file",
    }
    assert {output: error_message(output) for output in messages} == messages
    with pytest.raises(CommandError, match="no-such-command: No such file or directory"):
        run(["no-such-command"], tmp_path, 5)


# ---- results


def test_a_file_that_is_not_an_array_of_float32_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "probabilities.npy"
    writers: dict[str, Callable[[], object]] = {
        "its result is float64, expected float32": lambda: np.save(path, EXPECTED.astype(float)),
        "its result is an archive": lambda: np.savez(path.open("wb"), EXPECTED),
        "its result cannot be read: This file contains pickled": lambda: path.write_text("0.25 0.5"),
        "its result cannot be read: Object arrays": lambda: np.save(path, np.array([{}], dtype=object)),
        "its result cannot be read: File is not a zip file": lambda: path.write_bytes(b"PK\3\4"),
        f"its result has more than {MAX_RESULT_BYTES} bytes": lambda: os.truncate(path, 1 << 30),
    }
    for reason, write in writers.items():
        write()
        with pytest.raises(CommandError) as raised:
            read_result(path)
        assert str(raised.value).startswith(reason)


def test_the_first_fault_of_a_result_is_the_reason(subject: Subject) -> None:
    cell = run_cell(Runtime("this", "This", "This"), Prepared(reason="not here"), subject, 1)

    def changed(row: int, values: tuple[float, ...]) -> np.ndarray:
        result = EXPECTED.copy()
        result[row] = values
        return result

    results = {
        "its result has shape [8, 3], expected [9, 3]": EXPECTED[:8],
        "its result has shape [3, 9], expected [9, 3]": EXPECTED.T,
        "3 of its numbers are not finite": changed(0, (np.nan, np.inf, -np.inf)),
        "another class for 1 of 9 images": changed(2, (0.5, 0.25, 0.25)),
        "its probabilities sum to 1 with an error of 1.0e-03": EXPECTED * np.float32(1.001),
        "differs by 1.0e-02, allowed is 1e-05": changed(0, (0.26, 0.49, 0.25)),
    }
    for reason, result in results.items():
        judged = compared(cell, EXPECTED, result)
        assert (judged.verdict, judged.reason, judged.shape) == ("failed", reason, result.shape)


def test_a_runtime_or_an_entry_may_allow_a_larger_difference(subject: Subject) -> None:
    this, absent = Runtime("this", "This", "This"), Prepared(reason="not here")
    near = EXPECTED + np.array([1e-4, -1e-4, 0], np.float32)
    exact = run_cell(this, absent, subject, 1)
    of_entry = run_cell(this, absent, replace(subject, largest_difference=1e-3), 1)
    of_runtime = run_cell(replace(this, largest_difference=1e-2), absent, subject, 1)
    assert (exact.allowed, of_entry.allowed, of_runtime.allowed) == (1e-5, 1e-3, 1e-2)
    assert compared(exact, EXPECTED, near).reason == "differs by 1.0e-04, allowed is 1e-05"
    assert compared(of_entry, EXPECTED, near).verdict == "passed"


def test_only_a_quantised_file_may_differ_in_a_class(subject: Subject) -> None:
    subject = replace(subject, largest_difference=0.2)
    cell = run_cell(Runtime("this", "This", "This"), Prepared(reason="not here"), subject, 1)
    expected = np.tile(np.array([0.4, 0.6], np.float32), (200, 1))
    for wrong, verdict in ((2, "passed"), (3, "failed")):
        result = expected.copy()
        result[:wrong] = 0.51, 0.49
        assert compared(cell, expected, result, mismatches=0.01).verdict == verdict
        assert compared(cell, expected, result).reason == f"another class for {wrong} of 200 images"


# ---- the command


def test_the_command_measures_what_is_exported_and_writes_the_matrix(trained: Trained, tmp_path: Path) -> None:
    artifacts = trained.copy(tmp_path / "a")
    words = ("--artifacts", artifacts.root, "--images", "9", "--runtimes", "onnxruntime,reference")
    result = conftest.run("export", "conformance", "gap", *words)
    assert result.returncode == 0, result.stderr
    record = read_record(artifacts.portability, PortabilityRecord, "")
    assert (record.images, record.batches) == (9, (1, 7, 64))
    assert [this.version for this in record.runtimes] == [constraints()["onnxruntime"], constraints()["onnx"]]
    assert [
        (cell.runtime, cell.model, cell.variant, cell.batch, cell.verdict, cell.shape) for cell in record.cells
    ] == [
        (name, "gap", "standard", batch, "passed", (9, 10))
        for name in ("onnxruntime", "reference")
        for batch in (1, 7, 64)
    ]
    exported = read_record(artifacts.run("gap", 0).export, ExportRecord, "")
    assert {cell.onnx_sha256 for cell in record.cells} == {exported.onnx_sha256}
    assert "6 passed, 0 failed, 0 not run, 9 images each" in result.stdout
    assert str(ROOT) not in artifacts.portability.read_text()


def test_a_quantised_file_is_compared_with_onnx_runtime_in_the_same_batches(
    trained: Trained, data: Path, tmp_path: Path
) -> None:
    """With dynamic quantisation the right result differs from batch to batch."""
    artifacts = trained.copy(tmp_path / "a")
    files, raw = artifacts.run("gap", 0), Variant(input="uint8")
    images, labels = tensors.load(data, train=False)
    made = export(catalogue.entry("gap"), files.of(Variant(int8="dynamic")), images[:64], labels[:64])
    write_record(files.of(raw).export, structs.replace(made, variant=raw))

    def found(variants: str) -> list[Subject]:
        words = ("gap", "--artifacts", str(artifacts.root), "--data", str(data), "--images", "64")
        return find_subjects(command.arguments([*words, "--variants", variants]), artifacts, tmp_path)

    standard, quantised = found("standard,int8-dynamic")
    assert (standard.model, standard.variant) == ("gap", "standard")
    assert (standard.largest_difference, standard.mismatches) == (1e-5, 0)
    assert (quantised.model, quantised.variant) == ("gap", "int8-dynamic")
    assert (quantised.largest_difference, quantised.mismatches) == (0.05, 0.01)
    np.testing.assert_array_equal(standard.expected[1], standard.expected[64])
    assert np.abs(quantised.expected[1] - quantised.expected[64]).max() > 1e-5
    with pytest.raises(StudyError, match=r"expected variants that take images in 0\.\.1, found uint8"):
        found("standard,uint8")


def test_a_mistake_names_the_option_or_the_command_that_fixes_it(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.run("baseline", 0).onnx.unlink()
    mistakes = {
        "no runtime is called 'netscape'; there are: onnxruntime, ": ["--runtimes", "netscape"],
        "--runtimes names none": ["--runtimes", ","],
        "--images: expected at least 1, found 0": ["--images", "0"],
        "no-such-model": ["no-such-model"],
        "expected a finished run of gap in ": ["gap"],
        "run `python -m export baseline`": ["baseline"],
    }
    for message, words in mistakes.items():
        with pytest.raises(StudyError) as raised:
            command.main([*words, "--artifacts", str(artifacts.root)])
        assert message in str(raised.value)


def test_a_runtime_that_cannot_be_installed_is_not_run(
    tmp_path: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    artifacts = Artifacts(tmp_path / "artifacts")
    this = Runtime("this", "This {version}", "This", ("answer==9.9",))
    record = command.measure([this], [subject], artifacts, tmp_path, document_with(RIGHT, tmp_path))
    reason = "exit code 1: ERROR: No matching distribution found for answer==9.9"
    (runtime,) = record.runtimes
    assert (runtime.name, runtime.title, runtime.version, runtime.reason) == ("this", "This 9.9", "9.9", reason)
    assert [(cell.batch, cell.verdict, cell.reason) for cell in record.cells] == [
        (batch, "not run", reason) for batch in (1, 7, 64)
    ]
    write_record(artifacts.portability, record)
    assert not (artifacts.environments / "this" / MARK).exists()
    assert list(command.summary(record)) == [
        f"This 9.9: 3 not run ({reason})",
        "0 passed, 0 failed, 3 not run, 9 images each",
    ]


def test_interrupted_it_keeps_what_was_measured(subject: Subject, tmp_path: Path) -> None:
    program = f"""
if batch == "1":
    {RIGHT}
elif batch == "7":  # one signal alone: a second could come after the command
    time.sleep(3)
    os.kill({os.getpid()}, signal.SIGINT)
time.sleep(0 if batch == "1" else 60)
"""
    this = Runtime("this", "This", "This")
    started, threads = time.monotonic(), threading.active_count()
    artifacts = Artifacts(tmp_path / "artifacts")
    record = command.measure([this], [subject], artifacts, tmp_path, document_with(program, tmp_path))
    assert time.monotonic() - started < 30
    assert [(cell.verdict, cell.reason) for cell in record.cells] == [
        ("passed", None),
        ("not run", "interrupted"),
        ("not run", "interrupted"),
    ]
    assert threading.active_count() == threads
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
