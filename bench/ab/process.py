"""The process of one side, seen from its parent: started, asked, ended."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from bench.ab.protocol import PROTOCOL, Greeting, R, Reply, Request
from bench.ab.sides import PROJECT, Side
from study.children import start
from study.errors import StudyError, printable

END_SECONDS = 10


class Process:
    """A fresh process of a side; see bench/ab/protocol.py for what it can be asked."""

    def __init__(self, side: Side, errors: IO[str]) -> None:
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
            )
        except OSError as error:
            raise StudyError(f"{side}: {side.python} does not start: {error.strerror}") from None
        self.greeting = self._reply(Greeting)
        if (found := self.greeting.protocol) != PROTOCOL:
            remedy = "compare checkouts that speak the same"
            raise StudyError(f"{side}: {side.checkout} speaks {found}, this checkout {PROTOCOL}: {remedy}")

    def ask(self, request: Request, kind: type[R]) -> R:
        """Send one request and wait for its reply, which is of this kind.

        Raises:
            StudyError: the process reports a mistake, or has ended.
        """
        assert self.child.stdin
        try:
            line = msgspec.json.encode(request) + b"\n"
        except UnicodeEncodeError as error:
            raise StudyError(f"{self.side}: expected names in UTF-8, found {printable(str(error.object))}") from None
        with suppress(BrokenPipeError):  # then the reply is missing as well
            self.child.stdin.write(line)
            self.child.stdin.flush()
        return self._reply(kind)

    def _reply(self, kind: type[R]) -> R:
        assert self.child.stdout
        line = self.child.stdout.readline()
        try:
            if mistake := msgspec.json.decode(line, type=Reply).error:
                raise StudyError(f"{self.side}: {mistake}")
            return msgspec.json.decode(line, type=kind)
        except ValueError:  # no JSON, other keys, or no UTF-8
            raise StudyError(f"{self.side}: {self._end(line.decode(errors='replace'))}") from None

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
