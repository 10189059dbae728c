"""Does ONNX Runtime compute what a pack expects? `python -m export verify PACK ...`. Needs no torch and no data.

    python -m export verify artifacts/pack          every model of the pack
    python -m export verify artifacts/pack/test_gap one of them

The SHA-256 of every file is compared before anything is loaded. Then the model runs on the inputs of the pack, and its
outputs are compared with those of PyTorch: each within its tolerance, and for each image the same class. The exit code
is 1 if a model differs or does not run, and 2 if a file is missing or damaged; the others are still verified. The
hashes show damage, not who made a pack: verify one whose model you would run.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.command_line import Parser
from study.errors import StudyError, one_line, print_error, printable

if TYPE_CHECKING:
    from study.records.pack import PackRecord

SAME, DIFFERENT, DAMAGED = 0, 1, 2
ENGINE = "PyTorch"


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m export verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("packs", metavar="PACK", type=Path, nargs="+", help="what `python -m export pack` has written")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Verify each model of each pack and print a line for it; gives the exit code."""
    options = arguments(words)

    from export.pack.files import check_model, folders, opened

    codes = [SAME]
    for pack in dict.fromkeys(options.packs):
        try:
            found = folders(pack)
        except (StudyError, OSError) as error:
            print_error(error)
            codes.append(DAMAGED)
            continue
        for folder in found:
            try:
                record = opened(folder)
                check_model(folder, record)
                result = compared(folder, record)
            except (StudyError, OSError) as error:
                print_error(error)
                codes.append(DAMAGED)
                continue
            print(printable(f"{folder}: {result.line}"), flush=True)
            codes.append(SAME if result.same else DIFFERENT)
    return max(codes)


@dataclass(frozen=True)
class Result:
    """Whether ONNX Runtime computes what is expected, and the line that says so."""

    same: bool
    line: str


def compared(folder: Path, record: "PackRecord") -> Result:
    """Run the model on all inputs of its pack and compare the outputs with those that are expected.

    Raises:
        StudyError: a file is no tensor.
    """
    import onnxruntime

    from export.pack.files import MODEL, arrays
    from study.difference import Difference, Limit
    from study.ort_values import outputs_of_call, session_on_one_thread
    from study.parity import differences

    names = [output.name for output in record.outputs]
    limits = {output.name: Limit(output.limit_abs, output.limit_rel) for output in record.outputs}
    results: list[Difference] = []
    items = 0
    pairs = list(arrays(folder, record))
    try:
        session = session_on_one_thread(folder / MODEL)
        found = [outputs_of_call(session, dict(zip(record.inputs, given, strict=True))) for given, _ in pairs]
    except Exception as error:  # ONNX Runtime raises exceptions of many types
        return Result(False, f"FAILED, ONNX Runtime {onnxruntime.__version__} does not run it: {one_line(error)}")
    for (given, expected), outputs in zip(pairs, found, strict=True):
        batch = len(given[0]) if given[0].ndim else 1
        items += batch
        if len(outputs) != len(names):
            return Result(False, f"FAILED, expected the outputs {', '.join(names)}, found {len(outputs)} outputs")
        results += differences(names, [expected], [outputs], batch)
    faults = [one.sentence(ENGINE, limits[one.name]) for one in results if not one.holds(limits[one.name])]
    if any(one.unlike for one in results):
        return Result(False, f"FAILED, {faults[0]}")
    largest = max((one.largest for one in results if one.kind == "number"), default=0.0)
    share = max((one.ratio(limits[one.name]) for one in results), default=0.0)
    of_limit = f"{100 * share:.2g}% of" if share <= 1 else f"{share:.2g} times"
    line = f"largest difference {largest:.1e}, {of_limit} its limit"
    others = 0
    if record.images is None:
        line += f", {len(pairs)} calls"
    elif others := sum(len(one.items) for one in results):
        line += f", another class for {others} of {items} images"
    else:
        line += f", the class of each of {items} images is the same"
    if faults:
        return Result(False, f"FAILED, {line}: {faults[0]}")
    return Result(not others, f"FAILED, {line}" if others else line)
