"""Errors that users see, and the exit codes of the commands."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLACES = re.compile(
    r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:|OpenCV\(\S+\) \S+: error: |"
    r"/\S+\.cc:\d+ .* was false\. |/onnxruntime_src/\S+:\d+ \S+ .*?\) |Load model from .*? failed:|"
    r"onnxruntime\.capi\.onnxruntime_pybind11_state\.|Stack backtrace:.*|, schema\.has_function.*"
)
"""Where in an engine's own source something failed; its reason comes afterwards, or before a backtrace."""

ESCAPE_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Those of a terminal's colours."""


OURS = ("study", "train", "export", "bench", "analysis", "docs", "tests")
"""A module missing of these is a fault of this program."""
GO_ON = "what was finished is kept; run it again (without --fresh) to go on"


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


@contextmanager
def in_one_line(what: str, most: int = 300) -> Iterator[None]:
    """Report any exception of a library as a `StudyError`: `what`, a colon, and its message."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:  # engines raise exceptions of any type
        raise StudyError(f"{what}: {one_line(error, most)}") from None


def print_error(error: StudyError | OSError) -> None:
    """Print an error as one line to standard error."""
    message = str(error)
    if isinstance(error, OSError):
        message = f"{error.filename or 'standard output'}: {error.strerror or error}"
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)


def discard_output() -> None:
    """Redirect stdout to /dev/null after a broken pipe, so that the interpreter's final flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def interrupt_on_sigterm() -> None:
    """Let SIGTERM, with which a CI service cancels a job, end a command like Ctrl-C: children and files are removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def exit_with(main: Callable[[], int], interrupted: str = GO_ON) -> None:
    """Run a command's `main` and exit with the project's codes; `interrupted` is what an interrupt has left.

    0 done, 1 a gate or check failed, 2 the user's mistake or a bad file, 130 interrupted.
    """
    if sys.stdout is None:  # `>&-`: what is printed would be lost, and a file might get its number
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  until the process ends
    for stream in (sys.stdout, sys.stderr):  # a name need not be in the encoding of the terminal
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        print_error(StudyError(f"the package {error.name} is missing; install this stage's, as `tox -e STAGE` does"))
        code = 2
    except StudyError as error:
        print_error(error)
        code = 2
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of a pipe (`... | head`) has closed it
        discard_output()
        code = 0
    except OSError as error:  # a file that cannot be read or written, without a more specific message
        print_error(error)
        code = 2
    sys.exit(code)
