"""The values of a graph as far as they are known: constants that are stored, moved, computed, picked or repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from analysis.weights.matrix import Matrix
from analysis.weights.quantisation import Quantisation
from analysis.weights.tensors import Source

NARROW = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def swapped(rank: int) -> tuple[int, ...]:
    """The order of so many axes in which the last two have changed places."""
    return (*range(rank - 2), rank - 1, rank - 2)


@dataclass(frozen=True)
class Literal:
    """A tensor as it is in the file; `key`, its body and name, identifies it there."""

    tensor: onnx.TensorProto | onnx.SparseTensorProto
    key: object


@dataclass(frozen=True)
class Constant:
    """An array of this `shape`: the numbers of `source` in their order, or as a matrix `transposed`, dequantised.

    `quantisation` refers to the stored matrix of shape[0] rows, before it is transposed. `cast` is the type in the
    graph, unless that is the stored one, and `rounded` one that the values were rounded to on the way. `behind` are the
    operators between the tensor called `tensor` and here, `names` the names of the value on the way, and `literal` is
    the key of that tensor.
    """

    source: Source
    shape: tuple[int, ...]
    tensor: str
    transposed: bool = False
    quantisation: Quantisation | None = None
    cast: np.dtype[Any] | None = None
    rounded: np.dtype[Any] | None = None
    behind: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    literal: object = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in the graph."""
        return self.source.dtype if self.cast is None else self.cast

    def matrix(self, *, transposed: bool = False, alpha: float = 1.0) -> Matrix:
        """This constant of rank 2 as a weight; it is (out, in), or (in, out) if `transposed`."""
        rows, columns = self.shape[::-1] if self.transposed else self.shape
        flipped = transposed != self.transposed
        return Matrix(self.source, rows, columns, columns, flipped, self.quantisation, alpha, self.rounded)


@dataclass
class Pending:
    """A node all of whose inputs are constant, of standard operators of this version; computed when first needed."""

    version: int
    node: onnx.NodeProto
    attributes: Mapping[str, onnx.AttributeProto]
    inputs: Sequence["Known | None"]
    results: dict[str, Constant] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Output:
    """An output of such a node, by its name there; the caller of a function has another name for it."""

    pending: Pending
    name: str


@dataclass(frozen=True)
class Opaque:
    """A constant that cannot be read, and why."""

    reason: str


Known = Constant | Literal | Output | Opaque


@dataclass(frozen=True)
class Picked:
    """A computed value that the operator `by` picks from constants; a part of `data` along its first axis, if known.

    `name` is that of `data`. `moves` are applied to the part: the order of the axes that a Transpose gives it, the
    shape that a Reshape does, the attributes of a Cast, or () for a Squeeze.
    """

    by: str
    data: Known | None = None
    name: str = ""
    moves: tuple[Known | Mapping[str, onnx.AttributeProto] | tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Repeated:
    """A constant `once` that Expand repeats; `whole` is the result, None if the number of times is computed."""

    once: Known
    whole: Known | None


Value = Known | Picked | Repeated | None
