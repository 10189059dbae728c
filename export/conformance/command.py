"""`python -m export conformance [MODEL ...]`: does each exported file compute the same in every runtime?"""

import argparse
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.conformance.programs import DOCUMENT
from study.artifacts import DEFAULT_ROOT, Artifacts, write_json
from study.errors import StudyError, one_line
from study.selection import add_options

if TYPE_CHECKING:
    from export.conformance.cells import Subject
    from export.conformance.environments import Prepared
    from export.conformance.runtimes import Runtime

AT_ONCE = 2
"""Programs that are run at a time, at most."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    from export.conformance.runtimes import RUNTIMES

    parser = argparse.ArgumentParser(
        prog="python -m export conformance",
        description="Run the programs of docs/portability.md on the exported models, each runtime in an environment of "
        "its own, and compare what they compute with PyTorch.",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names from the catalogue; without any, the study")
    add_options(parser.add_argument)
    names = ",".join(runtime.name for runtime in RUNTIMES)
    parser.add_argument("--runtimes", metavar="A,B", help=f"only these of {names}")
    parser.add_argument(
        "--variants",
        metavar="A,B",
        default="standard",
        help="forms that the models were exported in, such as standard,int8-static (default: %(default)s)",
    )
    parser.add_argument("--images", type=int, default=256, metavar="N", help="the first N test images (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data sets' files (or STUDY_DATA)")
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="where results lie (default: %(default)s)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure all cells, write portability.json; 1 where a cell failed."""
    options = arguments(words)
    from export.conformance.cells import BATCHES
    from export.conformance.runtimes import select
    from export.conformance.subjects import find

    if options.images < 1:
        raise StudyError(f"--images: expected at least 1, found {options.images}")
    artifacts = Artifacts(options.artifacts)
    runtimes = select(options.runtimes)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        subjects = find(options, artifacts, Path(name))
        record = measure(runtimes, subjects, artifacts, Path(name), images=len(subjects[0].expected[BATCHES[0]]))
    write_json(artifacts.portability, record)
    verdicts = [cell["verdict"] for cell in record["cells"]]
    for line in summary(record):
        print(line)
    print(f"wrote {artifacts.portability}", flush=True)
    if any(cell["reason"] == "interrupted" for cell in record["cells"]):
        print("interrupted: what was measured is written; another run begins anew", file=sys.stderr)
        return 130
    return int("failed" in verdicts)


def measure(
    runtimes: "Sequence[Runtime]",
    subjects: "Sequence[Subject]",
    artifacts: Artifacts,
    work: Path,
    images: int,
    document: Path = DOCUMENT,
) -> dict[str, Any]:
    """The content of portability.json. Interrupted, it has the cells that were measured; the others are "not run"."""
    from export.conformance.cells import BATCHES, cell
    from export.conformance.environments import Prepared
    from study.environment import environment, usable_cores

    stop = threading.Event()
    prepared: dict[str, Prepared] = {}
    running: list[Future[dict[str, Any]]] = []
    todo = [(runtime, subject, batch) for runtime in runtimes for subject in subjects for batch in BATCHES]
    with ThreadPoolExecutor(min(AT_ONCE, usable_cores())) as pool:
        try:
            for runtime, found in _prepared(runtimes, artifacts, work, document):
                prepared[runtime.name] = found
            for runtime, subject, batch in todo:
                running.append(pool.submit(cell, runtime, prepared[runtime.name], subject, batch, stop=stop))
            for future in as_completed(running):
                print(line(future.result()), flush=True)
        except BaseException as error:
            stop.set()
            pool.shutdown(cancel_futures=True)
            if not isinstance(error, KeyboardInterrupt):
                raise
    measured = [future.result() for future in running if not future.cancelled()]
    cells = {(record["runtime"], record["model"], record["batch"]): record for record in measured}
    interrupted = Prepared(reason="interrupted")
    return {
        "schema": "portability/1",
        "environment": environment(),
        "images": images,
        "batches": list(BATCHES),
        "runtimes": [described(runtime, prepared.get(runtime.name, interrupted)) for runtime in runtimes],
        "cells": [
            cells.get((runtime.name, subject.model, batch)) or cell(runtime, interrupted, subject, batch)
            for runtime, subject, batch in todo
        ],
    }


def _prepared(
    runtimes: "Sequence[Runtime]", artifacts: Artifacts, work: Path, document: Path
) -> "Iterator[tuple[Runtime, Prepared]]":
    from export.conformance.environments import prepare

    for runtime in runtimes:
        folder = work / runtime.name
        folder.mkdir()
        found = prepare(runtime, artifacts.environments / (runtime.environment or runtime.name), folder, document)
        print(f"{runtime.name}: {'ready' if found.reason is None else found.reason}", flush=True)
        yield runtime, found


def described(runtime: "Runtime", prepared: "Prepared") -> dict[str, Any]:
    """A runtime as portability.json has it."""
    from export.conformance.environments import browser_version

    version = runtime.version
    browser = browser_version() if runtime.kind == "browser" else ""
    return {
        "name": runtime.name,
        "title": " ".join(runtime.title.format(version=version or "", browser=browser).split()),
        "version": version,
        "largest_difference": runtime.largest_difference,
        "because": runtime.because,
        "reason": None if prepared.broken else prepared.reason,
    }


def line(cell: dict[str, Any]) -> str:
    """A cell for the terminal."""
    difference, reason = cell["max_abs_difference"], cell["reason"]
    told = (
        f"{cell['runtime']}: {cell['model']}, batch {cell['batch']}: {cell['verdict']}",
        f"largest difference {difference:.1e}" if difference is not None else "",
        f"{cell['seconds']:.1f} s" if cell["seconds"] is not None else "",
        one_line(StudyError(reason)) if reason else "",
    )
    return ", ".join(filter(None, told))


def summary(record: dict[str, Any]) -> Iterator[str]:
    """A line for each runtime, and one for all."""
    verdicts = ("passed", "failed", "not run")
    totals = dict.fromkeys(verdicts, 0)
    for runtime in record["runtimes"]:
        cells = [cell for cell in record["cells"] if cell["runtime"] == runtime["name"]]
        counts = {verdict: sum(cell["verdict"] == verdict for cell in cells) for verdict in verdicts}
        totals = {verdict: totals[verdict] + counts[verdict] for verdict in verdicts}
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
        largest = max((c["max_abs_difference"] for c in cells if c["max_abs_difference"] is not None), default=None)
        difference = f", largest difference {largest:.1e}" if largest is not None else ""
        reason = f" ({one_line(StudyError(runtime['reason']))})" if runtime["reason"] else ""
        yield f"{runtime['title']}: {told}{difference}{reason}"
    yield ", ".join(f"{count} {verdict}" for verdict, count in totals.items()) + f", {record['images']} images each"
