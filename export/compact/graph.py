"""The main graph of a model as the removal of units needs it: constants, users of values, and their replacement."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from export.portable.edits import unique, value_names
from study.onnx_graph import STANDARD, has_subgraph, subgraphs

OUTSIDE = -1
"""Position of a value that a node uses in a graph inside of it."""
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
"""Types in which a constant can be folded exactly enough; others are left as they are."""


class Graph:
    """Look-ups in the main graph of `model`, valid until nodes are added to it or removed."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.listed = model.ir_version < 4  # then every initializer is an input too, and still a constant
        self.nodes = list(self.graph.node)
        self.makers = {output: node for node in self.nodes for output in node.output if output}
        self.index = {id(node): index for index, node in enumerate(self.nodes)}
        self.users: dict[str, list[tuple[NodeProto, int]]] = {}
        for node in self.nodes:
            for position, name in enumerate(node.input):
                self.users.setdefault(name, []).append((node, position))
            for name in dict.fromkeys(_captured(node)):
                self.users.setdefault(name, []).append((node, OUTSIDE))
        self.outputs = {value.name for value in self.graph.output}
        given = () if self.listed else {value.name for value in self.graph.input}
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer if tensor.name not in given}

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a constant that is stored, perhaps transposed; None for any other value."""
        axes: list[tuple[int, ...] | None] = []
        while (node := self.makers.get(name)) is not None:
            if node.op_type == "Constant" and node.domain in STANDARD:
                value = attribute(node, "value", None)
                return None if value is None else _moved(numpy_helper.to_array(value), axes)
            if node.op_type not in ("Identity", "Transpose") or node.domain not in STANDARD or not node.input[0]:
                return None
            if node.op_type == "Transpose":
                order = attribute(node, "perm", None)
                axes.append(tuple(order) if order is not None else None)
            name = node.input[0]
        tensor = self.initializers.get(name)
        return None if tensor is None else _moved(numpy_helper.to_array(tensor), axes)

    def replace(self, node: NodeProto, position: int, value: NDArray[Any]) -> None:
        """Let an input of a node be another constant; the former one stays for its other users."""
        old = node.input[position] if position < len(node.input) else ""
        alone = old in self.initializers and self.users[old] == [(node, position)] and old not in self.outputs
        if alone:
            name = old
            self.graph.initializer.remove(self.initializers[old])
            if self.listed:
                _drop_input(self.graph, old)
        else:
            name = unique(old or f"{node.output[0]}_bias", value_names(self.graph))
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.graph.initializer.append(tensor)
        self.initializers[name] = self.graph.initializer[-1]
        if self.listed:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            self.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
        while len(node.input) <= position:
            node.input.append("")
        node.input[position] = name
        if not alone:
            self.users[old] = [use for use in self.users.get(old, ()) if use != (node, position)]
            self.users[name] = [(node, position)]


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def drop_unused(model: ModelProto, before: Counter[str]) -> None:
    """Drop the constants that were used by some node according to `before` and are used by none any more."""
    while True:
        used = uses(model)
        outputs = {value.name for value in model.graph.output}
        dead = {name for name in before if not used[name] and name not in outputs}
        nodes = [node for node in model.graph.node if _constant_maker(node) and dead.issuperset(node.output)]
        tensors = [tensor for tensor in model.graph.initializer if tensor.name in dead]
        for tensor in tensors:
            model.graph.initializer.remove(tensor)
            if model.ir_version < 4:
                _drop_input(model.graph, tensor.name)
        for node in nodes:
            model.graph.node.remove(node)
        if not nodes and not tensors:
            return


def uses(model: ModelProto) -> Counter[str]:
    """How often each value of the main graph is used."""
    return Counter(name for node in model.graph.node for name in (*node.input, *_captured(node)))


def _constant_maker(node: NodeProto) -> bool:
    return node.op_type in ("Constant", "Identity", "Transpose") and node.domain in STANDARD


def _captured(node: NodeProto) -> Iterator[str]:
    """The names used in the graphs inside of a node, some of which may be of this graph."""
    if not has_subgraph(node):
        return
    waiting = [graph for one in node.attribute for graph in subgraphs(one)]
    for graph in waiting:  # which grows
        for inner in graph.node:
            yield from inner.input
            waiting += [deeper for one in inner.attribute for deeper in subgraphs(one)]
        yield from (value.name for value in graph.output)


def _moved(array: NDArray[Any], axes: list[tuple[int, ...] | None]) -> NDArray[Any]:
    for order in reversed(axes):
        array = array.transpose(order)
    return array


def _drop_input(graph: GraphProto, name: str) -> None:
    for value in [value for value in graph.input if value.name == name]:
        graph.input.remove(value)
