"""A made-up study whose every number is known, and the analysis command run on it."""

import csv
import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from analysis.inputs.files import find
from analysis.inputs.runs import Study, read_study
from study.artifacts import Artifacts
from study.errors import StudyError
from tests.support.synthetic import case, cold_start, comparison, layers, write_bench, write_run

PROJECT = Path(__file__).parent.parent.parent
BASELINE_ERRORS = (0.080, 0.083, 0.079)
L1_ERRORS = (0.101, 0.102, 0.106)
Rows = list[dict[str, str]]


def analyse(root: Path, *words: str) -> tuple[str, str]:
    """Run the command in this process; gives what it said on standard output and on standard error."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        assert main(["--artifacts", str(root), *words]) == 0
    return output.getvalue(), errors.getvalue()


def command(
    root: Path, *words: str, python: tuple[str, ...] = ("-m", "analysis")
) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own."""
    line = [sys.executable, *python, "--artifacts", str(root), *words]
    return subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)


def rows(root: Path, name: str) -> Rows:
    with (root / "report" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def row(root: Path, name: str, **where: Any) -> dict[str, str]:
    """The one row with these values."""
    (found,) = [r for r in rows(root, name) if all(r[key] == str(value) for key, value in where.items())]
    return found


def write_study(artifacts: Artifacts) -> None:
    """Three models of two to three runs, one of them without a fully-connected layer, and their latencies."""
    for seed, (baseline, l1) in enumerate(zip(BASELINE_ERRORS, L1_ERRORS, strict=True)):
        write_run(artifacts, "baseline", seed, layers(seed), test_error=baseline, train_error=0.05)
        write_run(artifacts, "l1-1e-3", seed, layers(seed, zeros=0.25 * (seed + 1)), test_error=l1)
    for seed in range(2):
        write_run(artifacts, "gap", seed, {}, test_error=0.081, parameters=12_502)
    write_bench(
        artifacts,
        [
            case(artifacts, "baseline", "torch", 1, 110e-6),
            case(artifacts, "baseline", "onnxruntime", 1, 20e-6),
            case(artifacts, "baseline", "torch", 32, 900e-6),
            case(artifacts, "gap", "onnxruntime", 1, 30e-6, valid=False, reasons=["1.6 cores <busy> & hot"]),
            case(artifacts, "gap", "torch", 1, 120e-6),
        ],
        [
            comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.6),
            comparison(artifacts, "baseline", 32, 1.001, 0.99, 1.01),
            comparison(artifacts, "gap", 1, 4.1, 3.9, 4.2, verdict="withheld", valid=False, reasons=["hot & <b>"]),
        ],
        [cold_start(artifacts, "baseline", "torch"), cold_start(artifacts, "gap", "onnxruntime", total_seconds=0.05)],
    )


def study_of(artifacts: Artifacts, *models: str) -> Study:
    """The study of these models, or of the baseline, as it is read."""
    return read_study(find(artifacts, models or ("baseline",)))


def refusal(artifacts: Artifacts) -> str:
    """The one line with which the artifacts are refused."""
    with pytest.raises(StudyError) as error:
        read_study(find(artifacts, ("baseline",)))
    message = str(error.value)
    assert "\n" not in message
    assert str(artifacts.root) in message
    return message
