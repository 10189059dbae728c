"""What the parts of a model hold: nodes with who makes and who takes their values, attributes, initializers, opsets."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import onnx

from analysis.weights.constant_folding import Attributes
from analysis.weights.constants import STANDARD

Body = onnx.GraphProto | onnx.FunctionProto


class Around:
    """Who makes a value of a body and who takes it; found out when first asked."""

    def __init__(self, body: Body) -> None:
        self.body = body

    @cached_property
    def links(self) -> tuple[dict[str, onnx.NodeProto], dict[str, list[onnx.NodeProto]]]:
        producers: dict[str, onnx.NodeProto] = {}
        consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.body.node:
            producers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                consumers.setdefault(name, []).append(node)
        return producers, consumers

    def producer(self, name: str) -> onnx.NodeProto | None:
        return self.links[0].get(name)

    def consumers(self, name: str) -> Sequence[onnx.NodeProto]:
        return self.links[1].get(name, ())


def attributes_of(node: onnx.NodeProto, call: Attributes) -> Attributes:
    """The node's attributes by name; one that refers to its function's is that of the call."""
    found = {}
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            found[attribute.name] = attribute
        elif attribute.ref_attr_name in call:
            found[attribute.name] = call[attribute.ref_attr_name]
    return found


def initializers(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto | onnx.SparseTensorProto]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    yield from ((tensor.values.name, tensor) for tensor in graph.sparse_initializer)


def opsets(imports: Sequence[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {("" if each.domain in STANDARD else each.domain): each.version for each in imports}
