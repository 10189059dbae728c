"""The nodes of one body of a model: which produces a value, which consume it, and the values of their attributes."""

from collections.abc import Sequence
from functools import cached_property

import onnx

from analysis.weights.constant_folding import Attributes
from study.onnx_graph import Body


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
