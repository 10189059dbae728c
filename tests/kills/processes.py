"""Run a command, end it at some moment, and see what is left of its processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

SURVIVAL_SECONDS = 3.0
"""A process that lives so long after its parent has survived it."""


@dataclass(frozen=True)
class Kill:
    """A signal, to the command alone or, as from a terminal, to all its processes."""

    number: signal.Signals
    group: bool = False

    def __str__(self) -> str:
        return f"{self.number.name}{' to all' if self.group else ''}"


KILLS = (
    Kill(signal.SIGKILL),
    Kill(signal.SIGINT, group=True),
    Kill(signal.SIGTERM),
    Kill(signal.SIGTERM, group=True),
)


@dataclass(frozen=True)
class End:
    """How a command ended."""

    code: int
    output: str
    """Both streams."""
    seconds: float
    """From the signal to the end, or of the whole command."""
    survivors: tuple[str, ...] = ()
    """The command lines of its processes that lived on."""


def run(words: Sequence[str], log: Path, kill: Kill | None = None, after: float = 0.0) -> End:
    """Run `python -m WORDS ...` in a session of its own; with `kill` it gets that signal `after` so many seconds."""
    with log.open("wb") as file:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, stdout=file, stderr=file, start_new_session=True
        )
        if kill:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                started = time.monotonic()
                (os.killpg if kill.group else os.kill)(process.pid, kill.number)
        code = process.wait()
        seconds = time.monotonic() - started
    until = time.monotonic() + SURVIVAL_SECONDS
    while (left := of_session(process.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    for number in left:
        os.kill(number, signal.SIGKILL)
    return End(code, log.read_text(errors="replace"), seconds, tuple(left.values()))


def of_session(session: int) -> dict[int, str]:
    """The processes of a session that still run, with their command lines (Linux)."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            state, _, _, its = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its) == session and state not in "ZX":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it has ended
            continue
    return found
