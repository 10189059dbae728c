"""Read pieces of files named by a model, opened only where such files may lie.

A model's weights may be in files of their own. Their names come from the model, which may come from anywhere, so they
are followed only where ONNX Runtime follows them: to files that really lie in the folder of the model, or below. If the
user names a link to the model, that is the folder of the link, and the one that the model really lies in: a cache of
Hugging Face has links to a model and to its weights, and both side by side elsewhere.
"""

import os
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from study.errors import StudyError
from study.files import open_plain

LONGEST = 4096
"""Characters of a path, Linux's own limit."""
LONGEST_SHOWN = 100
BITS = {"uint4": 4, "int4": 4, "float4_e2m1fn": 4, "uint2": 2, "int2": 2}
"""Bits of the types that share a byte, the first number in the lowest."""


@dataclass(frozen=True)
class Place:
    """Bytes `offset` to `offset + length` of a file; every read checks that the file is still the same, unchanged."""

    path: Path
    identity: tuple[int, ...]
    offset: int
    length: int

    def read(self, start: int, count: int) -> NDArray[np.uint8]:
        """The `count` bytes from `start` on, uint8 [count]. May be called from several threads.

        Raises:
            StudyError: the file has changed since it was opened first.
        """
        content = np.empty(count, np.uint8)
        try:
            with open_plain(self.path) as file:
                same = _identity(os.fstat(file.fileno())) == self.identity
                file.seek(self.offset + start)
                same = same and file.readinto(content.data) == count
        except OSError as error:
            raise StudyError(f"{self.path} cannot be read any more: {error.strerror or error}") from None
        if not same:
            raise StudyError(f"{self.path} was changed while it was read; run it again")
        return content


@dataclass(frozen=True)
class File:
    """A regular file of so many bytes."""

    path: Path
    identity: tuple[int, ...]
    size: int

    def open(self) -> BufferedReader:
        return open_plain(self.path)

    def place(self, offset: int, length: int) -> Place:
        """
        Raises:
            ValueError: there are no such bytes in the file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"bytes {offset} to {offset + length} of {self.path.name}, which has {self.size}")
        return Place(self.path, self.identity, offset, length)


def plain(path: Path) -> File:
    """The file at `path`. The user named it, so it may be a symbolic link.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    with open_plain(path) as file:
        status = os.fstat(file.fileno())
    return File(path, _identity(status), status.st_size)


def extent(tensor: onnx.TensorProto) -> tuple[str, int, int]:
    """The file that an external tensor is in, by the name it has in the model, and the offset and number of its bytes.

    A length that is absent or 0 follows from shape and type, as for ONNX Runtime: exporters write both.

    Raises:
        ValueError: another number of bytes than the tensor takes.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    needed = (prod(tensor.dims) * BITS.get(dtype.name, dtype.itemsize * 8) + 7) // 8
    length = int(entries.get("length") or 0)
    if length not in (0, needed):
        raise ValueError(f"tensor {tensor.name!r} takes {needed} bytes, found {length}")
    return entries.get("location", ""), int(entries.get("offset") or 0), needed


def beside(model: Path, location: str, root: Path | None = None, option: str = "") -> File:
    """The file that the model at `model`, the path that the user named, calls `location`.

    It must really lie in the model's folder or below, or below the folder `root` that the user has allowed with the
    command's `option`.

    Raises:
        StudyError: it lies elsewhere, is missing or is no plain file; the message does not name the model.
    """
    folder = model.parent.resolve()
    remedy = "copy the weights beside the model (`cp -L`)"
    remedy += f", or name the folder they may lie in with {option}" if option else ""
    if not location or len(location) > LONGEST or "\0" in location or Path(location).is_absolute():
        shown = repr(location[:LONGEST_SHOWN])
        raise StudyError(f"expected weights in a file beside the model, found {shown}; {remedy}")
    try:
        path = (folder / location).resolve()
    except RuntimeError:
        raise StudyError(f"expected weights in a file, found links in a circle at {location!r}") from None
    allowed = [folder, model.resolve().parent, *([root.resolve()] if root else [])]
    if not any(path.is_relative_to(each) for each in allowed):
        where = "in the folder of the model" + (f" or below {root}" if root else "")
        raise StudyError(f"expected weights {where}, found {location!r} at {str(path)!r}; {remedy}")
    try:
        return plain(path)
    except FileNotFoundError:
        raise StudyError(f"its weights are missing: {str(path)!r}; put that file there") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StudyError(f"expected weights in a plain file, found {location!r} ({reason}); {remedy}") from None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
