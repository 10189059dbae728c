"""The files of a packed model, as onnx.backend.test and onnx_test_runner read them. No torch here.

test_NAME/model.onnx                     with model.onnx.data, where the weights are beside it
test_NAME/data.json                      the tolerance of onnx.backend.test
test_NAME/test_data_set_0/input_0.pb     a TensorProto for each input
test_NAME/test_data_set_0/output_0.pb    and for each output
test_NAME/pack.json                      the record, with the SHA-256 of all others
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.check import read
from study.errors import StudyError, in_one_line
from study.files import read_plain, verify
from study.onnx_graph import MAX_FILE_BYTES, tensors
from study.record_files import read_record
from study.records.pack import PackRecord

MODEL, DATA, TOLERANCE, RECORD = "model.onnx", "model.onnx.data", "data.json", "pack.json"
REMEDY = "copy it again from where it was made, or make it again with `python -m export pack`"

Arrays = Sequence[NDArray[Any]]


def folder_of(pack: Path, name: str) -> Path:
    """The folder of one model, named as a test of ONNX is: onnx.backend.test takes the sixth letter of each name."""
    return pack / f"test_{name}"


def data_set(number: int) -> str:
    """The folder of the inputs and outputs of one call."""
    return f"test_data_set_{number}"


def as_bytes(array: NDArray[Any], name: str) -> bytes:
    """A file of an input or output."""
    return bytes(numpy_helper.from_array(array, name).SerializeToString())


def opened(folder: Path) -> PackRecord:
    """The record of a packed model, once every file of its folder is the one that was packed; nothing is loaded.

    Raises:
        StudyError: a file is missing, damaged, or not of the pack.
    """
    record = read_record(folder / RECORD, PackRecord, REMEDY)
    wanted = {MODEL, TOLERANCE, *(path for files in data_sets(record) for path in files)}
    if (found := record.files.keys() - {DATA}) != wanted or not list(data_sets(record)):
        other = min(found ^ wanted, default="test_data_set_0/input_0.pb")
        raise StudyError(
            f"{folder / RECORD}: expected a file for each input and output, and no others, see {other}; {REMEDY}"
        )
    for path, digest in record.files.items():
        verify(folder / path, digest, RECORD, REMEDY)
    if others := sorted(path for path in _read_by_others(folder) if path not in record.files):
        raise StudyError(f"{folder / others[0]}: expected the files in {RECORD} alone, found another one; delete it")
    return record


def _read_by_others(folder: Path) -> Iterator[str]:
    """The files that ONNX's tools would take for a part of the test case."""
    for pattern in ("*.onnx", "test_data_set*/*.pb"):
        yield from (path.relative_to(folder).as_posix() for path in folder.glob(pattern))


def data_sets(record: PackRecord) -> Iterator[list[str]]:
    """The paths of each call's inputs and outputs, call by call."""
    numbers = {int(path.split("/")[0].rpartition("_")[2]) for path in record.files if "/" in path}
    for number in sorted(numbers):
        inputs = [f"{data_set(number)}/input_{n}.pb" for n in range(len(record.inputs))]
        yield inputs + [f"{data_set(number)}/output_{n}.pb" for n in range(len(record.outputs))]


def arrays(folder: Path, record: PackRecord) -> Iterator[tuple[Arrays, Arrays]]:
    """The inputs and the expected outputs of each call.

    Raises:
        StudyError: a file is no tensor.
    """
    for paths in data_sets(record):
        values = [_array(folder / path) for path in paths]
        yield values[: len(record.inputs)], values[len(record.inputs) :]


def _array(path: Path) -> NDArray[Any]:
    with in_one_line(f"{path}: expected a tensor of ONNX"):
        tensor = onnx.TensorProto.FromString(read_plain(path, MAX_FILE_BYTES))
        if tensor.data_location == onnx.TensorProto.EXTERNAL:  # in any file of this machine
            raise StudyError(f"{path}: expected a tensor with its values, found one whose values are elsewhere")
        return numpy_helper.to_array(tensor)


def check_model(folder: Path, record: PackRecord) -> None:
    """
    Raises:
        StudyError: model.onnx is no ONNX model, or has weights outside the pack.
    """
    path = folder / MODEL
    try:
        model = read(path).model
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    outside = {entry.value for one in tensors(model) for entry in one.external_data if entry.key == "location"}
    if others := sorted(outside - {DATA} if DATA in record.files else outside):
        raise StudyError(f"{path}: expected weights inside, or in {DATA} of {RECORD}, found {others[0][:80]!r}")


def folders(pack: Path) -> list[Path]:
    """The folders of the models of a pack; of one model it is the pack itself.

    Raises:
        StudyError: there is none.
    """
    if os.path.lexists(pack / RECORD):
        return [pack]
    if not pack.is_dir():
        other = "another thing" if os.path.lexists(pack) else "nothing there"
        raise StudyError(f"{pack}: expected the folder that `python -m export pack` has written, found {other}")
    found = sorted(path for path in pack.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise StudyError(f"{pack}: expected a folder for each model, found none; run `python -m export pack`")
    return found
