"""Ctrl-C and SIGTERM end a command in one line, wherever it is, and its children end with it, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study import CHILD, children
from study.children import descendants
from tests.conftest import ROOT

BUSY = """
import signal, time
from study.errors import exit_with
def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])  # as in a long call of an engine
    print("ready", flush=True)
    time.sleep(60)
exit_with(main, "this is kept")
"""
ORDERLY = """
import time
from study.errors import exit_with
def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("ending", flush=True)
        time.sleep(0.5)
        print("ended", flush=True)
exit_with(main, "this is kept")
"""
CHANGED = """
import time
from study.errors import exit_with
def main():
    print("ready", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:  # as the loader of a library does
        raise ImportError("initialization failed")
exit_with(main, "this is kept")
"""
EXITING = CHANGED.replace('ImportError("initialization failed")', "SystemExit(1)")
IGNORED = """
import time
from study.errors import exit_with
class Held:
    def __del__(self):  # Python ignores what it raises
        print("ready", flush=True)
        time.sleep(60)
def main():
    Held()
    time.sleep(60)
exit_with(main, "this is kept")
"""
STARTING = """
import time
from study import children
from study.errors import exit_with
def main():
    with children.shielded():
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(60)  # as the start of a child in a long call
exit_with(main, "this is kept")
"""
EARLY = """
import sys
sys.argv = ["command"]
import study
print("ready", flush=True)
import time
time.sleep(60)
"""
EARLY_CHANGED = EARLY.replace(
    "time.sleep(60)",
    "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    raise ImportError('initialization failed')",
)
PARENT = """
import subprocess, sys, time
from study import children
child = children.start([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=-1)
child.stdout.read(1)
print(child.pid, flush=True)
time.sleep(60)
"""
STOPS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def started(script: str) -> tuple["subprocess.Popen[str]", str]:
    """A process that runs `script`, and its first line of output."""
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def wait_for_end(number: int) -> None:
    """Return once there is no process of this number, or only what its parent has not yet waited for."""
    status = Path(f"/proc/{number}/stat")
    until = time.monotonic() + 20
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until, f"process {number} has survived its parent"
        time.sleep(0.02)


@STOPS
@pytest.mark.parametrize("script", [BUSY, ORDERLY, CHANGED, EXITING, IGNORED, STARTING])
def test_a_signal_ends_a_command_in_one_line(number: signal.Signals, script: str) -> None:
    process, _ = started(script)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted: this is kept\n")


def test_an_interrupt_does_not_end_an_interactive_session() -> None:
    lines = "import os, study\nos.kill(os.getpid(), 2)\nprint(6 * 7)\n"
    done = subprocess.run(
        [sys.executable, "-i"], input=lines, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "42\n"


def test_a_second_signal_does_not_disturb_the_end() -> None:
    process, _ = started(ORDERLY)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ending\n"
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "ended\n", "interrupted: this is kept\n")


@STOPS
@pytest.mark.parametrize("script", [EARLY, EARLY_CHANGED], ids=["as it is", "changed by a loader"])
def test_a_signal_while_modules_are_imported_shows_no_traceback(number: signal.Signals, script: str) -> None:
    process, _ = started(script)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted: run the same command again\n")


@pytest.mark.parametrize("end", ["print('kept', flush=True)", "time.sleep(60)"])
def test_a_command_that_another_one_runs_writes_what_it_has(end: str) -> None:
    """Without a word of its own that it was interrupted, and if it takes too long it is killed."""
    child = ORDERLY.replace("""print("ended", flush=True)""", end)
    parent = f"""
import sys
from study import children
from study.errors import exit_with
exit_with(lambda: children.run([sys.executable, "-c", {child!r}]).returncode, "this is kept")
"""
    process, _ = started(parent)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted: this is kept\n")
    assert output == ("ending\nkept\n" if "kept" in end else "ending\n")


@pytest.mark.parametrize("variables", [None, dict(os.environ)])
def test_a_child_says_nothing_while_its_modules_are_imported(variables: dict[str, str] | None) -> None:
    pipe = subprocess.PIPE
    child = children.start([sys.executable, "-c", EARLY], stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=variables)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=30)[1] == ""
    assert child.returncode == 130
    assert CHILD not in os.environ


def test_a_child_ends_with_its_parent_and_never_sees_ctrl_c() -> None:
    process, child = started(PARENT)
    os.kill(int(child), signal.SIGINT)
    os.kill(int(child), 0)
    process.kill()
    process.communicate()
    wait_for_end(int(child))


def test_descendants_are_those_of_all_floors_the_lowest_first() -> None:
    process, child = started(PARENT)
    found = descendants(os.getpid())
    process.kill()
    process.communicate()
    assert found.index(int(child)) < found.index(process.pid)
