"""`python -m export --module PLACE ...`, and of the entries of a catalogue that are torch modules."""

import argparse
import time
from collections.abc import Sequence

from study.artifacts import Artifacts
from study.entry import Entry
from study.errors import StudyError, print_error
from study.modules.files import module_files

DONE, NOT_PROVEN, REFUSED = 0, 1, 2


def export_entries(entries: Sequence[Entry], options: argparse.Namespace) -> int:
    """Export each module; the exit code is the worst of all. An error of one is printed, and the others go on."""
    from export.modules import ModuleParityError, export_module

    code = DONE
    for entry in entries:
        files = module_files(Artifacts(options.artifacts), entry.name)
        started = time.perf_counter()
        try:
            record = export_module(entry, files)
        except ModuleParityError as error:
            print_error(error)
            code = max(code, NOT_PROVEN)
        except StudyError as error:
            print_error(error)
            code = max(code, REFUSED)
        else:
            largest = max(one.max_rel_difference for one in record.parity)
            print(
                f"{entry.name}: {len(record.parity)} outputs, largest difference {largest:.1e} of the largest value, "
                f"wrote {files.onnx} ({time.perf_counter() - started:.1f} s)",
                flush=True,
            )
    return code
