"""Compare two models, engines, settings, environments or checkouts: A and B take turns in pairs of fresh processes.

    python -m bench ab old.onnx new.onnx                             two files
    python -m bench ab baseline baseline,variant=int8-static         two exports of a model of the catalogue
    python -m bench ab m.onnx,threads=1 m.onnx,threads=2             two thread counts
    python -m bench ab m.onnx m.onnx,runtime=openvino                two engines
    python -m bench ab m.onnx m.onnx,options=graph_optimization_level:basic
    python -m bench ab m.onnx m.onnx,python=/venvs/ort130/bin/python two versions of an engine
    python -m bench ab baseline,checkout=../base baseline --fail-above 3%

Settings of a side: variant, threads, runtime, options, python, checkout, artifacts; docs/ab.md has each. The ratio is
B / A: below 1 B is faster. Exit code: 0 done; with --fail-above 0 if B is shown not to be slower by more, 1 if it is
shown to be, 3 if that cannot be decided; 2 a mistake, 130 interrupted.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.shares import share
from study.artifacts import DEFAULT_ROOT
from study.selection import add_options

if TYPE_CHECKING:
    from bench.ab.session import Plan, Session

NEEDS = ("onnx", "scipy", "tabulate")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = __doc__
    add = parser.add_argument
    add("a", metavar="A", help="an ONNX file or a model of the catalogue, with settings after commas")
    add("b", metavar="B", help="the side that may have become slower")
    add("--batches", default="1", metavar="N,M", help="items per call (default: %(default)s)")
    add("--shape", action="append", default=[], metavar="NAME=N,M", help="shape of an input of an ONNX file")
    add("--input", action="append", default=[], metavar="NAME=VALUE", help="its value, 16000, or range, 0..30521")
    add("--feed", action="append", default=[], type=Path, metavar="FILE.npz", help="arrays for a call, by input")
    add("--size", action="append", default=[], metavar="NAME=N", help="size of a named dimension, such as sequence=128")
    add("--tolerance", type=float, metavar="X", help="largest difference, / an output's largest value (by dtype)")
    add("--threads", default=1, type=int, metavar="N", help="of a side without threads= (default: %(default)s)")
    add("--mode", default="native", choices=["native", "numpy"], help="native: the engine's own types")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="default: %(default)s")
    add("--cpus", default=None, metavar="N,M-K", help="cores that the processes run on (default: any)")
    add("--processes", default=5, type=int, metavar="N", help="pairs of fresh processes (default: %(default)s)")
    add(
        "--seconds",
        default=2.0,
        type=float,
        metavar="S",
        help="in each, for a batch size (default: %(default)s)",
    )
    add("--margin", default=0.02, type=share, metavar="2%", help="difference that counts as none (default: 2%%)")
    add("--fail-above", type=share, metavar="3%", help="a gate: B may take up to this much longer than A")
    add("--format", default="table", choices=["table", "markdown", "json"], help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="also write the record (docs/formats.md) to this file")
    add("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    add("--data", default=None, type=Path, metavar="DIR", help="folder with the files of the data sets")
    add("--seed", default=0, type=int, metavar="N", help="of the order and the places in memory")
    add_options(add)


def run(options: argparse.Namespace) -> int:
    """Measure and report; returns the exit code of the gate."""
    from bench.ab.report import code, paragraphs
    from bench.ab.session import Session
    from bench.machine.cpus import chosen_cpus, pin
    from bench.session_folder import folder as session_folder

    session_folder()  # of files that are compiled once for all processes, which inherit its name
    plan = _plan(options)
    pin(chosen_cpus(options.cpus))  # which the processes inherit
    session = Session(plan, lambda line: print(line, file=sys.stderr, flush=True))
    with tempfile.TemporaryDirectory(dir=session_folder()) as folder:
        _measure(session, Path(folder), options.json)
    record = session.record()
    assert record
    if options.format == "json":
        from study.record_files import as_json

        print(json.dumps(as_json(record), indent=2))
    else:
        print("\n\n".join(paragraphs(record, plan.sides, options.fail_above, options.format == "markdown")), flush=True)
    return code(record, options.fail_above)


def check_effort(processes: int, seconds: float) -> None:
    """
    Raises:
        StudyError: too few processes for an interval, or no time.
    """
    from bench.statistics.estimates import FEWEST_PROCESSES
    from study.errors import StudyError

    if not 0 < seconds < math.inf or processes < FEWEST_PROCESSES:
        raise StudyError(f"expected --seconds above 0 and --processes from {FEWEST_PROCESSES}")


def _plan(options: argparse.Namespace) -> "Plan":
    from bench.ab.check import batch_sizes
    from bench.ab.session import Plan
    from bench.ab.sides import side
    from study.data import datasets
    from study.errors import StudyError
    from study.onnx_given import checked_tolerance, parse_given

    check_effort(options.processes, options.seconds)
    words = options.batches.split(",")
    if not all(word.isascii() and word.isdecimal() and int(word) for word in words):
        raise StudyError(f"--batches: expected numbers from 1 with commas between them, found {options.batches!r}")
    if options.json and options.json.is_dir():
        raise StudyError(f"--json: expected the name of a file, {options.json} is a folder")
    checked_tolerance(options.tolerance)
    given = parse_given(options.shape, options.input, options.feed, options.size)
    sides = side("A", options.a, options, given), side("B", options.b, options, given)
    named = options.shape or options.input or options.feed or options.size or options.tolerance is not None
    if named and not any(one.model.is_file for one in sides):
        words = "--shape, --input, --feed, --size and --tolerance"
        raise StudyError(f"{words} apply to an ONNX file, A and B are models by name; export a module with other sizes")
    for one in sides:
        if one.model.entry and one.model.data:
            datasets.prepare([one.model.entry.dataset], one.model.data, options.data)
    return Plan(
        sides=sides,
        batches=batch_sizes(sides, list(dict.fromkeys(map(int, words)))),
        processes=options.processes,
        seconds=options.seconds,
        margin=options.margin,
        seed=options.seed,
        words=tuple(sys.argv[2:]),
    )


def _measure(session: "Session", folder: Path, target: Path | None) -> None:
    """Run the session, and write what it has measured, whether or not it ends well."""
    from bench.ab.session import partial
    from study.errors import StudyError
    from study.record_files import write_record

    try:
        session.run(folder)
    except (StudyError, KeyboardInterrupt) as error:
        if target and (record := session.record()):
            write_record(target, partial(record, str(error) or "interrupted"))
            print(f"wrote {target}, with the pairs of processes that had ended", file=sys.stderr)
        raise
    if target and (record := session.record()):
        write_record(target, record)
