"""Check ONNX files: in which runtimes do they load? Needs no torch and no data.

    python -m export check model.onnx                      what breaks where, how to mend it, and a table of runtimes
    python -m export check a.onnx b.onnx --runtimes onnxruntime,openvino     only what breaks in these
    python -m export check model.onnx --opset 17           a file of another opset than 18
    python -m export check resnet18                        the file of a model or module that has been exported

A file that this project exported has to keep every rule of docs/portability.md. Any other file may differ from that
form; it fails on what a runtime does not load or computes wrongly. The exit code is 1 if a file fails, and 2 if one is
missing or not an ONNX model; the others are still checked. No file is run, and weights in other files are not read:
`python -m export conformance --onnx FILE` runs one.
"""

import argparse
import os
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from study.artifacts import DEFAULT_ROOT, Artifacts
from study.command_line import Parser
from study.errors import StudyError, print_error, printable
from study.files import read_plain
from study.modules.exported import onnx_file
from study.text_table import terminal_width, text_table
from study.variants import OPSET

if TYPE_CHECKING:
    from export.portable.parsed import File
    from export.portable.rules import Violation

INDENT = "    "
FORM = "the portable form (rules R1-R10, R13)"


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m export check", description=(__doc__ or "").partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument(
        "files", metavar="FILE.onnx", type=Path, nargs="+", help="any ONNX model, or the name of an exported one"
    )
    parser.add_argument("--opset", type=int, default=OPSET, metavar="N", help="expected opset (default: %(default)s)")
    parser.add_argument("--runtimes", metavar="A,B", help="those that must load the file (default: all)")
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="of the names (%(default)s)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Check each file and print the result; `words` are those of the command line after "check"."""
    options = arguments(words)

    from export.portable import opsets
    from export.portable.engines import select
    from export.portable.rules import FOREIGN, RULES, is_own, violated

    opsets.check(options.opset)
    names = select(options.runtimes)
    code = 0
    for word in dict.fromkeys(options.files):
        try:
            path = onnx_file(word, Artifacts(options.artifacts))
        except StudyError as error:
            print_error(error)
            code = 2
            continue
        try:
            file = read(path, options.opset)
        except (StudyError, OSError) as error:
            print_error(error if isinstance(error, OSError) else StudyError(f"{path}: {error}"))
            code = 2
            continue
        own = is_own(file)
        found = violated(file, RULES if own else FOREIGN)
        code = max(code, int(any(own or violation.affects.breaks & names for violation in found)))
        for line in lines(path, found, names, own):
            print(line, flush=True)
    return code


def read(path: Path, opset: int = OPSET) -> "File":
    """The parsed file.

    Raises:
        StudyError: it is no ONNX model, or the file with its weights is missing; the message does not name it.
        OSError: it is missing or not accessible.
    """
    from export.portable.rules import parse
    from study.onnx_graph import NO_MODEL, check_calls, checked_size, tensors

    checked_size(path)
    file = parse(read_plain(path, None), opset)
    if file is None:
        raise StudyError(NO_MODEL)
    entries = (entry for tensor in tensors(file.model) for entry in tensor.external_data if entry.key == "location")
    for location in dict.fromkeys(entry.value for entry in entries):
        outside = Path(location).is_absolute() or ".." in Path(location).parts  # where nothing is looked for
        if not outside and not os.path.lexists(path.parent / location):
            raise StudyError(f"its weights are missing: {str(path.parent / location[:80])!r}; put that file there")
    check_calls(file.model)
    return file


def lines(path: Path, found: "Sequence[Violation]", names: frozenset[str], own: bool = False) -> Iterator[str]:
    """The result for one file: what breaks, what only differs, each with its remedy, and the table of runtimes.

    Args:
        own: whether it has to keep every rule.
    """
    from export.portable.expectations import expected

    name = printable(str(path))
    broken = [violation for violation in found if violation.affects.breaks & names]
    differing = [violation for violation in found if not violation.affects.breaks & names]
    if not found:
        yield f"{name}: portable (rules R1-R10, R13)"
        return
    rows = [row for engine, row in expected(found).items() if engine in names]
    failing = sum(row.loads == "no" for row in rows)
    rules = ", ".join(dict.fromkeys(violation.rule for violation in found))
    kept = f"breaks {rules}, which every file of this project keeps; " if own else ""
    yield f"{name}: {kept}breaks in {failing or 'none'} of {len(rows)} runtime{'s' if len(rows) > 1 else ''}"
    yield from _listed(broken, names)
    if differing:
        yield f"  only differs from {FORM}:"
        yield from _listed(differing, names)
    if any(violation.remedy.code for violation in found):
        yield "  (fixes go between `import numpy, onnx; model = onnx.load(FILE)` and `onnx.save(model, FILE)`)"
    yield "  loads in, as expected from its opset, IR version and operators (not tried):"
    width = terminal_width()
    cells = [(row.title, row.loads, row.reason) for row in rows]
    table = text_table(("runtime", "loads", "reason"), cells, (True,) * 3, width and width - len(INDENT))
    yield from textwrap.indent(table, INDENT).splitlines()


def _listed(found: "Sequence[Violation]", names: frozenset[str]) -> Iterator[str]:
    from export.portable.engines import titles

    for (remedy, breaks), group in groupby(found, key=lambda each: (each.remedy, each.affects.breaks & names)):
        yield from (f"  {violation.rule:3} {violation.description}" for violation in group)
        if breaks:
            yield f"      breaks: {titles(breaks, names)}"
        fixes = [*remedy.code.splitlines(), *filter(None, [remedy.advice])]
        marks = ["fix:", *[""] * (len(fixes) - 1)]
        if remedy.code and remedy.advice:
            marks[-1] = "or:"
        yield from (f"      {mark:7} {line}" for mark, line in zip(marks, fixes, strict=True))
