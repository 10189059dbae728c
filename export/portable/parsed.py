"""A parsed ONNX file, and the facts in it that several rules need."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ValueInfoProto, shape_inference

from study.onnx_graph import Dimensions, bodies, dimensions, has_subgraph


class File:
    """A parsed file and the facts that several rules need; `opset` is the expected one.

    Raises:
        DecodeError: the bytes are not an ONNX model, or a text in it is not UTF-8.
    """

    def __init__(self, content: bytes, opset: int) -> None:
        self.content = content
        self.opset = opset
        self.model = onnx.ModelProto.FromString(content)
        if any(isinstance(text, bytes) for text in _texts(self.model)):  # which the parser accepts
            raise DecodeError("a text in it is not UTF-8")
        self.graph = self.model.graph
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}

    @cached_property
    def inputs(self) -> list[ValueInfoProto]:
        return [value for value in self.graph.input if value.name not in self.initializers]

    @cached_property
    def domains(self) -> set[str]:
        """The domains of all nodes, but the default one."""
        return {node.domain for body in bodies(self.model) for node in body.node}

    @cached_property
    def constants(self) -> set[str]:
        """Names of the values that do not depend on the input."""
        names = {"", *self.initializers, *(tensor.values.name for tensor in self.graph.sparse_initializer)}
        for node in self.graph.node:  # in the order in which they are computed
            if not has_subgraph(node) and names.issuperset(node.input):
                names.update(node.output)
        return names

    @cached_property
    def values(self) -> list[ValueInfoProto]:
        """The values of the main graph that the file declares or onnx infers."""
        try:
            graph = shape_inference.infer_shapes(self.content).graph
        except Exception:  # of any kind: thrown by onnx's C++; the full check reports it
            graph = self.graph
        return [*graph.value_info, *graph.input, *graph.output]

    @cached_property
    def shapes(self) -> dict[str, Dimensions]:
        """The shapes that the file declares or onnx infers, by value."""
        shapes = {value.name: shape for value in self.values if (shape := dimensions(value.type)) is not None}
        return shapes | {name: tuple(tensor.dims) for name, tensor in self.initializers.items()}

    @cached_property
    def types(self) -> dict[str, int]:
        """The element types of the same values."""
        types = {value.name: value.type.tensor_type.elem_type for value in self.values}
        return types | {name: tensor.data_type for name, tensor in self.initializers.items()}


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every string field of the file; as bytes where it is not UTF-8."""
    messages: list[Any] = [model]
    while messages:
        for field, value in messages.pop().ListFields():
            if field.type == field.TYPE_STRING:
                yield from [value] if isinstance(value, str | bytes) else value
            elif field.type == field.TYPE_MESSAGE:
                messages += [value] if hasattr(value, "ListFields") else value
