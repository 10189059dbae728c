"""Does an ONNX file hold to the rules of docs/portability.md? Needs no torch and no data.

    python -m export check model.onnx                   "model.onnx: portable (rules R1-R10, R13)", or what it breaks
    python -m export check a.onnx b.onnx --opset 17     files that are meant to be of another opset than 18

The exit code is 1 if a file breaks a rule, and 2 if one is missing or no ONNX model; the others are checked all the
same. A file is not run, and weights in other files are not read: that they are there breaks a rule.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import StudyError, tell
from study.onnx_graph import checked_size
from study.variants import OPSET

if TYPE_CHECKING:
    from export.portable.rules import Violation


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m export check", description=(__doc__ or "").partition("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("files", metavar="FILE.onnx", type=Path, nargs="+", help="any ONNX model")
    parser.add_argument(
        "--opset", type=int, default=OPSET, metavar="N", help="that the files are meant to be of (default: %(default)s)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Check each file and tell of it; `words` are those of the command line after "check"."""
    options = arguments(words)

    from export.portable.rules import violations

    broken = refused = False
    for path in dict.fromkeys(options.files):
        try:
            checked_size(path)
            found = violations(path.read_bytes(), options.opset)
            if found and found[0].rule == "R13":
                raise StudyError(f"expected an ONNX model: {found[0].found}")
        except (StudyError, OSError) as error:
            tell(error if isinstance(error, OSError) else StudyError(f"{path}: {error}"))
            refused = True
            continue
        broken |= bool(found)
        for line in lines(path, found):
            print(line, flush=True)
    return 2 if refused else 1 if broken else 0


def lines(path: Path, found: "Sequence[Violation]") -> Iterator[str]:
    """What there is to say of a file that breaks these rules, or none."""
    name = str(path) if str(path).isprintable() else ascii(str(path))
    if not found:
        yield f"{name}: portable (rules R1-R10, R13)"
        return
    rules = list(dict.fromkeys(violation.rule for violation in found))
    yield f"{name}: breaks {', '.join(rules)}"
    for rule in rules:
        of_rule = [violation for violation in found if violation.rule == rule]
        for violation in of_rule:
            yield f"  {rule:3} {violation.found}"
        yield f"      breaks: {of_rule[0].breaks}"
        yield f"      mend:   {of_rule[0].remedy}"
