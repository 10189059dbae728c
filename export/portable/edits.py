"""Edit the exporter's graph so that every runtime loads it. Weights are not changed.

| the exporter writes                 | it becomes              | because                                           |
|-------------------------------------|-------------------------|---------------------------------------------------|
| Reshape to (-1, n) with allowzero=1 | Flatten                 | converters and older OpenCV refuse allowzero      |
| another Reshape with allowzero=1    | one without allowzero   | likewise; its shape contains no zero              |
| ReduceMean over both image axes     | GlobalAveragePool       | its axes as an input are refused by several       |
| a prefix on the names of weights    | the network's own names | tools show `fc1.weight`, as the checkpoint has it |
| stack traces and paths at each node | nothing                 | private paths do not belong in a published file   |
"""

import math
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from study.onnx_graph import dimensions


def make_portable(model: ModelProto, weights_prefix: str) -> None:
    """Apply all edits to `model` in place."""
    graph = model.graph
    _rename_weights(graph, weights_prefix)
    _use_flatten(graph)
    _use_global_average_pool(graph)
    _drop_unused_initializers(graph)
    _drop_annotations(model)


def _rename_weights(graph: GraphProto, prefix: str) -> None:
    for initializer in graph.initializer:
        initializer.name = initializer.name.removeprefix(prefix)
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = name.removeprefix(prefix)


def _use_flatten(graph: GraphProto) -> None:
    constants = _integer_constants(graph)
    shapes = _shapes(graph)
    for node in graph.node:
        if node.op_type != "Reshape":
            continue
        rest = shapes.get(node.input[0], [0])[1:]  # all but the batch; 0 for an unknown dimension
        if constants.get(node.input[1]) == [-1, math.prod(rest)] and 0 not in rest:
            _replace(node, "Flatten", axis=1)
        elif 0 not in constants.get(node.input[1], [0]):
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _use_global_average_pool(graph: GraphProto) -> None:
    constants = _integer_constants(graph)
    shapes = _shapes(graph)
    for node in graph.node:
        if node.op_type != "ReduceMean" or len(node.input) != 2 or len(shapes.get(node.input[0], [])) != 4:
            continue
        axes = sorted(axis % 4 for axis in constants.get(node.input[1], []))
        keeps = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        if axes == [2, 3] and keeps:
            _replace(node, "GlobalAveragePool")


def _shapes(graph: GraphProto) -> dict[str, list[int]]:
    """The shapes that the exporter has recorded, by value; 0 for a dimension that is not constant."""
    values = (*graph.value_info, *graph.input)
    return {v.name: [n if isinstance(n, int) else 0 for n in dimensions(v.type) or ()] for v in values}


def _integer_constants(graph: GraphProto) -> dict[str, list[int]]:
    return {
        i.name: numpy_helper.to_array(i).tolist() for i in graph.initializer if i.data_type == onnx.TensorProto.INT64
    }


def _replace(node: NodeProto, op_type: str, **attributes: Any) -> None:
    """Turn `node` into an `op_type` of its first input."""
    node.CopyFrom(onnx.helper.make_node(op_type, [node.input[0]], list(node.output), name=node.name, **attributes))


def _drop_unused_initializers(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [initializer for initializer in graph.initializer if initializer.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _drop_annotations(model: ModelProto) -> None:
    graph = model.graph
    model.doc_string = graph.doc_string = ""
    del graph.metadata_props[:]
    for value in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
