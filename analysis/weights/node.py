"""A node in its graph, and how to describe the product it computes: the parts that all operators share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from analysis.weights.constant_folding import Attributes
from analysis.weights.constants import Scope
from analysis.weights.matrix import BLOCK, Matrix
from analysis.weights.tensors import Held, Source
from analysis.weights.values import Constant, Opaque, swapped
from study.records.analysis import Role


@dataclass(frozen=True)
class Product:
    """A node that is a layer: its weight, the input that holds it (-1: an attribute) and the operator pattern in words.

    `tensor` is the stored tensor, `literal` its key, `names` what the value is called on its way to the node. `part`
    is what follows the layer's name where the node has several weights.
    """

    node: "Node"
    weight: Matrix
    operand: int
    tensor: str
    names: tuple[str, ...]
    literal: object
    pattern: str
    role: Role = "fc"
    part: str = ""


@dataclass(frozen=True, eq=False)
class Node:
    """A node with its attributes resolved, the constants visible to it, and look-ups in the graph around it."""

    proto: onnx.NodeProto
    attributes: Attributes
    scope: Scope
    consumers: Callable[[str], Sequence[onnx.NodeProto]]
    producer: Callable[[str], onnx.NodeProto | None]
    shape: Callable[[str], tuple[int | None, ...] | None]
    inferred: Callable[[str], tuple[int | None, ...] | None]
    """As `shape`, but only what follows from the model's inputs: files may declare wrong shapes of other values."""
    optional: frozenset[str] = frozenset()
    """Roles of layers that are read only on request: pointwise, recurrent."""

    @property
    def operator(self) -> str:
        return self.proto.op_type

    @property
    def described(self) -> str:
        """The operator and the node's name, for an error message."""
        return f"{self.proto.op_type} {self.proto.name!r}"

    def flag(self, name: str) -> bool:
        return name in self.attributes and bool(self.attributes[name].i)

    def number(self, name: str, default: float) -> float:
        return self.attributes[name].f if name in self.attributes else default

    def whole(self, name: str, default: int | None = None) -> int:
        """An attribute of type int.

        Raises:
            ValueError: it is missing, and there is no default.
        """
        if name in self.attributes:
            return self.attributes[name].i
        if default is None:
            raise ValueError(f"{self.described} has no attribute {name}")
        return default

    def input(self, index: int) -> str:
        return self.proto.input[index] if index < len(self.proto.input) else ""


class NoLayerError(Exception):
    """The node is no fully-connected layer; the message is the reason, in a few words."""


def operands(node: Node, left: int, right: int) -> tuple[int, Constant]:
    """Which of two inputs is the constant operand, and the constant.

    Raises:
        NoLayerError: none of them is constant, or both are, or the constant is no matrix.
    """
    names = node.input(left), node.input(right)
    if not all(names):
        raise ValueError(f"{node.described} has {len(node.proto.input)} inputs")
    values = [node.scope.known(name) for name in names]
    if values == [None, None]:
        values = [node.scope.known(name, once=True) for name in names]
    constant = [value is not None for value in values]
    if all(constant):
        reason = next((value.reason for value in values if isinstance(value, Opaque)), "a product of constants")
        raise NoLayerError(reason)
    if not any(constant):
        picks = [picked.by for name in names if (picked := node.scope.picked(name))]
        reason = f"one of them is picked from constants by {picks[0]}" if picks else ""
        raise NoLayerError(f"both operands are computed{reason and ', '}{reason}")
    index = right if constant[1] else left
    return index, only(node, index, once=True)


def only(node: Node, index: int, once: bool = False) -> Constant:
    """The constant that is the input of this number, of rank 2 or more; `once` as for `Scope.known`.

    Raises:
        NoLayerError: there is none, or it is a vector.
    """
    constant = node.scope.constant(node.input(index), once) if node.input(index) else None
    if constant is None:
        raise NoLayerError("its weight is computed from the model's inputs")
    if len(constant.shape) < 2:
        raise NoLayerError("its constant is a vector, not a matrix")
    return constant


def stacked(node: Node, constant: Constant, operand: int, flipped: bool, alpha: float) -> Product:
    """The product with a matrix, or with a stack of them: their outputs then follow one another."""
    right = operand > 0
    notes = ["constant on the left"] * (not right)
    if flipped or node.operator in ("Gemm", "FusedGemm", "FusedMatMul", "QGemm"):
        notes.append(f"{'transB' if right else 'transA'}={flipped:d}")
    whole, constant = prod(constant.shape), _once(constant)
    if whole > prod(constant.shape) > 0:
        notes.append(f"repeated {whole // prod(constant.shape)} times")
    transposed = flipped != right  # stored (in, out)
    if len(constant.shape) == 2:
        return as_product(node, constant, operand, constant.matrix(transposed=transposed, alpha=alpha), *notes)
    count, (inner, outer) = prod(constant.shape[:-2]), constant.shape[-2:]
    if constant.quantisation is not None and constant.quantisation.scale.size > 1:
        raise NoLayerError(f"a stack of {count} matrices with scales of their own")
    if transposed:
        constant, inner, outer = rearranged(node, constant, swapped(len(constant.shape))), outer, inner
    rows = replace(constant, shape=(count * inner, outer))
    return as_product(node, rows, operand, rows.matrix(alpha=alpha), *notes, f"a stack of {count} matrices")


def rearranged(node: Node, constant: Constant, axes: tuple[int, ...]) -> Constant:
    """The constant with its axes in this order, in memory."""
    node.scope.opened.compute(prod(constant.shape), f"{constant.tensor!r} of shape {list(constant.shape)}")
    numbers = constant.source.read(0, prod(constant.shape)).reshape(constant.shape).transpose(axes)
    key = constant.source.key, constant.shape, axes
    held = Held(np.ascontiguousarray(numbers).reshape(-1), constant.source.dtype, key)
    return replace(constant, source=held, shape=tuple(constant.shape[axis] for axis in axes))


def _once(constant: Constant) -> Constant:
    """The constant without the leading axes along which it only repeats: the same matrix for each item of a batch."""
    constant = without_ones(constant)
    one_scale = constant.quantisation is None or constant.quantisation.scale.size == 1
    while one_scale and len(constant.shape) > 2 and _periodic(constant.source, constant.shape):
        constant = without_ones(replace(constant, shape=constant.shape[1:]))
    return constant


def _periodic(source: Source, shape: tuple[int, ...]) -> bool:
    """Whether an array is the same at each index of its first axis: others differ at once."""
    size, period = prod(shape), prod(shape[1:])
    return size > 0 and all(
        np.array_equal(source.read(start, stop), source.read(start + period, stop + period))
        for start in range(0, size - period, BLOCK)
        for stop in [min(start + BLOCK, size - period)]
    )


def without_ones(constant: Constant) -> Constant:
    """The constant without leading axes of one: a stack of one matrix is that matrix."""
    while len(constant.shape) > 2 and constant.shape[0] == 1:
        constant = replace(constant, shape=constant.shape[1:])
    return constant


def as_product(node: Node, constant: Constant, operand: int, weight: Matrix, *notes: str) -> Product:
    words = [node.operator, *notes]
    if constant.behind:
        words.append(f"behind {', '.join(reversed(constant.behind))}")
    tensor = constant.tensor or node.input(operand)
    pattern = ", ".join(word for word in words if word)
    return Product(node, weight, operand, tensor, (*constant.names, tensor), constant.literal, pattern)
