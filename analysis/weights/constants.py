"""The constants of a graph, computed when they are needed.

A constant that passes through Identity, Cast, Reshape, Transpose or DequantizeLinear on its way to a product is still
read from its file. What other operators make of constants is computed (`analysis.weights.constant_folding`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from analysis.weights.constant_folding import COMPUTED, Attributes
from analysis.weights.resolving import array, resolve
from analysis.weights.shapes import MICROSOFT
from analysis.weights.tensors import MOST_AXES, Held, Opened, UnreadableError
from analysis.weights.values import Constant, Known, Literal, Opaque, Output, Pending, Picked, Repeated, Value, swapped
from study.onnx_graph import STANDARD, has_subgraph


@dataclass
class Scope:
    """The constants of one body by name, and of the bodies around it; `key` identifies the body.

    A value that is computed from the model's inputs is None or picked, so that it hides a constant of its name outside.
    """

    opened: Opened
    opsets: Mapping[str, int]
    key: object = None
    outer: "Scope | None" = None
    values: dict[str, Value] = field(default_factory=dict)
    traced: dict[str, Any] = field(default_factory=dict)
    """`Traced` of `analysis.weights.scales`, which imports this module: computed values that may scale others."""

    @property
    def version(self) -> int:
        """Version of the standard operators here."""
        return self.opsets.get("", 1)

    def picked(self, name: str) -> Picked | None:
        """The value called `name` if it is picked from constants."""
        value = self.value(name)
        return value if isinstance(value, Picked) else None

    def value(self, name: str) -> Value:
        """The value called `name`; None if it is computed from the model's inputs."""
        return self.of(name).values.get(name)

    def of(self, name: str) -> "Scope":
        """The scope of the body that defines the value called `name`, or else the outermost."""
        scope = self
        while name not in scope.values and scope.outer is not None:
            scope = scope.outer
        return scope

    def known(self, name: str, once: bool = False) -> Known | None:
        """The constant called `name`, not yet worked out; None if it is computed from the model's inputs.

        With `once` it is, of a matrix that Expand repeats over a batch, that matrix, which a product multiplies with.
        """
        value = self.value(name)
        if isinstance(value, Repeated):
            shape = self._shape(value.once) if once else ()
            return value.once if len(shape) > 1 and min(shape[-2:]) > 1 else value.whole
        return None if isinstance(value, Picked) else value

    def add(self, node: onnx.NodeProto, attributes: Attributes) -> None:
        """Enter the outputs of `node`, constant or not."""
        if node.op_type == "Constant" and node.domain in STANDARD:
            passed = any(attribute.ref_attr_name for attribute in node.attribute)  # with each call of a function
            key = object() if passed else (self.key, *node.output)
            self.values.update(dict.fromkeys(node.output[:1], self._constant(attributes, key)))
            return
        self._enter(node, attributes)
        first = self.value(node.input[0]) if node.input and node.output and node.domain in STANDARD else None
        once = self._once(node, attributes, first)
        if once is not None:
            self.values[node.output[0]] = Repeated(once, self.known(node.output[0]))

    def _enter(self, node: onnx.NodeProto, attributes: Attributes) -> None:
        inputs = [self.known(name) if name else None for name in node.input]
        computed = any(name and known is None for name, known in zip(node.input, inputs, strict=True))
        if computed or not node.input or has_subgraph(node):
            self.values.update(dict.fromkeys(node.output))  # which hides those of a body around this one
            return
        opaque = next((each for each in inputs if isinstance(each, Opaque)), None)
        if opaque is None and not (standard(node) and node.op_type in COMPUTED):
            opaque = Opaque(f"it is made from constants by {node.op_type}, which is not computed here")
        if opaque is not None:
            self.values.update({name: opaque for name in node.output if name})
            return
        pending = Pending(self.version, node, attributes, inputs)
        self.values.update({name: Output(pending, name) for name in node.output if name})

    def _once(self, node: onnx.NodeProto, attributes: Attributes, first: Value) -> Known | None:
        """The node's result for one item of the batch that it is repeated over, given its `first` input."""
        if node.op_type == "Expand" and not isinstance(first, Picked):
            return first.once if isinstance(first, Repeated) else first
        if not isinstance(first, Repeated):
            return None
        if node.op_type == "Transpose" and "perm" in attributes:  # whose axes are then fewer
            order, rank = tuple(attributes["perm"].ints[: MOST_AXES + 1]), len(self._shape(first.once))
            if rank < 2 or order != swapped(len(order)):
                return None
            attributes = {"perm": helper.make_attribute("perm", swapped(rank))}
        elif node.op_type not in ("Identity", "Cast"):
            return None
        return Output(Pending(self.version, node, attributes, [first.once]), node.output[0])

    def _shape(self, known: Known) -> tuple[int, ...]:
        """The shape of a constant; () if it cannot be read."""
        try:
            return resolve(self.opened, known, "").shape
        except UnreadableError:
            return ()

    def constant(self, name: str, once: bool = False) -> Constant | None:
        """The constant called `name`, None if there is none; `once` as for `known`.

        Raises:
            UnreadableError: there is one, but it cannot be read, or takes too much to compute.
            ValueError: it is malformed.
            StudyError: its numbers may not be read.
        """
        known, value = self.known(name, once), self.value(name)
        constant = None if known is None else resolve(self.opened, known, name)
        if constant is not None and isinstance(value, Repeated) and known is value.once:
            return replace(constant, behind=(*constant.behind, "Expand"))
        return constant

    def array(self, name: str) -> NDArray[Any] | None:
        """The whole of a constant, such as scales or a shape; None if there is none. Raises as `constant`."""
        constant = self.constant(name) if name else None
        return None if constant is None else array(self.opened, constant)

    def _constant(self, attributes: Attributes, key: object) -> Known:
        """The value of a Constant node, which has exactly one of these attributes."""
        for name, attribute in attributes.items():
            if name == "value":
                return Literal(attribute.t, key)
            if name == "sparse_value":
                return Literal(attribute.sparse_tensor, key)
            for kind, dtype in (("float", np.float32), ("int", np.int64)):
                if name == f"value_{kind}":
                    return _held(np.array(attribute.f if kind == "float" else attribute.i, dtype))
                if name == f"value_{kind}s":
                    numbers = attribute.floats if kind == "float" else attribute.ints
                    try:
                        self.opened.compute(len(numbers), "a Constant")
                    except UnreadableError as error:
                        return Opaque(str(error))
                    return _held(np.array(numbers, dtype))
        return Opaque("it is a Constant of strings, or of nothing")


def standard(node: onnx.NodeProto) -> bool:
    """Whether the operator is ONNX's own; ONNX Runtime writes two of them, which it had first, in its domain."""
    quantises = node.op_type in ("QuantizeLinear", "DequantizeLinear")
    return node.domain in STANDARD or (quantises and node.domain == MICROSOFT)


def _held(array: NDArray[Any]) -> Constant:
    return Constant(Held(array.reshape(-1), array.dtype), array.shape, "")
