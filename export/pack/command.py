"""Pack exported models with inputs and expected outputs: `python -m export pack [MODEL ...]`.

    python -m export pack                         each trained and exported model of the study, its first run
    python -m export pack gap --output DIR        one of them, into DIR/test_gap
    python -m export pack resnet18                an exported module, with the inputs of its proof

The layout is that of ONNX's own test cases, which onnx_test_runner and onnx.backend.test read: test_NAME/model.onnx,
and beside it test_data_set_0/input_0.pb and output_0.pb. The inputs are the first 64 test images, the outputs those of
PyTorch, from the checkpoint. `python -m export verify DIR` compares ONNX Runtime with them, on any machine. The exit
code is 1 if that fails here; then the model is not packed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export.options import add_arguments
from export.outcome import DONE, NOT_PROVEN, REFUSED
from study import locks
from study.artifacts import Artifacts
from study.command_line import Parser
from study.data import datasets
from study.errors import StudyError, print_error
from study.files import there
from study.selection import selected

if TYPE_CHECKING:
    from export.pack.subjects import Packed


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m export pack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="where (default: pack/ of --artifacts)")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Pack each model whose pack is not current; the exit code is the worst of all.

    Raises:
        StudyError: none of them has been exported. An error of one is printed, and the others go on.
    """
    options = arguments(words)

    from export.pack.files import folder_of

    artifacts = Artifacts(options.artifacts)
    output: Path = options.output or artifacts.pack
    found, codes = exported(options, artifacts)
    output.mkdir(parents=True, exist_ok=True)
    with locks.folder_held(output):
        stale = []
        for packed in found:
            folder = folder_of(output, packed.entry.name)
            if packed.is_in(folder):
                print(f"{packed.entry.name}: {folder} is current: nothing to do", flush=True)
            else:
                stale.append(packed)
        names = [packed.entry.dataset for packed in stale if not packed.entry.is_module]
        data = datasets.prepare(names, artifacts.data, options.data)
        codes += [pack(packed, folder_of(output, packed.entry.name), data) for packed in stale]
    return max(codes, default=DONE)


def exported(options: argparse.Namespace, artifacts: Artifacts) -> tuple[list["Packed"], list[int]]:
    """The exports of the models that are asked for, and an exit code for each without one that is named.

    Raises:
        StudyError: there is none, or one that is named has no finished run.
    """
    from export.command import first_runs
    from export.pack import subjects

    found, codes = [], []
    entries = selected(options, options.models)
    models = [entry for entry in entries if not entry.is_module]
    runs = {entry.name: files for entry, files in first_runs(options, artifacts, models)} if models else {}
    for entry in entries:
        try:
            if entry.is_module:
                found.append(subjects.module(entry, artifacts))
            elif entry.name in runs:
                found.append(subjects.trained(entry, runs[entry.name]))
        except StudyError as error:
            if not options.models and not entry.is_module and not there(runs[entry.name].export):
                print(f"{entry.name}: not exported; run `python -m export {entry.name}`", file=sys.stderr)
                continue
            print_error(error)
            codes.append(REFUSED)
    if not found and not codes:
        raise StudyError(f"no exported model in {artifacts.root}; run `python -m export` first")
    return found, codes


def pack(packed: "Packed", folder: Path, data: Path) -> int:
    """Pack one model and print the outcome; gives an exit code."""
    from export.pack.contents import calls_of
    from export.pack.writing import write_pack
    from study.soundness import failure

    name = packed.entry.name
    try:
        result = write_pack(packed, calls_of(packed, data), folder)
    except (StudyError, OSError) as error:
        print_error(error)
        return REFUSED
    except Exception as error:  # a user's module may raise anything
        print_error(StudyError(f"{name}: FAILED: {failure(error)}"))
        return REFUSED
    if not result.same:
        print_error(StudyError(f"{name}: not packed: {result.line}"))
        return NOT_PROVEN
    print(f"{name}: {result.line}, wrote {folder}", flush=True)
    return DONE
