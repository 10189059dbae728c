"""A node where it stands, and what is found of it: the parts that all products share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from analysis.weights.constant_folding import Attributes
from analysis.weights.constants import Constant, Opaque, Scope
from analysis.weights.matrix import Matrix
from analysis.weights.tensors import Held


@dataclass(frozen=True)
class Product:
    """A node found to be a layer: its weight, the input that holds it (-1: an attribute) and how, in words."""

    weight: Matrix
    operand: int
    tensor: str
    names: tuple[str, ...]
    literal: object
    form: str
    role: str = "fc"


@dataclass(frozen=True)
class Site:
    """A node where it stands: its attributes' values, the constants there, and what is known around it."""

    node: onnx.NodeProto
    attributes: Attributes
    scope: Scope
    consumers: Callable[[str], Sequence[onnx.NodeProto]]
    producer: Callable[[str], onnx.NodeProto | None]
    shape: Callable[[str], tuple[int | None, ...] | None]
    pointwise: bool

    def flag(self, name: str) -> bool:
        return name in self.attributes and bool(self.attributes[name].i)

    def number(self, name: str, default: float) -> float:
        return self.attributes[name].f if name in self.attributes else default

    def whole(self, name: str) -> int:
        if name not in self.attributes:
            raise ValueError(f"{self.node.op_type} {self.node.name!r} has no attribute {name}")
        return self.attributes[name].i

    def input(self, index: int) -> str:
        return self.node.input[index] if index < len(self.node.input) else ""


class NoLayerError(Exception):
    """The node is no fully-connected layer; the message is the reason, in a few words."""


def operands(site: Site, left: int, right: int) -> tuple[int, Constant]:
    """Which of two inputs is the constant operand, and the constant."""
    names = site.input(left), site.input(right)
    if not all(names):
        raise ValueError(f"{site.node.op_type} {site.node.name!r} has {len(site.node.input)} inputs")
    found = [site.scope.known(name) for name in names]
    known = [each is not None for each in found]
    if all(known):
        reason = next((each.reason for each in found if isinstance(each, Opaque)), "a product of constants")
        raise NoLayerError(reason)
    if not any(known):
        raise NoLayerError("both operands are computed, as in attention")
    index = right if known[1] else left
    return index, only(site, index)


def only(site: Site, index: int) -> Constant:
    """The constant that is the input of this number, of rank 2 or more."""
    constant = site.scope.constant(site.input(index)) if site.input(index) else None
    if constant is None:
        raise NoLayerError("its weight is computed from the model's inputs")
    if len(constant.shape) < 2:
        raise NoLayerError("its constant is a vector, not a matrix")
    return constant


def stacked(site: Site, constant: Constant, operand: int, flipped: bool, alpha: float) -> Product:
    """The product with a matrix, or with a stack of them: then their outputs, one matrix after the other."""
    right = operand > 0
    notes = ["constant on the left"] * (not right)
    if flipped or site.node.op_type in ("FusedMatMul", "QGemm"):
        notes.append(f"{'transB' if right else 'transA'}={flipped:d}")
    while len(constant.shape) > 2 and constant.shape[0] == 1:
        constant = replace(constant, shape=constant.shape[1:])
    if len(constant.shape) > 2:
        count = prod(constant.shape[:-2])
        if constant.quantisation is not None and constant.quantisation.scale.size > 1:
            raise NoLayerError(f"a stack of {count} matrices with scales of their own")
        notes.append(f"a stack of {count} matrices")
        inner, outer = constant.shape[-2:]
        if flipped == right:  # each matrix is (out, in)
            constant = replace(constant, shape=(count * inner, outer))
            return as_product(site, constant, operand, constant.matrix(alpha=alpha), *notes)
        site.scope.opened.compute(prod(constant.shape), f"a stack of shape {list(constant.shape)}")
        turned = constant.source.read(0, prod(constant.shape)).reshape(count, inner, outer).swapaxes(1, 2)
        held = Held(np.ascontiguousarray(turned).reshape(-1), constant.source.dtype)
        constant = replace(constant, source=held, shape=(count * outer, inner))
        return as_product(site, constant, operand, constant.matrix(alpha=alpha), *notes)
    return as_product(site, constant, operand, constant.matrix(transposed=flipped != right, alpha=alpha), *notes)


def as_product(site: Site, constant: Constant, operand: int, weight: Matrix, *notes: str) -> Product:
    words = [site.node.op_type, *notes]
    if constant.behind:
        words.append(f"behind {', '.join(reversed(constant.behind))}")
    tensor = constant.tensor or site.input(operand)
    form = ", ".join(word for word in words if word)
    return Product(weight, operand, tensor, (*constant.names, tensor), constant.literal, form)
