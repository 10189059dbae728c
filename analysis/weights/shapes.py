"""The shapes of a graph's values: what the file says of them, and what onnx infers node by node.

onnx can infer those of a whole model at once, but of a file from anywhere that may take any memory or time: it follows
functions that call themselves, and copies a shape of a million axes from node to node.
"""

from collections.abc import Mapping

import onnx
from onnx import defs, helper, shape_inference

from study.errors import one_line
from study.onnx_graph import STANDARD, dimensions, has_subgraph

MOST_AXES = 8
"""Of a value that anything is inferred from."""
MOST_VALUES = 64
"""Of a constant whose values are looked at, such as the shape that a Reshape gives."""
MOST_INFERRED = 20_000
"""Nodes, of which each takes some 50 microseconds."""

Shape = tuple[int | None, ...]


def shapes(graph: onnx.GraphProto, version: int) -> Mapping[str, Shape]:
    """The shapes of the values of `graph`, None where a size is not known; `version` is of the standard operators."""
    types = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
    types = {name: kind for name, kind in types.items() if _sized(kind)}
    small: dict[str, onnx.TensorProto] = {}
    for tensor in graph.initializer:
        _note(tensor.name, tensor, types, small)
    for node in graph.node[:MOST_INFERRED]:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            _note(next(iter(node.output), ""), node.attribute[0].t, types, small)
        elif node.domain in STANDARD:
            inferred = _inferred(node, types, small, version)
            types.update({name: _filled(kind, types.get(name)) for name, kind in inferred.items()})
    return {name: _sizes(kind) for name, kind in types.items()}


def bounded(node: onnx.NodeProto) -> bool:
    """Whether onnx can be asked for the shapes of a node: it makes room for all outputs that a Split is said to have.

    Of all integers that attributes and inputs of standard operators can hold, this is the only one that takes memory.
    """
    return not has_subgraph(node) and all(
        attribute.name != "num_outputs" or attribute.i <= len(node.output) for attribute in node.attribute
    )


def _note(
    name: str, tensor: onnx.TensorProto, types: dict[str, onnx.TypeProto], small: dict[str, onnx.TensorProto]
) -> None:
    if len(tensor.dims) <= MOST_AXES:
        types[name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        inline = tensor.data_location != onnx.TensorProto.EXTERNAL
        if inline and len(tensor.dims) < 2 and all(0 <= size <= MOST_VALUES for size in tensor.dims):
            small[name] = tensor


def _inferred(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], small: Mapping[str, onnx.TensorProto], version: int
) -> dict[str, onnx.TypeProto]:
    """What onnx can tell of the node's outputs; nothing if it fails, whatever it throws."""
    names = [name for name in node.input if name]
    if not all(name in types for name in names) or not bounded(node):
        return {}
    given = {name: types[name] for name in names}
    data = {name: small[name] for name in names if name in small}
    try:
        found = outputs(node, given, data, version)
    except ValueError:
        return {}
    return {name: kind for name, kind in found.items() if _sized(kind)}


def outputs(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], data: Mapping[str, onnx.TensorProto], version: int
) -> Mapping[str, onnx.TypeProto]:
    """The types of a `bounded` node's outputs by name, as onnx infers them from its inputs' types and known values.

    Raises:
        ValueError: onnx cannot follow; the message is in its words.
    """
    try:
        schema = defs.get_schema(node.op_type, version, "")
        opset = helper.make_opsetid("", version)
        return shape_inference.infer_node_outputs(
            schema, node, dict(types), input_data=dict(data), opset_imports=[opset]
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever onnx's C++ throws at a node that it cannot follow
        raise ValueError(one_line(error, 100)) from None


def _filled(inferred: onnx.TypeProto, said: onnx.TypeProto | None) -> onnx.TypeProto:
    """What is inferred, which the file may say otherwise, with sizes that only the file knows."""
    sizes, others = inferred.tensor_type.shape.dim, () if said is None else said.tensor_type.shape.dim
    if len(sizes) == len(others):
        for size, other in zip(sizes, others, strict=True):
            if not size.HasField("dim_value"):
                size.CopyFrom(other)
    return inferred


def _sized(kind: onnx.TypeProto) -> bool:
    return kind.tensor_type.HasField("shape") and len(kind.tensor_type.shape.dim) <= MOST_AXES


def _sizes(kind: onnx.TypeProto) -> Shape:
    return tuple(size if isinstance(size, int) else None for size in dimensions(kind) or ())
