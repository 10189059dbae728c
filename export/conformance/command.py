"""`python -m export conformance`: does each exported file, or any other, compute the same in every runtime?

    python -m export conformance gap                       the exported file of a model of the catalogue
    python -m export conformance resnet18                  the file of an exported module, with the inputs of its proof
    python -m export conformance --onnx FILE.onnx          any file, with random inputs of its signature
    python -m export conformance --onnx FILE.onnx --input sr=16000 --shape audio=1,512 --runtimes openvino,tract

The exit code is 1 if a runtime that is expected to run the file (`python -m export check`) does not, or computes
something else.
"""

import argparse
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from export.conformance.cells import BATCHES, ModelFile, Subject, run_cell
from export.conformance.environments import Prepared, browser_version, prepare
from export.conformance.programs import DOCUMENT
from export.conformance.runtimes import RUNTIMES, Runtime, select
from export.options import add_arguments
from study.artifacts import Artifacts
from study.command_line import Parser
from study.cores import usable_cores
from study.environment import environment
from study.errors import StudyError, one_line, printable
from study.modules.exported import given_of
from study.modules.files import current_module, module_files
from study.onnx_given import Given, checked_tolerance, parse_given
from study.record_files import write_record
from study.records.export import CellRecord, PortabilityRecord, RuntimeRecord
from study.selection import selected
from study.text_table import terminal_width, text_table
from study.variants import STANDARD_NAME

AT_ONCE = 2
"""Maximum number of programs that run at the same time."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m export conformance",
        description="Run the exported models, or any ONNX file, in each runtime of docs/portability.md, in an "
        "environment of its own, and compare the results with PyTorch's, or ONNX Runtime's.",
        allow_abbrev=False,
    )
    add_arguments(parser)
    parser.add_argument("--onnx", metavar="FILE", type=Path, help="any ONNX file instead of the exported models")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=N,M", help="shape of an input of FILE")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=VALUE", help="its value or range, 0..9")
    parser.add_argument("--feed", action="append", default=[], type=Path, metavar="FILE.npz", help="inputs by name")
    parser.add_argument("--size", action="append", default=[], metavar="NAME=N", help="size of a named dimension")
    parser.add_argument("--tolerance", type=float, metavar="X", help="largest difference / an output's largest value")
    parser.add_argument("--batches", metavar="N,M", default="1,2", help="batch sizes of FILE (default: %(default)s)")
    names = ",".join(runtime.name for runtime in RUNTIMES)
    parser.add_argument("--runtimes", metavar="A,B", help=f"some of {names} (default: all)")
    parser.add_argument(
        "--variants",
        metavar="A,B",
        default=STANDARD_NAME,
        help="exported variants, such as standard,int8-static (default: %(default)s)",
    )
    parser.add_argument(
        "--images", type=int, default=256, metavar="N", help="the first N test images (default: %(default)s)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run all cells and write portability.json; 1 if a cell failed."""
    options = arguments(words)
    if options.onnx is not None:
        if options.models:
            raise StudyError(f"--onnx: expected no models of the catalogue beside it, found {' '.join(options.models)}")
        given = parse_given(options.shape, options.input, options.feed, options.size)
        return run_file(options, options.onnx, given, checked_tolerance(options.tolerance))
    if options.shape or options.input or options.feed or options.size or options.tolerance is not None:
        raise StudyError("--shape, --input, --feed, --size and --tolerance: expected --onnx FILE with them")
    code = 0
    entries = selected(options, options.models)
    if modules := [entry.name for entry in entries if entry.is_module]:
        for name in modules:
            files = module_files(Artifacts(options.artifacts), name)
            module = current_module(files)
            code = max(code, run_file(options, files.onnx, given_of(module), module.tolerance))
        options.models = [entry.name for entry in entries if not entry.is_module]
        if not options.models:
            return code
    from export.conformance.subjects import find_subjects  # imports torch

    if options.images < 1:
        raise StudyError(f"--images: expected at least 1, found {options.images}")
    artifacts = Artifacts(options.artifacts)
    runtimes = select(options.runtimes)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        subjects = find_subjects(options, artifacts, Path(name))
        record = measure(runtimes, subjects, artifacts, Path(name))
    write_record(artifacts.portability, record)
    for line in summary(record):
        print(line)
    print(f"wrote {artifacts.portability}", flush=True)
    if any(cell.reason == "interrupted" for cell in record.cells):
        print("interrupted: the finished cells are written; the next run starts again", file=sys.stderr)
        return 130
    return max(code, int(any(cell.verdict == "failed" for cell in record.cells)))


def run_file(options: argparse.Namespace, path: Path, given: Given, tolerance: float | None) -> int:
    """Run a user's file with these inputs and print a table; 1 if a runtime that is expected to run it fails."""
    from export.conformance.any_file import HEADINGS, find, runtimes, table

    parts = options.batches.split(",")
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) < 10**6 for part in parts):
        raise StudyError(f"--batches: expected sizes such as 1,2, found {options.batches!r}")
    batches = list(dict.fromkeys(map(int, parts)))
    chosen = runtimes(options.runtimes)
    artifacts = Artifacts(options.artifacts)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        file, parsed = find(path, given, batches, artifacts, Path(name).absolute(), tolerance)
        _, cells = run_all(chosen, [file], artifacts, Path(name).absolute(), None)
    rows, failed = table(parsed, cells, chosen)
    against = (
        f"compared with {file.reference}"
        if file.reference
        else "neither ONNX Runtime nor the reference evaluator runs it"
    )
    print(f"\n{printable(str(path))}, batch {', '.join(map(str, file.batches))}: {against}")
    print(text_table(HEADINGS, rows, [True] * len(HEADINGS), terminal_width()))
    if any(cell.reason == "interrupted" for cell in cells):
        return 130
    return int(failed)


def measure(
    runtimes: Sequence[Runtime],
    subjects: Sequence[Subject],
    artifacts: Artifacts,
    work: Path,
    document: Path = DOCUMENT,
) -> PortabilityRecord:
    """Run every runtime on every subject at every batch size."""
    records, cells = run_all(runtimes, subjects, artifacts, work, document)
    return PortabilityRecord(
        environment=environment(),
        images=len(subjects[0].expected[BATCHES[0]]),
        batches=BATCHES,
        runtimes=records,
        cells=cells,
    )


def run_all(
    runtimes: Sequence[Runtime], files: Sequence[ModelFile], artifacts: Artifacts, work: Path, document: Path | None
) -> tuple[tuple[RuntimeRecord, ...], tuple[CellRecord, ...]]:
    """Run every runtime on every file at every batch size; once interrupted, the remaining cells are "not run".

    Args:
        document: has the programs; None for those that run any model.
    """
    stop = threading.Event()
    prepared: dict[str, Prepared] = {}
    running: list[Future[CellRecord]] = []
    planned = [(runtime, file, batch) for runtime in runtimes for file in files for batch in file.batches]
    with ThreadPoolExecutor(min(AT_ONCE, usable_cores())) as pool:
        try:
            for runtime in runtimes:
                folder = artifacts.environments / (runtime.environment or runtime.name)
                (work / runtime.name).mkdir(exist_ok=True)
                prepared[runtime.name] = prepare(runtime, folder, work / runtime.name, document)
                print(f"{runtime.name}: {prepared[runtime.name].reason or 'ready'}", flush=True)
            for runtime, file, batch in planned:
                running.append(pool.submit(run_cell, runtime, prepared[runtime.name], file, batch, stop=stop))
            for future in as_completed(running):
                print(line(future.result()), flush=True)
        except BaseException as error:
            stop.set()
            pool.shutdown(cancel_futures=True)
            if not isinstance(error, KeyboardInterrupt):
                raise
    finished = {n: future.result() for n, future in enumerate(running) if not future.cancelled()}
    interrupted = Prepared(reason="interrupted")
    return (
        tuple(described(runtime, prepared.get(runtime.name, interrupted)) for runtime in runtimes),
        tuple(
            finished.get(n) or run_cell(runtime, interrupted, file, batch)
            for n, (runtime, file, batch) in enumerate(planned)
        ),
    )


def described(runtime: Runtime, prepared: Prepared) -> RuntimeRecord:
    """The entry of a runtime in portability.json."""
    version = runtime.version
    browser = browser_version() if runtime.kind == "browser" else ""
    return RuntimeRecord(
        name=runtime.name,
        title=" ".join(runtime.title.format(version=version or "", browser=browser).split()),
        version=version,
        largest_difference=runtime.largest_difference,
        because=runtime.because,
        reason=None if prepared.broken else prepared.reason,
    )


def line(cell: CellRecord) -> str:
    """A cell for the terminal."""
    name = cell.model if cell.variant == STANDARD_NAME else f"{cell.model} {cell.variant}"
    parts = (
        f"{cell.runtime}: {name}, batch {cell.batch}: {cell.verdict}",
        f"largest difference {cell.max_abs_difference:.1e}" if cell.max_abs_difference is not None else "",
        f"{cell.seconds:.1f} s" if cell.seconds is not None else "",
        one_line(StudyError(cell.reason)) if cell.reason else "",
    )
    return ", ".join(filter(None, parts))


def summary(record: PortabilityRecord) -> Iterator[str]:
    """One line for each runtime, and the totals."""
    for runtime in record.runtimes:
        cells = [cell for cell in record.cells if cell.runtime == runtime.name]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in _counts(cells).items() if count)
        largest = max((cell.max_abs_difference for cell in cells if cell.max_abs_difference is not None), default=None)
        difference = f", largest difference {largest:.1e}" if largest is not None else ""
        reason = f" ({one_line(StudyError(runtime.reason))})" if runtime.reason else ""
        yield f"{runtime.title}: {counts}{difference}{reason}"
    totals = ", ".join(f"{count} {verdict}" for verdict, count in _counts(record.cells).items())
    yield f"{totals}, {record.images} images each"


def _counts(cells: Sequence[CellRecord]) -> dict[str, int]:
    return {verdict: sum(cell.verdict == verdict for cell in cells) for verdict in ("passed", "failed", "not run")}
