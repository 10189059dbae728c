"""Check ONNX files against the portability rules of docs/portability.md. Needs no torch and no data.

    python -m export check model.onnx                   "model.onnx: portable (rules R1-R10, R13)", or its violations
    python -m export check a.onnx b.onnx --opset 17     files of another opset than 18

The exit code is 1 if a file breaks a rule, and 2 if one is missing or not an ONNX model; the others are still checked.
No file is run. Weights in other files are not read: such a file breaks a rule.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import StudyError, print_error
from study.variants import OPSET

if TYPE_CHECKING:
    from export.portable.rules import Violation


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m export check", description=(__doc__ or "").partition("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("files", metavar="FILE.onnx", type=Path, nargs="+", help="any ONNX model")
    parser.add_argument("--opset", type=int, default=OPSET, metavar="N", help="expected opset (default: %(default)s)")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Check each file and print the result; `words` are those of the command line after "check"."""
    options = arguments(words)

    from export.portable.rules import R13, violations
    from study.onnx_graph import checked_size

    code = 0
    for path in dict.fromkeys(options.files):
        try:
            checked_size(path)
            broken = violations(path.read_bytes(), options.opset)
            if broken and broken[0].rule == R13:
                raise StudyError(f"expected an ONNX model: {broken[0].description}")
        except (StudyError, OSError) as error:
            print_error(error if isinstance(error, OSError) else StudyError(f"{path}: {error}"))
            code = 2
            continue
        code = max(code, int(bool(broken)))
        for line in lines(path, broken):
            print(line, flush=True)
    return code


def lines(path: Path, broken: "Sequence[Violation]") -> Iterator[str]:
    """The result for one file, with its violations grouped by rule."""
    name = str(path) if str(path).isprintable() else ascii(str(path))
    if not broken:
        yield f"{name}: portable (rules R1-R10, R13)"
        return
    yield f"{name}: breaks {', '.join(dict.fromkeys(violation.rule.name for violation in broken))}"
    for rule, group in groupby(broken, key=lambda violation: violation.rule):
        yield from (f"  {rule.name:3} {violation.description}" for violation in group)
        yield f"      breaks: {rule.breaks}"
        yield f"      fix:    {rule.remedy}"
