"""Which files the report is made from, which it consists of, and whether it is up to date.

Needs nothing but the standard library and `study`, so that finding out that nothing has changed takes no time.
"""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from study.artifacts import Artifacts, RunFiles, sha256
from study.errors import StudyError

PROJECT = Path(__file__).resolve().parent.parent
TABLES = ("summary", "runs", "sparsity", "latency", "convergence")
PICTURES = ("sparsity", "convergence", "latency")
REPORT = (
    *(f"{name}.csv" for name in TABLES),
    "summary.md",
    "summary.tex",
    *(f"{name}{suffix}" for name in PICTURES for suffix in (".svg", ".png")),
    "index.html",
)
"""Every file of a whole report."""

PACKAGES = ("jinja2", "matplotlib", "numpy", "onnx", "pandas", "tabulate")


@dataclass(frozen=True)
class Inputs:
    """The models asked for, the first being the baseline, and the files there are of them."""

    artifacts: Artifacts
    models: tuple[str, ...]
    runs: tuple[RunFiles, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The models without a finished run."""
        there = {run.model for run in self.runs}
        return tuple(model for model in self.models if model not in there)

    def files(self) -> Iterator[Path]:
        """Every file the report is made from, whether it exists or not."""
        for run in self.runs:
            yield from (run.record, run.history, run.predictions, run.export, run.onnx)
        yield self.artifacts.bench

    def fingerprint(self) -> str:
        """SHA-256 over the models, the input files, this program and the packages it draws with."""
        lines = [f"models {' '.join(self.models)}", f"python {sys.version}"]
        lines += [f"{package} {metadata.version(package)}" for package in PACKAGES]
        for path in self.files():
            lines.append(f"{path.relative_to(self.artifacts.root)} {sha256(path) if path.is_file() else 'missing'}")
        lines += [f"{path.relative_to(PROJECT)} {sha256(path)}" for path in sources()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def mark(self) -> Path:
        """Holds the fingerprint of the inputs that the report beside it was made from; written last."""
        return self.artifacts.report / "inputs.sha256"

    def reported(self, fingerprint: str) -> bool:
        """Whether there is a whole report made from inputs with this fingerprint."""
        whole = all((self.artifacts.report / name).is_file() for name in REPORT)
        return whole and self.mark.is_file() and self.mark.read_bytes().strip() == fingerprint.encode()


def sources() -> list[Path]:
    """The files that decide what a report looks like: this stage and what it uses of `study`."""
    patterns = ("analysis/*.py", "analysis/*.html", "study/artifacts.py", "study/catalogue.py", "study/schemas/*.json")
    return sorted(path for pattern in patterns for path in PROJECT.glob(pattern))


def find(artifacts: Artifacts, models: tuple[str, ...]) -> Inputs:
    """The finished runs of `models`.

    Raises:
        StudyError: there is not one.
    """
    inputs = Inputs(artifacts, models, tuple(run for model in models for run in artifacts.runs(model)))
    if not inputs.runs:
        raise StudyError(
            f"{artifacts.root}/models holds no finished run of {', '.join(models)}; run `python -m train` and "
            "`python -m export`"
        )
    return inputs
