"""A weight matrix that is read block by block from its source and dequantised on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from analysis.weights.quantisation import Quantisation, Scale
from analysis.weights.tensors import Source, UnreadableError

BLOCK = 2**18
"""Elements of a block, a multiple of four: one of float32 takes 1 MiB."""


@dataclass(frozen=True)
class Matrix:
    """The weight (out, in) of y = x @ weight.T.

    A stored row is an output, or an input if `transposed`; it has `pitch` numbers, the first `columns` of which belong
    to the matrix. A value is a number, dequantised, rounded to the type `rounded`, times `alpha`; `scale` says whether
    a further factor is missing.
    """

    source: Source
    rows: int
    columns: int
    pitch: int
    transposed: bool
    quantisation: Quantisation | None = None
    alpha: float = 1.0
    rounded: np.dtype[Any] | None = None
    scale: Scale = Scale.KNOWN

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)"""
        return (self.columns, self.rows) if self.transposed else (self.rows, self.columns)

    @property
    def size(self) -> int:
        return self.rows * self.columns

    @property
    def dtype(self) -> str:
        """Type of the stored numbers."""
        return self.source.dtype.name

    @property
    def key(self) -> object:
        """Equal for matrices of the same values, transposed or not."""
        steps = self.quantisation and self.quantisation.key
        return self.source.key, self.rows, self.columns, steps, self.alpha, self.rounded, self.scale

    def blocks(self) -> "Blocks":
        """The values in stored order, block by block."""
        return Blocks(self)

    def load(self) -> NDArray[Any]:
        """The whole matrix, [out, in]."""
        values = self.part(slice(0, self.rows), slice(0, self.columns))
        return values.T if self.transposed else values

    def part(self, rows: slice, columns: slice) -> NDArray[Any]:
        """These stored rows, or these columns of one of them: float32, or float64 if the file's are."""
        if rows.stop - rows.start == 1:
            start = rows.start * self.pitch
            numbers = self.source.read(start + columns.start, start + columns.stop)[None]
        else:
            end = (rows.stop - 1) * self.pitch + self.columns
            numbers = self.source.read(rows.start * self.pitch, max(end, rows.start * self.pitch))
            if self.pitch != self.columns:
                numbers = np.pad(numbers, (0, self.pitch - self.columns))
            numbers = numbers.reshape(rows.stop - rows.start, self.pitch)[:, columns]
        values = numbers.astype(np.float64 if numbers.dtype == np.float64 else np.float32, copy=False)
        with np.errstate(all="ignore"):  # a scale may be infinite; callers count what is not finite
            if self.quantisation is not None:
                values = self.quantisation.apply(values, rows, columns)
            if self.rounded is not None:
                values = values.astype(self.rounded).astype(values.dtype)
            return values if self.alpha == 1 else np.multiply(values, self.alpha, dtype=values.dtype)


@dataclass(frozen=True)
class Blocks(Sequence[NDArray[Any]]):
    """Blocks of whole stored rows [k, columns], or parts [1, k] of a row longer than a block.

    A block is read when it is indexed; its number of elements is then passed to `on_read`.
    """

    matrix: Matrix
    on_read: Callable[[int], object] = lambda size: None

    @property
    def per_row(self) -> int:
        """Blocks that one row is cut into."""
        return max(1, -(-self.matrix.columns // BLOCK))

    @property
    def rows(self) -> int:
        """Rows of a block, a multiple of four where there are several; their whole pitch is read."""
        rows = BLOCK // max(1, self.matrix.pitch)
        return max(1, rows - rows % 4 if rows > 4 else rows)

    def __len__(self) -> int:
        if not self.matrix.size:
            return 0
        return self.per_row * self.matrix.rows if self.per_row > 1 else -(-self.matrix.rows // self.rows)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        block = self.matrix.part(*self.place(index))
        self.on_read(block.size)
        return block

    def place(self, index: int) -> tuple[slice, slice]:
        """The stored rows and columns of the block."""
        if self.per_row == 1:
            start = index * self.rows
            return slice(start, min(start + self.rows, self.matrix.rows)), slice(0, self.matrix.columns)
        row, part = divmod(index, self.per_row)
        start = part * BLOCK
        return slice(row, row + 1), slice(start, min(start + BLOCK, self.matrix.columns))


def linear(
    shape: tuple[int, ...], scale: NDArray[Any], zero: NDArray[Any] | None, axis: int, block: int = 0
) -> Quantisation | None:
    """DequantizeLinear of an array of `shape`, as a matrix of shape[0] rows; None if it has no such form.

    https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
    """
    scale = scale.astype(np.float32) if scale.dtype != np.float64 else scale
    zero = None if zero is None else zero.astype(np.float32)
    axis += len(shape) if axis < 0 else 0
    if scale.size == 1:
        return Quantisation(scale.reshape(1, 1), None if zero is None else zero.reshape(1, 1))
    if zero is not None and zero.shape != scale.shape:
        raise UnreadableError(f"a scale of shape {list(scale.shape)} and a zero point of shape {list(zero.shape)}")
    if block and len(shape) != 2:
        return None
    if block and axis in (0, 1):
        repeat = (block, 1) if axis == 0 else (1, block)
        if scale.shape == tuple(-(-size // each) for size, each in zip(shape, repeat, strict=True)):
            return Quantisation(scale, zero, repeat)
    elif not block and scale.ndim == 1 and axis < len(shape) and scale.size == shape[axis]:
        if axis == 0:
            return Quantisation(scale[:, None], None if zero is None else zero[:, None])
        if len(shape) == 2:
            return Quantisation(scale[None], None if zero is None else zero[None])
        return None
    raise UnreadableError(f"a scale of shape {list(scale.shape)} for a tensor of shape {list(shape)}")
