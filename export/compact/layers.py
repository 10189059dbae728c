"""A node that multiplies with a constant weight, and how rows, columns and bias of it are replaced."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from export.compact.graph import FLOATS, Graph, attribute
from export.portable.edits import unique, value_names
from study.onnx_graph import STANDARD

Array = NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """Gemm, MatMul or Conv with a constant weight.

    `weight` is (out, in) or, of a convolution, (out, in, *kernel), as the node multiplies with it; `bias` is (out,),
    None where it has none.
    """

    node: NodeProto
    weight: Array
    bias: Array | None

    @property
    def is_conv(self) -> bool:
        return self.node.op_type == "Conv"

    @property
    def name(self) -> str:
        """Of its tensor, or of its node, or of its output."""
        tensor: str = self.node.input[1]
        return tensor.removesuffix(".weight") if tensor.endswith(".weight") else self.node.name or self.node.output[0]

    @property
    def padded(self) -> bool:
        """Whether its input gets zeros around it."""
        return any(attribute(self.node, "pads", ())) or attribute(self.node, "auto_pad", b"NOTSET") not in (
            b"NOTSET",
            b"VALID",
        )


def layer_of(graph: Graph, node: NodeProto) -> Layer | None:
    """The layer that a node is; None if it is none, or none whose units can be told apart."""
    if node.domain not in STANDARD or node.op_type not in ("Gemm", "MatMul", "Conv") or len(node.input) < 2:
        return None
    weight = graph.constant(node.input[1])
    if weight is None or weight.dtype not in FLOATS or graph.constant(node.input[0]) is not None:
        return None
    if node.op_type == "Conv":
        if attribute(node, "group", 1) != 1 or weight.ndim < 3:
            return None
        return _with_bias(graph, node, weight, 1.0)
    if weight.ndim != 2 or attribute(node, "transA", 0):
        return None
    if node.op_type == "MatMul":
        return Layer(node, weight.T, None)
    alpha = attribute(node, "alpha", 1.0)
    weight = weight if attribute(node, "transB", 0) else weight.T
    weight = weight if alpha == 1 else (weight * weight.dtype.type(alpha))
    return _with_bias(graph, node, weight, attribute(node, "beta", 1.0))


def _with_bias(graph: Graph, node: NodeProto, weight: Array, beta: float) -> Layer | None:
    if len(node.input) < 3 or not node.input[2]:
        return Layer(node, weight, None)
    bias = graph.constant(node.input[2])
    if bias is None or (bias.size > 1 and bias.shape[-1:] != (bias.size,)) or bias.size not in (1, len(weight)):
        return None  # computed, or different for each item
    return Layer(node, weight, np.broadcast_to(bias.reshape(-1) * bias.dtype.type(beta), len(weight)))


def keep_outputs(graph: Graph, layer: Layer, kept: NDArray[np.bool_]) -> None:
    """Leave only the units where `kept`, (out,), is true."""
    node = layer.node
    graph.replace(node, 1, np.compress(kept, _stored(graph, node), axis=_out_axis(node)))
    if layer.bias is not None:
        graph.replace(node, 2, _as_stored(node, layer.bias[kept]))


def keep_inputs(graph: Graph, layer: Layer, kept: NDArray[np.bool_]) -> None:
    """Leave only the inputs where `kept`, (in,), is true."""
    axis = 1 if layer.is_conv else 1 - _out_axis(layer.node)
    graph.replace(layer.node, 1, np.compress(kept, _stored(graph, layer.node), axis=axis))


def can_add(graph: Graph, layer: Layer) -> bool:
    """Whether a constant can be added to its outputs."""
    return layer.node.op_type != "Gemm" or attribute(layer.node, "beta", 1.0) != 0 or layer.bias is None


def add_to_bias(model: ModelProto, graph: Graph, layer: Layer, offset: NDArray[np.float64]) -> None:
    """Add `offset`, (out,), to its outputs: to its bias, or in an Add of its own behind a MatMul."""
    node, dtype = layer.node, layer.weight.dtype
    if node.op_type != "MatMul":
        if layer.bias is None:
            _drop_attribute(node, "beta")
        before = 0.0 if layer.bias is None else layer.bias.astype(np.float64)
        graph.replace(node, 2, _as_stored(node, (before + offset).astype(dtype)))
        return
    following = graph.users.get(node.output[0], [])
    if len(following) == 1 and following[0][0].op_type == "Add" and node.output[0] not in graph.outputs:
        add, position = following[0]
        bias = graph.constant(add.input[1 - position])
        if bias is not None and bias.shape == offset.shape:
            graph.replace(add, 1 - position, (bias.astype(np.float64) + offset).astype(dtype))
            return
    names = value_names(model.graph)
    output = node.output[0]
    product, constant = unique(f"{output}_product", names), unique(f"{output}_offset", names)
    model.graph.initializer.append(numpy_helper.from_array(offset.astype(dtype), constant))
    if graph.listed:
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        model.graph.input.append(helper.make_tensor_value_info(constant, kind, offset.shape))
    node.name, node.output[0] = node.name or output, product
    index = next(i for i, one in enumerate(model.graph.node) if product in one.output)
    model.graph.node.insert(index + 1, helper.make_node("Add", [product, constant], [output], name=constant))


def _stored(graph: Graph, node: NodeProto) -> Array:
    stored = graph.constant(node.input[1])
    assert stored is not None
    return stored


def _out_axis(node: NodeProto) -> int:
    """The axis of the outputs in the weight as the node takes it."""
    return 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1


def _as_stored(node: NodeProto, bias: Array) -> Array:
    """A bias as the node takes it: a Gemm multiplies it by beta."""
    beta = attribute(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
    return bias if beta in (0, 1) else (bias.astype(np.float64) / beta).astype(bias.dtype)


def _drop_attribute(node: NodeProto, name: str) -> None:
    for one in [one for one in node.attribute if one.name == name]:
        node.attribute.remove(one)
