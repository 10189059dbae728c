"""Shared by the experiments: the case, sessions of `pytest bench`, formatting of results."""

import shlex
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import models
from bench.cases import Case
from bench.sampling import Budget
from study import catalogue, children
from study.artifacts import Artifacts
from study.bench_file import read_bench, without_file
from study.environment import versions
from study.errors import StudyError
from study.processor import cpu_name
from study.records.base import Interval
from study.records.bench import BenchRecord, ComparisonRecord

INVALID = 1
"""Exit status of pytest where a measurement failed, perhaps for good reasons; its file is complete."""


def case_of(options: Namespace, threads: int = 1) -> Case:
    """The case of the options."""
    model = models.from_catalogue(Artifacts(options.artifacts), catalogue.entry(options.model))
    return Case(model, options.runtime, options.batch, threads)


def budget_of(options: Namespace) -> Budget:
    return Budget(seconds=options.seconds or Budget.seconds)


def session(options: Namespace, runtimes: str) -> BenchRecord:
    """Measure the model in `runtimes` with a separate `pytest bench`, without cold starts.

    Raises:
        StudyError: the session failed.
    """
    words = ["--models", options.model, "--runtimes", runtimes, "--batches", str(options.batch)]
    words += ["--seconds", str(options.seconds or Budget.seconds)]
    with tempfile.TemporaryDirectory() as folder:
        return kept_session(options, words, Path(folder) / "bench.json")


def kept_session(options: Namespace, words: Sequence[str], file: Path) -> BenchRecord:
    """The session with these words after `pytest bench`, from its file; it is measured if there is no such file.

    So an experiment that was interrupted goes on where it stopped.

    Raises:
        StudyError: the session failed, or the file is that of another command line.
    """
    words = ["bench", *words, "--cold-starts=0", "--artifacts", str(options.artifacts)]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.stem}.part.json")
        command = [sys.executable, "-m", "pytest", *words, f"--benchmark-json={part.resolve()}"]
        done = children.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, INVALID) or not part.is_file():
            output = (done.stdout + done.stderr)[-2000:]
            raise StudyError(f"`{shlex.join(command)}` ended with exit code {done.returncode}:\n{output}")
        part.replace(file)
        part.with_name(f"{part.name}.journal").unlink(missing_ok=True)
    record = read_bench(file, "delete it")
    given = without_file(record.environment.command)
    if given != words:
        raise StudyError(
            f"{file}: expected a session of `pytest {shlex.join(words)}`, found `pytest {shlex.join(given)}`; "
            "give another folder with --keep, or delete this one"
        )
    return record


@contextmanager
def beside(script: str) -> Iterator[None]:
    """Run Python code in another process until the block ends."""
    process = children.start([sys.executable, "-c", script])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def made_with() -> str:
    """Machine and versions in one line."""
    return ", ".join([cpu_name(), *(f"{name} {version}" for name, version in versions().items())])


def at_least(what: str, found: int, n: int, expected: float) -> bool:
    """Print how often something was so, and return whether that is often enough."""
    wanted = round(expected * n)
    print(f"{what}: {found} of {n}; expected at least {wanted}")
    return found >= wanted


def interval(ratio: Interval) -> str:
    return f"{ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f})"


def width(ratio: Interval) -> float:
    """Width of the interval, as a share of the ratio."""
    return (ratio.high - ratio.low) / ratio.value


def verdict(record: ComparisonRecord) -> str:
    """The verdict, and the reasons if it is withheld."""
    return f"{record.verdict} {'; '.join(record.reasons)}".strip()
