"""Write the folder of a packed model, which appears as a whole and only once it has been verified."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from export.pack.contents import Calls
from export.pack.files import DATA, MODEL, RECORD, TOLERANCE, as_bytes, data_set, opened
from export.pack.subjects import Packed
from export.pack.verify import Result, compared
from study.errors import StudyError
from study.files import open_plain, replacing, sha256, write_bytes, write_text
from study.record_files import write_record
from study.records.pack import PATH, PackRecord

PREFIX = ".pack-"
"""Beginning of the name of a folder that is being written."""


def write_pack(packed: Packed, calls: Calls, folder: Path) -> Result:
    """Write `folder` and verify it; where ONNX Runtime computes something else, what was there stays.

    The caller holds the lock of the folder above it.

    Raises:
        StudyError: the folder has something else than a pack, or the export has changed meanwhile.
    """
    _refuse_others(folder)
    record = packed.record
    with _temporary(folder.parent) as place:
        made = place / "new"
        made.mkdir()
        _copy(packed.onnx, made / MODEL)
        if packed.data:
            _copy(packed.data, made / DATA)
        write_text(made / TOLERANCE, json.dumps({"atol": _tolerance(record, calls), "rtol": 0.0}) + "\n")
        files = [TOLERANCE]
        for number, (inputs, outputs) in enumerate(calls):
            names = (record.inputs, [output.name for output in record.outputs])
            for kind, arrays, called in zip(("input", "output"), (inputs, outputs), names, strict=True):
                for index, (array, name) in enumerate(zip(arrays, called, strict=True)):
                    files.append(f"{data_set(number)}/{kind}_{index}.pb")
                    write_bytes(made / files[-1], as_bytes(array, name))
        record = replace(record, files=record.files | {path: sha256(made / path) for path in files})
        write_record(made / RECORD, record)
        result = compared(made, opened(made))
        if result.same:
            if folder.exists():
                folder.rename(place / "old")
            made.rename(folder)
    return result


def _refuse_others(folder: Path) -> None:
    """
    Raises:
        StudyError: what is there is no pack, or has files of the user.
    """
    if not os.path.lexists(folder):
        return
    files = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    others = sorted(path for path in files - {RECORD} if not re.fullmatch(PATH, path))
    if RECORD not in files or others:
        found = folder / others[0] if others else "another thing"
        raise StudyError(f"{folder}: expected a pack or nothing there, found {found}; choose another --output")


def _tolerance(record: PackRecord, calls: Calls) -> float:
    """The largest difference that pack.json allows in any output of floating-point numbers.

    onnx.backend.test has one tolerance for all outputs, and its share is one of each single value, not of the largest.
    """
    limits = [0.0]
    for _, outputs in calls:
        for output, array in zip(record.outputs, outputs, strict=True):
            if array.dtype.kind in "fV":  # V: bfloat16
                values = np.abs(array.astype(np.float64))
                limits.append(output.limit_abs + output.limit_rel * values[np.isfinite(values)].max(initial=0))
    return float(max(limits))


def _copy(source: Path, target: Path) -> None:
    with open_plain(source) as file, replacing(target) as copy:
        shutil.copyfileobj(file, copy)


@contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    """A folder beside the packs; nothing of it is left afterwards."""
    for left in parent.glob(f"{PREFIX}*"):  # of commands that were killed: this one holds the folder's lock
        shutil.rmtree(left, ignore_errors=True)
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
