"""The tensors of an ONNX file as one-dimensional sources of numbers, read in ranges.

A large tensor is read from the model's file, or from one beside it, when its numbers are needed; a small or computed
one is held in memory.
"""

from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from study.onnx_data import BITS, File, Place, beside, extent

MOST_COMPUTED = 2**26
"""Elements computed from the constants of a file, in all: a hundred bytes can ask for 160 GB."""
MOST_AXES = 64
"""Axes of a tensor, numpy's own limit."""


class UnreadableError(ValueError):
    """A value is constant but cannot be read; the message is the reason, in a few words."""


@dataclass(frozen=True)
class Stored:
    """`size` numbers of type `dtype` in a file, little-endian."""

    place: Place
    dtype: np.dtype[Any]
    size: int

    @property
    def key(self) -> object:
        """Equal for the same numbers at the same place in a file."""
        return self.place, self.dtype, self.size

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Numbers `start` to `stop`: of the stored type where numpy has it, int8 or uint8 for narrower integers,
        float32 for other floats. May be called from several threads.

        Raises:
            StudyError: the file has changed.
        """
        bits = BITS.get(self.dtype.name, self.dtype.itemsize * 8)
        first, last = start * bits // 8, (stop * bits + 7) // 8
        raw = self.place.read(first, last - first)
        if bits < 8:
            each = 8 // bits
            return _numbers(unpacked(raw, bits)[start % each :][: stop - start], self.dtype)
        if self.dtype.name == "bfloat16":  # the upper half of a float32
            return (raw.view("<u2").astype("<u4") << 16).view("<f4")
        if self.dtype.kind in "fiub" and self.dtype.isbuiltin == 1:
            return raw.view(self.dtype.newbyteorder("<"))
        return raw.view(self.dtype).astype(np.float32)


@dataclass(frozen=True)
class Held:
    """Numbers in memory, one-dimensional; `dtype` is their type in the file."""

    numbers: NDArray[Any]
    dtype: np.dtype[Any]
    key: object = field(default_factory=object)

    @property
    def size(self) -> int:
        return self.numbers.size

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self.numbers[start:stop]


Source = Stored | Held


@dataclass
class Opened:
    """The model's file, the files its tensors refer to, and how many elements were computed from it so far."""

    file: File
    marker: str
    allow_root: Path | None = None
    computed: int = 0
    beside: dict[str, File] = field(default_factory=dict)
    held: dict[int, tuple[onnx.TensorProto, Held]] = field(default_factory=dict)

    def compute(self, elements: int, what: str) -> None:
        """Count elements that are about to be computed.

        Raises:
            UnreadableError: they are more than `MOST_COMPUTED`, with all before; they are then not counted.
        """
        if self.computed + elements > MOST_COMPUTED:
            raise UnreadableError(
                f"{what} takes {elements:,} elements, and of {MOST_COMPUTED:,} that may be computed from the constants "
                f"of a file {self.computed:,} were before; fold its constants first"
            )
        self.computed += elements

    def source(self, tensor: onnx.TensorProto, key: object) -> Source:
        """The numbers of `tensor`; `key` identifies it in the file.

        Raises:
            UnreadableError: its type is not one of numbers, or not known to this version of onnx.
            ValueError: its shape, size or place is impossible.
            StudyError: it lies where weights may not, or its file is missing.
        """
        dtype = _dtype(tensor)
        size = prod(shape_of(tensor))
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            if id(tensor) not in self.held:  # decoding takes long, and a thousand nodes may need it
                array = numpy_helper.to_array(tensor).reshape(-1)
                held = Held(array if array.dtype.isbuiltin == 1 else _widened(array), dtype, key)
                self.held[id(tensor)] = (tensor, held)
            return replace(self.held[id(tensor)][1], key=key)
        location, offset, length = extent(tensor)
        if location == self.marker:
            return Stored(self.file.place(offset, length), dtype, size)
        if location not in self.beside:
            self.beside[location] = beside(self.file.path, location, self.allow_root, "--allow-root DIR")
        return Stored(self.beside[location].place(offset, length), dtype, size)


def shape_of(tensor: onnx.TensorProto | onnx.SparseTensorProto) -> tuple[int, ...]:
    """
    Raises:
        ValueError: no array can have this shape.
    """
    most = 2**59  # elements of eight bytes that can be addressed
    wrong = len(tensor.dims) > MOST_AXES or min(tensor.dims, default=0) < 0
    if wrong or prod(max(size, 1) for size in tensor.dims) > most:
        raise ValueError(f"a tensor of the shape {list(tensor.dims[: MOST_AXES + 1])}")
    return tuple(tensor.dims)


def dtype_of(number: int) -> np.dtype[Any]:
    """The type that ONNX gives this number.

    Raises:
        UnreadableError: the installed version of onnx knows none.
    """
    if number not in onnx.TensorProto.DataType.values() or number == onnx.TensorProto.UNDEFINED:
        raise UnreadableError(f"the type of number {number} is not known to onnx {onnx.__version__}")
    return helper.tensor_dtype_to_np_dtype(number)


def _dtype(tensor: onnx.TensorProto) -> np.dtype[Any]:
    if tensor.data_type == onnx.TensorProto.UNDEFINED:
        raise ValueError(f"tensor {tensor.name!r} has no type")
    dtype = dtype_of(tensor.data_type)
    if dtype.kind in "cO":
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        raise UnreadableError(f"{tensor.name!r} is a tensor of type {kind}, which is not read")
    return dtype


def unpacked(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """[..., bytes] as [..., numbers] of so many bits, the first in the lowest bits of a byte."""
    parts: NDArray[np.uint8] = (codes[..., None] >> np.arange(0, 8, bits, dtype=np.uint8)) & np.uint8(2**bits - 1)
    return parts.reshape(*codes.shape[:-1], -1)


def _numbers(codes: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers that the codes of a type narrower than a byte stand for."""
    if dtype.kind == "f" or dtype.name.startswith("float"):
        return np.arange(16, dtype=np.uint8).view(dtype).astype(np.float32)[codes]
    if dtype.name.startswith("u"):
        return codes
    sign = np.uint8(1 << (BITS[dtype.name] - 1))
    return ((codes ^ sign).astype(np.int16) - sign).astype(np.int8)


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    """An array of one of ml_dtypes' types as one of numpy's that holds the same numbers."""
    return array.astype(np.int8 if array.dtype.name in BITS and "int" in array.dtype.name else np.float32)
