"""Scales and zero points that dequantise a matrix, and how far its scale is known."""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Scale(Enum):
    """How far the scale of a matrix is known; the value says why a measure that depends on it is undefined."""

    KNOWN = ""
    RELATIVE = "the scale of its integers is known only up to one factor for all of them"
    UNKNOWN = "the scale of its integers was not found, and each output may have another"


@dataclass(frozen=True)
class Quantisation:
    """value = (number - zero) * scale; both [rows or 1, columns or 1] after each is repeated `repeat` times."""

    scale: NDArray[Any]
    zero: NDArray[Any] | None = None
    repeat: tuple[int, int] = (1, 1)

    @cached_property
    def key(self) -> object:
        """Equal for the same scales and zero points: hashes, since these may be many and compared often."""
        parts = [self.scale] if self.zero is None else [self.scale, self.zero]
        return self.repeat, *((part.shape, sha256(part.tobytes()).digest()) for part in parts)

    @property
    def transposed(self) -> "Quantisation":
        zero = None if self.zero is None else self.zero.T
        return Quantisation(self.scale.T, zero, (self.repeat[1], self.repeat[0]))

    def apply(self, numbers: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
        """The values of `numbers`, the part `rows` x `columns` of the stored matrix."""
        if self.zero is not None:
            numbers = numbers - self._part(self.zero, rows, columns)
        values: NDArray[Any] = numbers * self._part(self.scale, rows, columns)
        return values

    def _part(self, array: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
        for axis, part in enumerate((rows, columns)):
            if array.shape[axis] > 1:
                array = array.take(np.arange(part.start, part.stop) // self.repeat[axis], axis)
        return array
