"""The process of one side, seen from its parent: started, asked, ended."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.ab.sides import PROJECT, Side
from study.children import start
from study.errors import StudyError, printable

PROTOCOL = "turns/1"
"""As in bench/ab/turns.py, which the other side's checkout has in its own version."""
END_SECONDS = 10


class Process:
    """A fresh process of a side; see bench/ab/turns.py for what it can be asked."""

    def __init__(self, side: Side, errors: Any) -> None:
        """Start it in the side's environment, and check that it speaks the same protocol.

        Raises:
            StudyError: it does not start, lacks a module, or speaks another protocol.
        """
        self.side, self.errors = side, errors
        command = [side.python, "-m", "bench.ab.turns"]
        try:
            self.child = start(
                command,
                cwd=side.checkout,
                env=environment(side),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        except OSError as error:
            raise StudyError(f"{side}: {side.python} does not start: {error.strerror}") from None
        self.greeting = self._reply()
        if (found := self.greeting.get("protocol")) != PROTOCOL:
            remedy = "compare checkouts that speak the same"
            raise StudyError(f"{side}: {side.checkout} speaks {found}, this checkout {PROTOCOL}: {remedy}")

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        """Send one request and wait for its reply.

        Raises:
            StudyError: the process reports a mistake, or has ended.
        """
        assert self.child.stdin
        with suppress(BrokenPipeError):  # then the reply is missing as well
            self.child.stdin.write(json.dumps({"do": do, **words}) + "\n")
            self.child.stdin.flush()
        reply = self._reply()
        if "error" in reply:
            raise StudyError(f"{self.side}: {reply['error']}")
        return reply

    def _reply(self) -> dict[str, Any]:
        assert self.child.stdout
        line = self.child.stdout.readline()
        try:
            reply: dict[str, Any] = json.loads(line)
        except ValueError:
            raise StudyError(f"{self.side}: {self._end(line)}") from None
        return reply

    def _end(self, line: str) -> str:
        """Why there is no reply, in one line."""
        if line:
            return f"expected a reply of {PROTOCOL} from {self.side.python}, found {printable(line.strip()[:100])}"
        code = self.child.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines() or ["no message"]
        end = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last, remedy = lines[-1], ""
        if "ModuleNotFoundError" in last or "expected the package " in last:  # as study.lacking says it
            last = last.partition("; ")[0]
            remedy = f"; {self.side.python} needs numpy, msgspec and the engine: install them there with pip"
        return f"its process {end}: {printable(last[:300])}{remedy}"

    def close(self) -> None:
        """End it: it ends at the end of its input, or it is killed."""
        assert self.child.stdin
        assert self.child.stdout
        with suppress(BrokenPipeError):  # of a request that was never read
            self.child.stdin.close()
        self.child.stdout.close()
        try:
            self.child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


@contextmanager
def started(side: Side) -> Iterator[Process]:
    """A fresh process of a side; it has ended after the block, whatever happens in it."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = Process(side, errors)
        try:
            yield process
        except BaseException:
            process.child.kill()  # it may be in a long call
            raise
        finally:
            process.close()


def environment(side: Side) -> dict[str, str]:
    """The variables of a side's process: its threads, none of which waits by spinning, and where its modules are."""
    paths = [str(side.checkout), os.environ.get("PYTHONPATH", "")]
    if Path.cwd().resolve() != PROJECT:
        paths.append(str(Path.cwd()))  # of an engine of the user's own
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    threads = str(side.threads)
    return {
        **variables,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
    }
