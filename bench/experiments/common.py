"""Shared by the experiments: the case, sessions of `pytest bench`, formatting of results."""

import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from bench import models
from bench.cases import Case
from bench.sampling import Budget
from study import catalogue
from study.artifacts import Artifacts
from study.bench_file import read_bench
from study.environment import cpu_name, versions
from study.errors import StudyError
from study.records.base import Interval
from study.records.bench import BenchRecord, ComparisonRecord


def case_of(options: Namespace, threads: int = 1) -> Case:
    """The case of the options."""
    model = models.from_catalogue(Artifacts(options.artifacts), catalogue.entry(options.model))
    return Case(model, options.runtime, options.batch, threads)


def budget_of(options: Namespace) -> Budget:
    return Budget(seconds=options.seconds)


def session(options: Namespace, runtimes: str) -> BenchRecord:
    """Measure the model in `runtimes` with a separate `pytest bench`, without cold starts.

    Raises:
        StudyError: the session failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.json"
        words = ["--models", options.model, "--runtimes", runtimes, "--batches", str(options.batch), "--cold-starts=0"]
        words += ["--seconds", str(options.seconds), "--artifacts", str(options.artifacts), f"--benchmark-json={file}"]
        done = subprocess.run([sys.executable, "-m", "pytest", "bench", *words], capture_output=True, text=True)
        if done.returncode:
            raise StudyError(f"`pytest bench` failed with exit code {done.returncode}:\n{done.stdout[-2000:]}")
        return read_bench(file, "")


def made_with() -> str:
    """Machine and versions in one line."""
    return ", ".join([cpu_name(), *(f"{name} {version}" for name, version in versions().items())])


def interval(record: ComparisonRecord) -> str:
    ratio = record.ratio
    return f"{ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f}), floor {record.noise_floor:.2%}"


def width(ratio: Interval) -> float:
    """Width of the interval, as a share of the ratio."""
    return (ratio.high - ratio.low) / ratio.value


def verdict(record: ComparisonRecord) -> str:
    """The verdict, and the reasons if it is withheld."""
    return f"{record.verdict} {'; '.join(record.reasons)}".strip()
