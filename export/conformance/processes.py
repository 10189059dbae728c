"""Run a command that may crash, hang or leave child processes behind."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from study import children
from study.errors import one_line

MAX_OUTPUT = 1 << 16
"""Bytes of a command's output that are read, from its end."""
ERROR = re.compile(r"^((\w+\.)*\w*(Error|Exception|ERROR|error)\b.*:|.*:\d+: (fatal )?error: )")
"""An error message: of interpreters and tools at the start of a line, of compilers after file and line."""
CHATTER = re.compile(r"^(\[notice\]|npm (warn|notice)|npm error A complete log|Node\.js v|at |-+$|\^+$)")
"""Lines that tools print after the error message."""
ADDRESS = re.compile(r"https?://\S+")
"""Perhaps the user's private mirror, which must not appear in a published table."""


class CommandError(Exception):
    """Why a command failed, in one line."""


def run(
    command: Sequence[str | Path],
    folder: Path,
    seconds: float,
    stop: threading.Event | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run `command` in `folder` and return its output; its child processes end with it.

    Args:
        seconds: time limit.
        stop: kills the command once it is set.
        variables: its environment; by default that of this process.

    Raises:
        CommandError: it could not be started, exceeded the time limit, or ended with another exit code than 0.
    """
    words = list(map(str, command))
    end = time.monotonic() + seconds
    with tempfile.TemporaryFile() as output:
        try:
            process = children.start(
                words,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a process group, so that children can be killed with it
            )
        except OSError as error:
            raise CommandError(f"{words[0]}: {error.strerror}") from None
        try:
            code = None
            while code is None and time.monotonic() < end and not (stop and stop.is_set()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(0.2)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all have ended (PermissionError on macOS)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if stop and stop.is_set():
            raise CommandError("interrupted")
        output.seek(max(0, output.seek(0, os.SEEK_END) - MAX_OUTPUT))
        printed = output.read().decode(errors="replace")
    if code == 0:
        return printed
    if code is None:
        raise CommandError(f"no end after {seconds:g} s")
    outcome = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    message = error_message(printed).replace(f"{folder}/", "")
    raise CommandError(one_line(CommandError(f"{outcome}: {message}" if message else outcome)))


def error_message(output: str) -> str:
    """The error in a command's output: from the last line that starts one, else the last line."""
    lines = [line.strip() for line in output.splitlines()]
    lines = [line for line in lines if line and not CHATTER.match(line)]
    errors = [n for n, line in enumerate(lines) if ERROR.match(line)]
    message = " ".join(lines[errors[-1] :] if errors else lines[-1:])
    return ADDRESS.sub("(an address)", message)
