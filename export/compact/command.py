"""Make a smaller ONNX file that computes the same, of any ONNX file: `python -m export compact FILE.onnx`.

    python -m export compact model.onnx -o small.onnx     remove the units that decide nothing
    python -m export compact model.onnx --sparse          store weights sparsely where that is smaller
    python -m export compact model.onnx --int8 dynamic    quantise; then the outputs only nearly agree
    python -m export compact NAME                         of an exported module, into artifacts/zeros/NAME

Both files are run in ONNX Runtime on seeded inputs, and nothing is written unless their outputs agree to 1e-6 of the
largest value. A record lies beside the file, as OUT.json. Exit code: 0 written or nothing to do, 1 not proven, 2 a
mistake or a bad file.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.outcome import DONE, NOT_PROVEN
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.command_line import Parser
from study.errors import StudyError, print_error
from study.modules.exported import given_of, onnx_file
from study.modules.files import current_module, module_files
from study.record_files import read_record
from study.variants import Variant

if TYPE_CHECKING:
    from study.records.compact import CompactRecord


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m export compact",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("file", metavar="FILE.onnx", type=Path, help="any ONNX model, or the name of an exported module")
    add("-o", "--output", metavar="OUT.onnx", type=Path, help="default: FILE-VARIANT.onnx beside it")
    add("--remove-dead", action="store_true", help="remove dead units (the default if nothing is asked for)")
    add("--sparse", action="store_true", help="store weights as their nonzero values, where that is smaller")
    add("--int8", choices=("dynamic",), help="quantise, with ranges measured in every call")
    add("--shape", action="append", default=[], metavar="NAME=N,M", help="shape of an input of the proof")
    add("--size", action="append", default=[], metavar="NAME=N", help="size of a named dimension")
    add("--input", action="append", default=[], metavar="NAME=VALUE", help="its value, 16000, or range, 0..30521")
    add("--feed", action="append", default=[], type=Path, metavar="FILE.npz", help="arrays of a call, by input")
    add("--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="of the names (%(default)s)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(sys.argv[2:] if words is None else words)
    wanted = options.remove_dead or not (options.sparse or options.int8)
    variant = Variant(remove_dead=wanted, sparse=options.sparse, int8=options.int8)
    variant.check()

    from export.compact.files import UnprovenError, compact
    from export.compact.removal import NothingError
    from study.onnx_given import parse_given

    given = parse_given(options.shape, options.input, options.feed, options.size)
    artifacts = Artifacts(options.artifacts)
    file = onnx_file(options.file, artifacts)
    if file != options.file and artifacts.runs(str(options.file)):
        raise StudyError(f"{options.file} is a trained model: run `python -m export {options.file}{variant.options}`")
    target = file.with_name(f"{variant.named(file.stem)}.onnx")
    module = module_files(artifacts, str(options.file))
    if file == module.onnx:
        target = artifacts.zeros(module.name) / f"{variant.name}.onnx"
        its = given_of(current_module(module))
        given = replace(given, values={**its.values, **given.values}, sizes={**its.sizes, **given.sizes})
    target = options.output or target
    check_target(target, file)
    try:
        record = compact(file, target, variant, given)
    except NothingError as error:
        print(f"{file}: {error}; no file is written")
        return DONE
    except UnprovenError as error:
        print_error(error)
        return NOT_PROVEN
    for line in lines(record, target):
        print(line)
    return DONE


def check_target(target: Path, source: Path) -> None:
    """
    Raises:
        StudyError: the file, or its record beside it, would take the place of something else.
    """
    from study.records.compact import CompactRecord

    if target.suffix != ".onnx":
        raise StudyError(f"-o {target}: expected a name that ends in .onnx; the record gets the same name with .json")
    for path in (target, target.with_suffix(".json")):
        if path.exists() and not path.is_file():
            raise StudyError(f"-o {target}: expected the name of a file, found another thing called {path}")
    if target.exists() and target.resolve() == source.resolve():
        raise StudyError(f"-o {target}: expected another file than {source}")
    record = target.with_suffix(".json")
    if record.exists():
        try:
            read_record(record, CompactRecord, "")
        except StudyError:
            raise StudyError(
                f"-o {target}: its record would replace {record}, which is none of this command; choose another name"
            ) from None


def lines(record: "CompactRecord", target: Path) -> list[str]:
    """What was done, in words."""
    from export.compact.removal import describe

    parts = [describe(record.removed)] if any(one.before > one.after for one in record.removed) else []
    smaller = [one for one in record.sparse if one.sparse_bytes < one.dense_bytes]
    parts += [f"{one.tensor} {one.elements - one.nonzero:,} of {one.elements:,} zeros left out" for one in smaller]
    proof = f"{record.calls} calls, largest difference {record.max_rel_difference:.1e} of the largest value"
    share = record.bytes / record.source_bytes
    sizes = f"{record.source_bytes:,} -> {record.bytes:,} bytes ({share:.0%})"
    return [*parts, *(f"note: {note}" for note in record.notes), f"{proof}, {sizes}, wrote {target}"]
