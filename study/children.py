"""Child processes: none outlives its parent, and Ctrl-C is for the parent alone, which then ends them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import CHILD

if TYPE_CHECKING:
    import subprocess

POLL_SECONDS = 0.5
END_SECONDS = 1.0
"""Time for a child to write what it has; a command itself has half a second more (study/stopping.py)."""
PR_SET_PDEATHSIG = 1
"""prctl(2)."""


@contextmanager
def shielded() -> Iterator[None]:
    """Processes started in this block never see Ctrl-C, from their first instruction on, and leave the words to us."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # that of multiprocessing: starting it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    is_child = CHILD in os.environ
    os.environ[CHILD] = "1"
    try:
        yield
    finally:
        if not is_child:
            del os.environ[CHILD]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """The first call of a child: it ends when its parent does, however that happens, and ignores Ctrl-C.

    Linux's kernel ends it by a signal; elsewhere a thread asks twice a second.
    """
    from multiprocessing import parent_process

    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _killed_with_parent()()
    if sys.platform != "linux":
        threading.Thread(target=_poll, args=(parent,), daemon=True).start()
    started_by = parent_process()  # the parent in multiprocessing, or None
    if os.getppid() != parent or (started_by and not started_by.is_alive()):  # it died in between
        os._exit(1)


def _killed_with_parent() -> Callable[[], object]:
    """What a process calls to be killed with its parent; nothing where the system cannot do that."""
    if sys.platform != "linux":
        return lambda: None
    import ctypes

    prctl = ctypes.CDLL(None).prctl  # loaded here: a forked child should not load anything
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _poll(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def start(command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[Any]":
    """`subprocess.Popen` of a child that ends with this process (on Linux) and never sees Ctrl-C."""
    import subprocess

    parent, be_killed = os.getpid(), _killed_with_parent()

    def tie() -> None:
        be_killed()
        if os.getppid() != parent:
            os._exit(1)

    if options.get("env"):
        options["env"] = {**options["env"], CHILD: "1"}
    with shielded():
        return subprocess.Popen(command, preexec_fn=tie, **options)


def run(
    command: Sequence[str | Path], timeout: float | None = None, **options: Any
) -> "subprocess.CompletedProcess[Any]":
    """`subprocess.run` of such a child, which can write what it has before it is ended with this process.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout` seconds, and has been ended.
    """
    import subprocess

    with start(command, **options) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            _end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _end(process: "subprocess.Popen[Any]") -> None:
    """Ask a child to end, which a command of this project does in order, and kill it if it has not."""
    import subprocess

    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    finally:
        process.kill()


def end_all() -> None:
    """Kill this process's children, where the system lists them (Linux), and the groups that they lead."""
    for number in children_of(os.getpid()):
        with suppress(OSError):  # it has ended
            (os.killpg if os.getpgid(number) == number else os.kill)(number, signal.SIGKILL)


def children_of(number: int) -> list[int]:
    """The children of a process, where the system lists them (Linux)."""
    found: list[int] = []
    for file in Path(f"/proc/{number}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found += map(int, file.read_text().split())
    return found


def descendants(number: int) -> list[int]:
    """The children of a process and theirs, the lowest first, where the system lists them (Linux)."""
    return [each for child in children_of(number) for each in (*descendants(child), child)]
