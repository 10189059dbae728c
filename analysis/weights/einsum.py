"""Einsum as a fully-connected product: which axes of its constant are summed over, and which are those of the outputs.

https://onnx.ai/onnx/operators/onnx__Einsum.html
"""

from collections import Counter
from dataclasses import dataclass, replace
from math import prod

from analysis.weights.node import Node, NoLayerError, Product, as_product, operands, rearranged
from analysis.weights.picked import bound
from analysis.weights.tensors import UnreadableError

LONGEST = 200
"""Characters of an equation."""


@dataclass(frozen=True)
class Equation:
    """The axes of the constant, a letter each, and those that x and y have too, x alone has, and y alone has."""

    constant: str
    batch: str
    summed: str
    outputs: str

    @property
    def order(self) -> tuple[int, ...]:
        """The axes of the constant, those of an output first."""
        return tuple(map(self.constant.index, self.batch + self.outputs + self.summed))

    def text(self, left: bool) -> str:
        """An equation with a row of x for each index of its first axis, and the constant on the left or right."""
        row = next(letter for letter in "zyxwvutsrqponmlkjihgfedcbaZ" if letter not in self.constant)
        terms = [f"{row}{self.batch}{self.summed}", self.constant]
        return f"{','.join(terms[::-1] if left else terms)}->{row}{self.batch}{self.outputs}"


def einsum(node: Node) -> Product:
    """y = sum of x times a constant over one or more of their common axes."""
    node = bound(node, 0, 1)
    if len(node.proto.input) != 2:
        raise NoLayerError("an Einsum whose operands are not two")
    operand, constant = operands(node, 0, 1)
    axes = equation(node, operand, len(constant.shape))
    sizes = dict(zip(axes.constant, constant.shape, strict=True))
    count = prod(sizes[letter] for letter in axes.batch)
    rows, columns = count * prod(sizes[each] for each in axes.outputs), prod(sizes[each] for each in axes.summed)
    if constant.quantisation is not None and constant.quantisation.scale.size > 1 and len(constant.shape) > 2:
        raise UnreadableError("an Einsum whose constant has several scales")
    turned = not axes.batch and axes.constant == axes.summed + axes.outputs
    if not turned and axes.order != tuple(range(len(constant.shape))):
        constant = rearranged(node, constant, axes.order)
    flat = replace(constant, shape=(columns, rows) if turned else (rows, columns))
    notes = [node.attributes["equation"].s.decode(), f"a stack of {count} matrices" if axes.batch else ""]
    return as_product(node, flat, operand, flat.matrix(transposed=turned), *notes)


def equation(node: Node, operand: int, rank: int) -> Equation:
    """
    Raises:
        NoLayerError: it is no product with a matrix.
        ValueError: it is malformed.
    """
    text = node.attributes["equation"].s[: LONGEST + 1].decode() if "equation" in node.attributes else ""
    terms, arrow, result = text.replace(" ", "").partition("->")
    parts = terms.split(",")
    if len(text) > LONGEST or len(parts) != 2:
        raise ValueError(f"{node.described} has the equation {text[:50]!r}")
    constant, x = parts[operand], parts[1 - operand]
    letters = constant.replace("...", "")
    if not arrow:
        result = "".join(letter for letter, count in Counter(terms).items() if count == 1 and letter.isalpha())
    if letters != constant and len(letters) < rank:
        raise NoLayerError("an Einsum whose constant has axes without a letter")
    if len(letters) != rank or not letters.isalpha():
        raise ValueError(f"{node.described} has the equation {text!r} for a constant of {rank} axes")
    if max(Counter(constant.replace(".", "")).values()) > 1 or max(Counter(x.replace(".", "")).values(), default=0) > 1:
        raise NoLayerError("an Einsum that takes a diagonal")
    batch = "".join(letter for letter in letters if letter in x and letter in result)
    summed = "".join(letter for letter in x if letter in letters and letter not in result)
    outputs = "".join(letter for letter in result if letter in letters and letter not in x)
    if len(batch) + len(summed) + len(outputs) < rank:
        raise NoLayerError("an Einsum that sums over axes of its constant alone")
    if not summed:
        raise NoLayerError("an Einsum that sums over no axis of its constant")
    if batch and not outputs:
        raise NoLayerError("an Einsum with vectors, not a matrix")
    return Equation(letters, batch, summed, outputs)
