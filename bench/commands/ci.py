"""Run the gate in a job of GitHub Actions: what action.yml runs, with its inputs in the variables GATE_*.

    GATE_ONNX=models/*.onnx GATE_BASELINE=main python -m bench ci

The report is appended to $GITHUB_STEP_SUMMARY, `verdict` and `file` to $GITHUB_OUTPUT. Exit code 3, not decided, is 0
with a warning if GATE_UNDECIDED=warn.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

MISTAKE = "mistake"
NEEDS = ("numpy", "scipy", "tabulate", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add none: a job passes its inputs in variables, which no shell can take for code."""


def run(options: argparse.Namespace) -> int:
    """Run the gate; returns the exit code of the job."""
    from study.errors import StudyError

    try:
        return _run()
    except StudyError:
        _append("GITHUB_OUTPUT", f"verdict={MISTAKE}\n")
        raise


def _run() -> int:
    from bench.gate.ci import VERDICTS, Job, expand, run_job
    from study.errors import StudyError

    undecided = os.environ.get("GATE_UNDECIDED") or "fail"
    if undecided not in ("fail", "warn"):
        raise StudyError(f"undecided: expected fail or warn, found {undecided!r}")
    job = Job(
        onnx=expand(os.environ.get("GATE_ONNX", "")),
        baseline=os.environ.get("GATE_BASELINE", ""),
        limit=_limit(os.environ.get("GATE_LIMIT") or "5%"),
        processes=os.environ.get("GATE_PROCESSES") or "5",
        words=_words(os.environ.get("GATE_ARGS", "")),
        folder=Path(os.environ.get("GATE_FOLDER") or "latency").resolve(),
    )
    outcome = run_job(job)
    print(outcome.markdown, flush=True)
    _append("GITHUB_STEP_SUMMARY", f"## Latency gate\n\n{outcome.markdown}\n")
    verdict = VERDICTS.get(outcome.code, MISTAKE)
    _append("GITHUB_OUTPUT", f"verdict={verdict}\nfile={outcome.file}\n")
    if outcome.code == 3:
        level = "warning" if undecided == "warn" else "error"
        print(f"::{level} title=Latency gate::not decided; the summary says why and what to do")
        return 0 if undecided == "warn" else 3
    if outcome.code:
        print(f"::error title=Latency gate::{verdict}; the summary has the figures", file=sys.stdout)
    return outcome.code


def _limit(text: str) -> str:
    from bench.gate.limits import limits
    from study.errors import StudyError

    try:
        limits(text)
    except argparse.ArgumentTypeError as error:
        raise StudyError(f"limit: {error}") from None
    return text


def _words(text: str) -> tuple[str, ...]:
    from study.errors import StudyError

    try:
        return tuple(shlex.split(text))
    except ValueError:
        raise StudyError(f"args: expected words, quoted in pairs, found {text!r}") from None


def _append(variable: str, text: str) -> None:
    """Append to the file that a variable of GitHub Actions names, if it is set."""
    if name := os.environ.get(variable):
        with Path(name).open("a") as file:
            file.write(text)
