"""Errors that users see, and the exit codes of the commands."""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

from study import OURS, lacking, stopping
from study.hidden import hiding

PLACES = re.compile(
    r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:|OpenCV\(\S+\) \S+: error: |"
    r"/\S+\.cc:\d+ .* was false\. |/onnxruntime_src/\S+:\d+ \S+ .*?\) |Load model from .*? failed:|"
    r"onnxruntime\.capi\.onnxruntime_pybind11_state\.|Stack backtrace:.*|, schema\.has_function.*"
)
"""Where in an engine's own source something failed; its reason comes afterwards, or before a backtrace."""

ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Those of a terminal's colours."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
GO_ON = "what was finished is kept; run it again (without --fresh) to go on"
BROKEN_PIPE = 141
OUT_OF_MEMORY = -1
NO_MEMORY = re.compile(r"bad[_ ]alloc|allocate memory|out of memory|failed to map segment", re.IGNORECASE)
"""In the messages of torch, ONNX Runtime and the loader of libraries, which raise errors of their own."""


class StudyError(Exception):
    """A user's mistake or a bad file: what was expected, what was found, what to run.

    Printed to standard error without a traceback; the command exits with code 2.
    """


def one_line(error: BaseException, most: int = 200) -> str:
    """A library's message in one line of at most `most` characters; the type of the error if it has none.

    Without the escape codes with which some libraries colour it.
    """
    text = "".join(c if c.isprintable() else " " for c in ESCAPE_CODES.sub("", str(error)))
    message = PLACES.sub("", " ".join(text.split()))
    return " ".join(message.split())[:most] or type(error).__name__


def printable(text: str) -> str:
    """A text that cannot control the terminal: with escapes and quotes if some of its characters could."""
    return text if text.isprintable() else ascii(text)


def escaped(text: str) -> str:
    """A text with escapes in place of the characters that could control the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@contextmanager
def in_one_line(what: str, most: int = 300) -> Iterator[None]:
    """Report any exception of a library as a `StudyError`: `what`, a colon, and its message."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:  # engines raise exceptions of any type
        raise StudyError(f"{what}: {one_line(error, most)}") from None


def _writer() -> str:
    """What failed where the system names no file: standard output, or a library's own file. Ours are named."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()
        return "standard output"
    return "standard output or a temporary file"


def described(error: Exception) -> str:
    """An error in words: one of the system has its path, if it is of one, and its reason, without a number."""
    if not isinstance(error, OSError):
        return str(error)
    reason = str(error.strerror or error)
    return f"{error.filename}: {reason}" if error.filename else reason


def print_error(error: StudyError | OSError) -> None:
    """Print an error as one line to standard error, in which no name can control the terminal."""
    message = described(error)
    if isinstance(error, OSError) and not error.filename and error.errno in NO_ROOM:
        message = f"{_writer()}: {message}"
    try:
        print(f"error: {escaped(' '.join(message.splitlines()))}", file=sys.stderr, flush=True)
    except OSError:  # nobody reads it
        discard_output(sys.stderr)


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or NO_MEMORY.search(str(error)) is not None


def discard_output(stream: TextIO | None = None) -> None:
    """Redirect stdout, or `stream`, to /dev/null once it cannot be written: the interpreter's last flush would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def _failed(error: BaseException) -> int:
    """Print the line of an error that ended a command, and return the exit code.

    Raises:
        BaseException: it is a fault of this program.
    """
    if line := hiding(error, OURS) or (isinstance(error, ModuleNotFoundError) and lacking(error)):
        print_error(StudyError(line))
    elif isinstance(error, StudyError | OSError):  # the latter of a file without a more specific message
        print_error(error)
    elif is_out_of_memory(error):
        return OUT_OF_MEMORY
    else:
        raise error
    return 2


def exit_with(main: Callable[[], int], interrupted: str = GO_ON) -> NoReturn:
    """Run a command's `main` and exit with the project's codes; `interrupted` is what an interrupt has left.

    0 done, 1 a gate or check failed, 2 the user's mistake or a bad file, 130 interrupted, 141 the reader of standard
    output has gone (as a shell counts SIGPIPE).
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # `>&-`: what is printed would be lost, and a file might get its number
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115  until the process ends
        if hasattr(stream := getattr(sys, name), "reconfigure"):  # a name need not be in the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    watchdog, ended = stopping.watch(interrupted), False
    try:
        code = main()
        ended = True
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe (`... | head`) has closed it
        discard_output()
        if not ended:
            watchdog.say("stopped, nobody reads its output any more")
        code = BROKEN_PIPE
    except BaseException as error:
        # a library, or the loader of one, may have made another error of the interrupt, or its own exit
        interrupt = isinstance(error, KeyboardInterrupt) or stopping.is_interrupted()
        code = stopping.INTERRUPTED if interrupt else _failed(error)
    if code == OUT_OF_MEMORY:  # here what the error held is free again
        watchdog.say("error: out of memory")
        code = 2
    if code == stopping.INTERRUPTED:
        watchdog.say()
    stopping.finish()
    stopping.end(code)
