"""Which files the report is made from, which it consists of, and whether it is up to date.

Needs nothing but the standard library and `study`, so that finding out that nothing has changed takes no time.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from study.artifacts import Artifacts, RunFiles, sha256
from study.errors import StudyError

PROJECT = Path(__file__).resolve().parent.parent
PICTURES = (
    *("sparsity", "weights_histogram", "pruning", "convergence"),
    *("latency", "comparisons", "throughput", "accuracy"),
)
TABLES = ("summary", "runs", *PICTURES, "cold_starts")
JSON = ("sparsity", "weights_histogram")
"""Tables that are there as JSON too."""
REPORT = (
    *(f"{name}.csv" for name in TABLES),
    *(f"{name}.json" for name in JSON),
    "summary.md",
    "summary.tex",
    *(f"{name}{suffix}" for name in PICTURES for suffix in (".svg", ".png")),
    "index.html",
)
"""Every file of a whole report."""

PACKAGES = ("jinja2", "matplotlib", "numpy", "onnx", "pandas", "tabulate")


@dataclass(frozen=True)
class Inputs:
    """The models asked for, the first being the baseline, and the files there are of them.

    `measures` are the texts of those of sparsity. `benches` are the files of `pytest bench`, which lie anywhere; one
    that was not asked for may be missing.
    """

    artifacts: Artifacts
    models: tuple[str, ...]
    runs: tuple[RunFiles, ...]
    benches: tuple[Path, ...]
    measures: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The models without a finished run."""
        there = {run.model for run in self.runs}
        return tuple(model for model in self.models if model not in there)

    def files(self) -> Iterator[Path]:
        """Every file the report is made from, whether it exists or not."""
        for run in self.runs:
            yield from (run.record, run.history, run.predictions, run.export, run.onnx, run.pruning)
        yield from self.benches

    def fingerprint(self) -> str:
        """SHA-256 over the models, the input files, this program and the packages it draws with."""
        lines = [f"models {' '.join(self.models)}", f"measures {self.measures}", f"python {sys.version}"]
        lines += [f"{package} {metadata.version(package)}" for package in PACKAGES]
        for path in self.files():
            name = path.relative_to(self.artifacts.root) if path.is_relative_to(self.artifacts.root) else path
            lines.append(f"{name} {sha256(path) if path.is_file() else 'missing'}")
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
    patterns = (
        "analysis/**/*.py",
        "analysis/*.html",
        "study/artifacts.py",
        "study/catalogue.py",
        "study/idx.py",
        "study/reasons.py",
        "study/schemas/*.json",
    )
    return sorted(path for pattern in patterns for path in PROJECT.glob(pattern))


def find(
    artifacts: Artifacts, models: tuple[str, ...], benches: Sequence[Path] = (), measures: Sequence[str] = ()
) -> Inputs:
    """The finished runs of `models`, and the files of measurements: `benches`, or else the one among the artifacts.

    Raises:
        StudyError: there is no run, or no file of a name in `benches`.
    """
    missing = next((path for path in benches if not path.is_file()), None)
    if missing is not None:
        raise StudyError(f"{missing} is missing; run `pytest bench --benchmark-json={missing}` to measure it")
    once = tuple({path.resolve(): path for path in reversed(benches)}.values())[::-1]
    runs = tuple(run for model in models for run in artifacts.runs(model))
    if not runs:
        raise StudyError(
            f"{artifacts.root}/models holds no finished run of {', '.join(models)}; run `python -m train` and "
            "`python -m export`"
        )
    return Inputs(artifacts, models, runs, once or (artifacts.bench,), tuple(measures))
