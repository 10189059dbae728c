"""A command that may crash, hang or leave children behind, run to its end whatever it does."""

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

from study.errors import one_line

MOST_OUTPUT = 1 << 16
"""Bytes of a command's output that are looked at, the last ones."""
ERROR = re.compile(r"^((\w+\.)*\w*(Error|Exception|ERROR|error)\b.*:|.*:\d+: (fatal )?error: )")
"""Of interpreters and tools at the beginning of a line, of compilers behind file and line."""
CHATTER = re.compile(r"^(\[notice\]|npm (warn|notice)|npm error A complete log|Node\.js v|at |-+$|\^+$)")
"""What the tools print below the line that matters."""
ADDRESS = re.compile(r"https?://\S+")
"""Of the user's own mirror, perhaps: it is nobody's business in a table that is published."""


class CommandError(Exception):
    """Why a command did not do what it should, in one line."""


def run(
    command: Sequence[str | Path],
    folder: Path,
    seconds: float,
    stop: threading.Event | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run `command` in `folder` and give what it printed; what it has started ends with it.

    Args:
        seconds: after so many it is killed.
        stop: once this is set it is killed.
        variables: its environment; without, that of this process.

    Raises:
        CommandError: it could not be started, did not end in time, or ended with anything but 0.
    """
    words = list(map(str, command))
    end = time.monotonic() + seconds
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a group of its own: children are killed with it
            )
        except OSError as error:
            raise CommandError(f"{words[0]}: {error.strerror}") from None
        try:
            code = None
            while code is None and time.monotonic() < end and not (stop and stop.is_set()):
                try:
                    code = process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            _kill_group(process)
        if stop and stop.is_set():
            raise CommandError("interrupted")
        output.seek(max(0, output.seek(0, os.SEEK_END) - MOST_OUTPUT))
        printed = output.read().decode(errors="replace")
    if code == 0:
        return printed
    said = meaningful(printed).replace(f"{folder}/", "")
    if code is None:
        raise CommandError(f"no end after {seconds:g} s")
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise CommandError(one_line(CommandError(f"{how}: {said}" if said else how)))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left, or the dead alone (macOS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def meaningful(output: str) -> str:
    """What went wrong, of all that was printed: from the last line that names an error, else the last line."""
    lines = [line.strip() for line in output.splitlines()]
    lines = [line for line in lines if line and not CHATTER.match(line)]
    errors = [n for n, line in enumerate(lines) if ERROR.match(line)]
    return ADDRESS.sub("(an address)", " ".join(lines[errors[-1] :] if errors else lines[-1:]))
