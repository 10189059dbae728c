"""The exit codes and their messages."""

import os
import re
import subprocess
import sys

import pytest

from study import lacking
from study.errors import StudyError, in_one_line
from tests.conftest import ROOT

ENDS = {
    "done": ("return 0", 0, ""),
    "a gate failed": ("return 1", 1, ""),
    "a mistake": ("raise StudyError('expected a, found b; run c')", 2, "error: expected a, found b; run c\n"),
    "a file that cannot be read": ("open('/')", 2, "error: /: Is a directory"),
    "interrupted": ("raise KeyboardInterrupt", 130, "interrupted: "),
    "out of memory": ("bytearray(2**62)", 2, "error: out of memory: what was finished is kept; "),
    "an engine out of memory": ("raise RuntimeError('[x] std::bad_alloc')", 2, "error: out of memory: "),
    "no memory for a library": ("raise ImportError('a.so: failed to map segment')", 2, "error: out of memory: "),
}


def test_exit_codes() -> None:
    for end, (body, code, message) in ENDS.items():
        script = f"from study.errors import StudyError, exit_with\ndef main():\n    {body}\nexit_with(main)"
        ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == code, end
        assert ended.stderr.startswith(message)
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("flush", "message"),
    [(False, ""), (True, "stopped, nobody reads its output any more: what was finished is kept; run it again")],
)
def test_a_closed_pipe_is_no_success_and_unfinished_work_is_said(flush: bool, message: str) -> None:
    script = f"from study.errors import exit_with\nexit_with(lambda: print('x', flush={flush}) or 0)"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        shown = process.stderr.read()
    assert (shown[: len(message)], shown.count("\n")) == (message, bool(message))
    assert process.returncode == 141


def test_a_mistake_has_its_code_where_nobody_reads_the_error() -> None:
    script = "from study.errors import StudyError, exit_with\ndef main():\n    {}raise StudyError('x')\nexit_with(main)"
    for before in ("", "print('y'); "):
        read, write = os.pipe()
        os.close(read)
        command, buffered = [sys.executable, "-c", script.format(before)], {**os.environ, "PYTHONUNBUFFERED": ""}
        ended = subprocess.run(command, cwd=ROOT, env=buffered, stdout=write, stderr=write)
        os.close(write)
        assert ended.returncode == 2, before


def test_an_import_error_without_a_name_speaks_for_itself() -> None:
    assert lacking(ModuleNotFoundError("x needs y, install it")) == "x needs y, install it"
    assert lacking(ModuleNotFoundError("No module named 'study.x'", name="study.x")) == ""
    assert lacking(ModuleNotFoundError("No module named 'y'", name="y.z")).startswith("expected the package y, found")


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    script = "from study.errors import exit_with\nexit_with(lambda: 1 // 0)"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


def test_a_librarys_message_loses_the_places_in_its_source() -> None:
    for message, shown in {
        "Exception from src/core.cpp:132:\nCheck 'false' failed at src/op.cpp:20:\nNo rule for A\n": "No rule for A",
        "Unknown type\n\nStack backtrace:\n   0: f\n   1: g": "Unknown type",
        "/onnxruntime_src/a.cc:460 f(const V*) v->IsTensor() was false. Only tensors": "Only tensors",
        "onnxruntime.capi.onnxruntime_pybind11_state.Fail: 1 : Load model from /a b.onnx failed:/onnxruntime_src/"
        "core/graph/model.cc:149 onnxruntime::Model::Model(onnx::ModelProto&&, PathString&) Unsupported version": (
            "Fail: 1 : Unsupported version"
        ),
        "OpenCV(5.0.0) /io/net.hpp:187: error: (-2) no layer\n> ": "(-2) no layer >",
    }.items():
        with pytest.raises(StudyError, match=f"^engine: {re.escape(shown)}$"), in_one_line("engine"):
            raise RuntimeError(message)
    with pytest.raises(StudyError, match=r"^mine$"), in_one_line("engine"):
        raise StudyError("mine")
