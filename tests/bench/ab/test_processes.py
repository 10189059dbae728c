"""The processes of `python -m bench ab`: real ones, with runtimes that compute nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs

from bench.ab.process import Process, started
from bench.ab.protocol import (
    PROTOCOL,
    Calibrate,
    Calibrated,
    Compute,
    Computed,
    Greeting,
    Part,
    Reply,
    Report,
    Reported,
    Request,
    Timed,
)
from bench.ab.sides import PROJECT, Side
from bench.ab.turns import plain
from bench.arrays import load_outputs, save_inputs
from bench.models import from_file
from study.errors import StudyError
from study.onnx_given import Given
from study.record_files import read_record
from study.records.ab import AbRecord
from tests.bench.test_onnx_files import LINEAR, save
from tests.conftest import ROOT, run

RUNTIMES = "tests.support.turning:"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("ab") / "m.onnx", LINEAR)


@pytest.fixture(scope="module")
def steady(file: Path) -> Side:
    return Side("A", "m.onnx", from_file(file, Given()), 1, runtime=f"{RUNTIMES}Steady")


def loaded(process: Process, folder: Path) -> Process:
    save_inputs(folder / "inputs.npz", [{"x": np.full((1, 4), i, np.float32)} for i in range(3)])
    process.ask(structs.replace(process.side.request, inputs=str(folder / "inputs.npz")), Reply)
    return process


class Dance(Request, tag="dance", frozen=True):
    """What no process can do."""


def ends(pid: int) -> bool:
    """Whether a process has ended within some seconds; a zombie has."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


# ---- the protocol


def test_replies_have_the_keys_that_an_older_version_reads() -> None:
    """It takes a key without a value for a fault."""
    greeting = Greeting(protocol=PROTOCOL, python="3.11.7", packages={}, commit=None)
    assert msgspec.json.decode(msgspec.json.encode(greeting)).keys() == {"protocol", "python", "packages", "commit"}
    part = Timed(seconds=1, wall=1, cpu=1, switches=0, idle_wall=1, idle_cpu=0)
    numbers = {"seconds", "wall", "cpu", "switches", "idle_wall", "idle_cpu"}
    assert msgspec.json.decode(msgspec.json.encode(part)).keys() >= numbers
    assert msgspec.json.encode(Reply()) == b"{}", "no error, not even an empty one"
    assert msgspec.json.decode(b'{"arithmetic_seconds": 1, "memory_seconds": 2, "later": 3}', type=Calibrated)


def test_a_setting_of_ones_own_engine_may_be_a_number_of_numpy() -> None:
    reply = Reported(settings={"threads": np.int64(1), "share": np.float32(0.5), "path": Path("x")})
    assert msgspec.json.encode(reply, enc_hook=plain) == b'{"settings":{"threads":1,"share":0.5,"path":"x"}}'


def test_names_that_are_not_utf_8_are_one_line(steady: Side, tmp_path: Path) -> None:
    with started(steady) as process, pytest.raises(StudyError, match=r"A \(m.onnx\): expected names in UTF-8, found "):
        process.ask(structs.replace(process.side.request, inputs=f"{tmp_path}/\udcff"), Reply)


def test_a_process_loads_computes_and_times_and_its_engine_may_print(steady: Side, tmp_path: Path) -> None:
    with started(steady) as process:
        assert process.greeting.protocol == PROTOCOL
        assert "numpy" in process.greeting.packages
        loaded(process, tmp_path)
        structure = process.ask(Compute(str(tmp_path / "o.npz"), 60), Computed).structure
        found = load_outputs(tmp_path / "o.npz", structure)
        assert [outputs[0].tolist() for outputs in found] == [[[2 * i] * 4] for i in range(3)]
        reply = process.ask(Part(2, 3, each=True), Timed)
        assert len(reply.durations) == 5
        assert reply.seconds == sorted(reply.durations[2:])[1]
        assert process.ask(Report(), Reported).settings == {"threads": 1}
        assert 0 < process.ask(Calibrate(), Calibrated).arithmetic_seconds < 1
        loaded(process, tmp_path)  # again, at another place in memory
        with pytest.raises(StudyError, match=r"^A \(m.onnx\): turns/1 has no such request: Invalid value 'dance'"):
            process.ask(Dance(), Reply)


def test_a_waiting_side_is_seen_to_use_a_core_or_none(steady: Side, tmp_path: Path) -> None:
    shares = []
    for name in ("Steady", "Spinning"):
        with started(replace(steady, runtime=f"{RUNTIMES}{name}")) as process:
            loaded(process, tmp_path).ask(Part(0, 1), Timed)
            time.sleep(0.5)
            reply = process.ask(Part(0, 1), Timed)
            shares.append(reply.idle_cpu / reply.idle_wall)
    assert shares[0] < 0.02 < 0.1 < shares[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Crashing", r"^A \(m.onnx\): its process ended by SIGSEGV: about to crash$"),
        ("OneThread", r"threads: 2 was set, tests.support.turning:OneThread reports 1$"),
        ("Missing", r"the runtime tests.support.turning:Missing cannot be imported"),
    ],
)
def test_a_failing_side_is_one_line(steady: Side, tmp_path: Path, name: str, message: str) -> None:
    threads = 2 if name == "OneThread" else 1
    side = replace(steady, runtime=f"{RUNTIMES}{name}", threads=threads)
    with pytest.raises(StudyError, match=message), started(side) as process:
        loaded(process, tmp_path).ask(Part(0, 1), Timed)


def test_options_that_an_engine_does_not_take_or_takes_otherwise_are_refused(steady: Side, tmp_path: Path) -> None:
    tried = [
        (steady.runtime, {"x": "1"}, "takes no options, found x"),
        ("onnxruntime", {"session.nonsense": "1"}, "has no session configuration entry 'session.nonsense'"),
        ("onnxruntime", {"execution_mode": "parallel"}, "execution_mode: parallel was set, onnxruntime reports seq"),
    ]
    for runtime, options, message in tried:
        side = replace(steady, runtime=runtime, options=options)
        with started(side) as process, pytest.raises(StudyError, match=message):
            loaded(process, tmp_path)


def test_options_of_onnx_runtime_are_set_and_read_back(steady: Side, tmp_path: Path) -> None:
    options = {"session.intra_op.allow_spinning": "1", "graph_optimization_level": "basic"}
    with started(replace(steady, runtime="onnxruntime", options=options)) as process:
        settings = loaded(process, tmp_path).ask(Report(), Reported).settings
    assert {name: settings[name] for name in options} == options
    assert settings["spinning"] is True


# ---- other environments and checkouts


def script(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_another_interpreter_runs_the_side_or_says_what_it_lacks(steady: Side, tmp_path: Path) -> None:
    whole = script(tmp_path / "python", f'exec {sys.executable} "$@"')
    with started(replace(steady, python=whole)) as process:
        assert loaded(process, tmp_path).ask(Report(), Reported).settings == {"threads": 1}
    bare = script(tmp_path / "bare", f'exec {sys.executable} -S "$@"')  # without its packages
    message = (
        "ended with exit code 2: error: expected the package msgspec, found none; .*/bare needs numpy, msgspec and"
    )
    with pytest.raises(StudyError, match=message), started(replace(steady, python=bare)):
        pass


def test_another_checkout_runs_its_own_code_and_must_speak_the_same_protocol(steady: Side, tmp_path: Path) -> None:
    for name in ("bench", "study", "tests"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    runtime = tmp_path / "tests" / "support" / "turning.py"
    runtime.write_text(runtime.read_text().replace('{"threads": self.threads}', '{"threads": 1, "own": True}'))
    side = replace(steady, checkout=tmp_path)
    with started(side) as process:
        assert loaded(process, tmp_path).ask(Report(), Reported).settings == {"threads": 1, "own": True}
    protocol = tmp_path / "bench" / "ab" / "protocol.py"
    protocol.write_text(protocol.read_text().replace('"turns/1"', '"turns/2"'))
    with pytest.raises(StudyError, match="speaks turns/2, this checkout turns/1"), started(side):
        pass


# ---- no process survives


def test_a_process_ends_with_its_parent_even_if_that_is_killed(file: Path, tmp_path: Path) -> None:
    parent = f"""
import time
from pathlib import Path
from bench.ab.process import started
from bench.ab.sides import Side
from bench.models import from_file
from study.onnx_given import Given
with started(Side("A", "m.onnx", from_file(Path({str(file)!r}), Given()), 1)) as process:
    print(process.child.pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        process.kill()
    assert ends(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_ends_its_processes_and_keeps_what_it_has(
    number: signal.Signals, file: Path, tmp_path: Path
) -> None:
    words = [f"{file},runtime={RUNTIMES}{name}" for name in ("Steady", "Slower")]
    target = tmp_path / "ab.json"
    command = [
        sys.executable,
        "-m",
        "bench",
        "ab",
        *words,
        "--seconds",
        "0.1",
        "--processes",
        "50",
        "--json",
        str(target),
    ]
    (kept := tmp_path / "temporary").mkdir()
    places = {**os.environ, "TMPDIR": str(kept)}
    with subprocess.Popen(
        command, cwd=ROOT, env=places, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr
        while not process.stderr.readline().startswith("pair 2"):
            assert process.poll() is None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.killpg(process.pid, number)  # as Ctrl-C and a cancelled job do
        shown = process.stderr.read()
    assert process.returncode == 130
    assert shown.endswith(
        f"wrote {target}, with the pairs of processes that had ended\ninterrupted: run the command again\n"
    )
    assert not list(kept.iterdir()), "no temporary file is left"
    assert all(ends(int(child)) for child in children)
    (one,) = read_record(target, AbRecord, "").comparisons
    assert (len(one.processes) >= 2, one.verdict) == (True, "withheld")
    assert one.reasons[-1] == "ended early: interrupted"


# ---- the command


def test_two_sides_are_compared_as_a_user_does_it(file: Path, tmp_path: Path) -> None:
    words = [f"{file},runtime={RUNTIMES}{name}" for name in ("Steady", "Other")]
    target = tmp_path / "folder" / "ab.json"
    done = run("bench", "ab", *words, "--batches", "1,2", "--seconds", "0.1", "--json", target)
    assert done.returncode == 0, done.stderr
    record = read_record(target, AbRecord, "")
    assert [one.a.batch for one in record.comparisons] == [1, 2]
    for one in record.comparisons:
        assert {process.process for process in one.processes} >= {1, 2, 3, 4, 5}
        assert (one.a.runtime, one.b.runtime) == (f"{RUNTIMES}Steady", f"{RUNTIMES}Other")
        assert "output 'y'" in one.outputs.differences[0]
    assert len({process.random_seed for process in record.comparisons[0].processes}) >= 5
    assert f"A: {words[0]}" in done.stdout
    assert "batch 1: the outputs differ" in done.stdout


MISTAKES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "no file": (lambda file: ["nothing.onnx", "gap"], "expected an ONNX file or a model of the catalogue, found 'noth"),
    "too few processes": (lambda file: [str(file), str(file), "--processes", "4"], "--processes from 5"),
    "batches": (lambda file: [str(file), str(file), "--batches", "0"], "--batches: expected numbers from 1"),
    "unlike inputs": (
        lambda file: [str(file), str(file.with_name("wider.onnx"))],
        "expected sides that take the same inputs, found A with x float32 [1, 4], B with x float32 [1, 5]",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_code_2(file: Path, mistake: str) -> None:
    from tests.bench.test_onnx_files import model, node, ones, value

    save(file.with_name("wider.onnx"), model([node("MatMul", "x w")], [value("x", ["N", 5])], [ones("w", 5, 3)]))
    words, message = MISTAKES[mistake]
    done = run("bench", "ab", *words(file))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
