"""What all stages share. They import it before any engine, so it sets what an engine reads when it is imported."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

if sys.version_info < (3, 11):  # noqa: UP036  a fresh checkout meets any interpreter; read before any newer syntax
    sys.stderr.write("error: expected Python 3.11 or newer, found %d.%d; run it with that\n" % sys.version_info[:2])  # noqa: UP031
    sys.exit(2)

# onnxruntime 1.31 otherwise writes an identity and a database to the home folder, has a thread more for them, and may
# send events to a host of its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

OURS = ("study", "train", "export", "bench", "analysis", "docs", "tests")
"""The packages of this project."""
CHILD = "STUDY_CHILD"
"""Variable of the commands that another one has started: that one says for them that they were interrupted."""


def lacking(error: ModuleNotFoundError) -> str:
    """What to do about a package that is not installed; "" for a module of this project, which is a fault of it.

    An error without a name, which a package raises itself, says more.
    """
    if not error.name:
        return str(error)
    name = error.name.partition(".")[0]
    if name in OURS:
        return ""
    return f"expected the package {name}, found none; install the packages of this stage, as `tox -e train` does"


_interrupts: list[int] = []


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupts.append(number)
    raise KeyboardInterrupt


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report an interrupt or a missing package before a command has begun, while its modules are imported."""
    from study.hidden import hiding

    if line := hiding(error, OURS) or (isinstance(error, ModuleNotFoundError) and lacking(error)):
        os.write(2, f"error: {line}\n".encode())
        os._exit(2)
    if not issubclass(kind, KeyboardInterrupt) and not _interrupts:  # a loader may make another error of an interrupt
        sys.__excepthook__(kind, error, trace)
        return
    if CHILD not in os.environ:
        os.write(2, b"interrupted: run the same command again\n")
    os._exit(130)


# Not in the processes of multiprocessing, whose first argument is this one: they end at once by SIGTERM. Nor in an
# interactive interpreter, which has a prompt: an interrupt ends a statement there, not the session.
if sys.argv[:1] != ["-c"] and not hasattr(sys, "ps1") and threading.current_thread() is threading.main_thread():
    sys.excepthook = _ended
    for _number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(_number) in (signal.SIG_DFL, signal.default_int_handler):  # ignored with `nohup ... &`
            signal.signal(_number, _interrupt)  # until study.stopping takes over
