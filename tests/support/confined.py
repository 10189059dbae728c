"""Reads files where neither a crash, a hang nor a bomb does harm: each in a process of its own.

`python -m tests.support.confined` takes requests from standard input, one JSON object a line, and answers each with an
`Outcome`. It has imported what the reader needs and forks for every file, which takes milliseconds, so that the peak of
a process's memory is that of one file, and what kills it kills nothing else.
"""

import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MOST_MEMORY = 1024
"""MiB that a file may make the reader take, over what it takes of itself (about 60)."""
MOST_SECONDS = 15.0
"""Processor time that a file of up to 32 MB may take; ordinary ones of that size take less than two seconds."""
MOST_CHARACTERS = 1000
"""Characters of a refusal."""
MOST_ANSWERED = 2**13
"""Characters of an answer: all of it fits into a pipe."""
FENCE = 4 * 2**30
"""Bytes of address space: a bomb that gets as far has failed the test and need not fail the machine."""
MOST_LOADED = 2**22
"""Elements of a layer that are all read; of a larger one the first and last block are."""


Examination = Callable[[Path], dict[str, Any]]
"""Does something with a file, and returns the fields of its Outcome."""


@dataclass(frozen=True)
class Outcome:
    """`kind` is read, refused (a StudyError), failed (any other exception), or killed (a signal or the clock).

    `message` is the refusal or the fault, or the reason of the last layer that was skipped.
    `seconds` are of the processor; `mib` is the most memory taken, over that of the reader before.
    """

    kind: str
    message: str = ""
    layers: int = 0
    skipped: int = 0
    weights: int = 0
    seconds: float = 0.0
    mib: float = 0.0

    @property
    def fault(self) -> str:
        """What is wrong with this outcome of any file; "" if nothing is."""
        if self.kind not in ("read", "refused"):
            return f"{self.kind}: {self.message}"
        if self.seconds > MOST_SECONDS:
            return f"{self.seconds:.1f} s"
        if self.mib > MOST_MEMORY:
            return f"{self.mib:.0f} MiB"
        if "more memory than there is" in self.message:  # it ran into the fence
            return self.message
        if self.kind == "refused" and not (self.message.isprintable() and len(self.message) < MOST_CHARACTERS):
            return f"not one short line: {self.message!r}"
        return ""


class Confined(AbstractContextManager["Confined"]):
    """The process that reads files; a context, in which it runs."""

    def __enter__(self) -> "Confined":
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.confined"],
            cwd=Path(__file__).parent.parent.parent,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server.stdin
        self.server.stdin.close()
        self.server.wait()

    def read(self, path: Path, seconds: float = 60) -> Outcome:
        """What becomes of the file at `path`; its process is killed after so many seconds."""
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps({"path": str(path), "seconds": seconds}) + "\n")
        self.server.stdin.flush()
        return Outcome(**json.loads(self.server.stdout.readline()))


def examine(path: Path) -> dict[str, Any]:
    """Read a file as the command does: its layers, their numbers, facts and some measures."""
    from analysis.measures import sparsity as measures
    from analysis.measures.layer import weight_statistics
    from analysis.weights.layers import read
    from study.errors import StudyError

    chosen = measures.parse("all")
    try:
        found = read(path, pointwise=True)
        for layer in {layer.weight.key: layer for layer in found.layers}.values():
            blocks = layer.weight.blocks()
            if layer.weight.size > MOST_LOADED:
                assert blocks[0].ndim == blocks[len(blocks) - 1].ndim == 2
                continue
            assert layer.weight.load().shape == layer.weight.shape
            assert sum(block.size for block in blocks) == layer.weight.size
            weight_statistics(layer.weight).named()
            measures.evaluate(chosen, blocks, 1)
    except StudyError as error:
        return {"kind": "refused", "message": str(error)}
    weights = sum(layer.weight.size for layer in found.layers)
    reason = found.skipped[-1].reason if found.skipped else ""
    return {
        "kind": "read",
        "message": reason,
        "layers": len(found.layers),
        "skipped": len(found.skipped),
        "weights": weights,
    }


def _peak() -> float:
    """The most memory this process has had, in MiB."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) / 1024


def _child(examination: Examination, path: Path, answer: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (FENCE, FENCE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")  # what numpy warns of is printed, and the command prints one line
    before, begun = _peak(), time.process_time()
    try:
        outcome = examination(path)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        outcome = {"kind": "failed", "message": f"{type(error).__name__} at {where}: {str(error)[:200]}"}
    outcome |= {"seconds": time.process_time() - begun, "mib": _peak() - before}
    outcome["message"] = outcome.get("message", "")[:MOST_ANSWERED]
    os.write(answer, json.dumps(outcome).encode())


def confined(examination: Examination, path: Path, seconds: float) -> Outcome:
    """Examine the file in a fork of this process, which is killed after so many seconds."""
    reading, writing = os.pipe()
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            _child(examination, path, writing)
        finally:
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], seconds)
    answer = os.read(reading, 2**16) if ready else b""
    if not answer:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    taken = time.perf_counter() - begun
    died = os.WIFSIGNALED(status) and ready
    message = f"signal {os.WTERMSIG(status)}" if died else f"not done after {taken:.1f} s"
    return Outcome(**json.loads(answer)) if answer else Outcome("killed", message, seconds=taken)


def main() -> None:
    import onnx.reference  # noqa: F401

    from analysis.weights import layers  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(asdict(confined(examine, Path(asked["path"]), asked["seconds"]))), flush=True)


if __name__ == "__main__":
    main()
