"""`python -m export --module PLACE ...`, and of the entries of a catalogue that are torch modules.

No torch until there is something to export.
"""

import argparse
import time
import warnings
from collections.abc import Sequence

from export.module_card import write_card
from export.outcome import DONE, NOT_PROVEN, REFUSED
from study import locks
from study.artifacts import Artifacts
from study.entry import Entry
from study.environment import versions
from study.errors import StudyError, print_error
from study.modules.exported import difference
from study.modules.files import ModuleFiles, changed, current_module, module_files
from study.modules.finding import installed
from study.records.module import ModuleRecord
from study.variants import OPSET

MADE_WITH = ("torch", "onnx", "onnxscript")
"""Packages that decide what is in a file."""


def export_entries(entries: Sequence[Entry], options: argparse.Namespace) -> int:
    """Export each module whose file is not current; the exit code is the worst of all.

    An error of one is printed, and the others go on.
    """
    _refuse_variants(options)
    codes = [DONE]
    for entry in entries:
        files = module_files(Artifacts(options.artifacts), entry.name)
        try:
            if (record := current(entry, files)) is None:
                with locks.folder_held(files.folder):
                    if (record := current(entry, files)) is None:  # no other command has made it meanwhile
                        codes.append(_export(entry, files))
                        continue
            outcome = f"wrote {files.card}" if write_card(files, record) else f"{files.onnx} is current: nothing to do"
            print(f"{entry.name}: {outcome}", flush=True)
        except StudyError as error:
            print_error(error)
            codes.append(REFUSED)
    return max(codes)


def _refuse_variants(options: argparse.Namespace) -> None:
    """
    Raises:
        StudyError: an option is given that makes a variant, of which a module has none.
    """
    usual = {"opset": OPSET, "simplify": False, "int8": None, "remove_dead": False, "sparse": False}
    if given := next((name for name, default in usual.items() if getattr(options, name, default) != default), None):
        option = f"--{given.replace('_', '-')}"
        raise StudyError(
            f"{option} is for models that are trained here, not for torch modules; leave it out, and see "
            "`python -m export compact --help` for variants of any ONNX file"
        )


def _export(entry: Entry, files: ModuleFiles) -> int:
    from export.module_parity import ModuleParityError
    from export.modules import export_module

    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the packages of the module
            record = export_module(entry, files)
    except ModuleParityError as error:
        print_error(error)
        return NOT_PROVEN
    largest = max(one.max_rel_difference for one in record.parity)
    count = "1 output" if len(record.parity) == 1 else f"{len(record.parity)} outputs"
    print(
        f"{entry.name}: {count}, largest difference {largest:.1e} of the largest value, wrote {files.onnx} "
        f"({time.perf_counter() - started:.1f} s)"
    )
    for note in record.notes:
        print(f"  {note}")
    return DONE


def current(entry: Entry, files: ModuleFiles) -> ModuleRecord | None:
    """The record of a module's export; None if it is missing, or something that it was made from has changed.

    That is the description of the module, the files of its code and of its weights, the versions of its package and of
    the exporter, and the ONNX file itself.

    Raises:
        StudyError: the inputs are not described as they should be.
    """
    try:
        record = current_module(files)
    except StudyError:
        return None
    now, then = versions(), record.environment.packages
    same = (
        not difference(entry, record)
        and changed(record) == ([], [])
        and installed(record.packages) == record.packages
        and all(now.get(name) == then.get(name) for name in MADE_WITH)
    )
    return record if same else None
