"""Shared by the experiments: the case, sessions of `pytest bench`, formatting of results."""

import tempfile
from argparse import Namespace
from pathlib import Path

from bench import models
from bench.cases import Case
from bench.processes import run_session
from bench.sampling import Budget
from study import catalogue
from study.artifacts import Artifacts
from study.environment import versions
from study.processor import cpu_name
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
    words = ["--models", options.model, "--runtimes", runtimes, "--batches", str(options.batch)]
    words += ["--seconds", str(options.seconds), "--artifacts", str(options.artifacts)]
    with tempfile.TemporaryDirectory() as folder:
        return run_session(["bench", *words], Path.cwd(), Path(folder) / "bench.json")


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
