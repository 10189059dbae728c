"""The shapes of a graph's values: those the file declares, and those onnx infers node by node.

onnx can infer them for a whole model at once, but a hostile file makes that take any memory or time: it follows
functions that call themselves, and copies a shape of a million axes from node to node.
"""

from collections.abc import Mapping

import onnx
from onnx import defs, helper, shape_inference

from study.errors import one_line
from study.onnx_graph import STANDARD, dimensions, has_subgraph

INFERRED_AXES = 8
"""Axes of a value from which shapes are inferred."""
MOST_VALUES = 64
"""Elements of a constant whose values are used, such as the target shape of a Reshape."""
MOST_INFERRED = 20_000
"""Nodes whose shapes are inferred, at about 50 microseconds each."""

Shape = tuple[int | None, ...]

MICROSOFT, NCHWC = "com.microsoft", "com.microsoft.nchwc"
"""Domains of ONNX Runtime's operators; the second rounds the number of channels up, which ReorderOutput undoes."""
_SAME = ("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax")
_NORMALISED = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SkipGroupNorm")
_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
STAND_INS: Mapping[tuple[str, str], tuple[str, tuple[int, ...]]] = {
    **{(MICROSOFT, operator): ("Identity", (0,)) for operator in (*_SAME, *_NORMALISED)},
    **{(MICROSOFT, operator): ("Add", (0, 3)) for operator in ("QLinearAdd", "QLinearMul")},
    **{(MICROSOFT, operator): (operator, (0, 1, 2)) for operator in ("QuantizeLinear", "DequantizeLinear")},
    (MICROSOFT, "FusedConv"): ("Conv", (0, 1)),
    (MICROSOFT, "FusedGemm"): ("Gemm", (0, 1)),
    (MICROSOFT, "QLinearAveragePool"): ("AveragePool", (0,)),
    (MICROSOFT, "QLinearGlobalAveragePool"): ("GlobalAveragePool", (0,)),
    (NCHWC, "Conv"): ("Conv", (0, 1)),
    **{(NCHWC, operator): (operator, (0,)) for operator in _POOLS},
    **{(NCHWC, operator): ("Identity", (0,)) for operator in ("ReorderInput", "ReorderOutput")},
}
"""By an operator of ONNX Runtime's: a standard one with the same shape, and its inputs among the first's."""


def shapes(graph: onnx.GraphProto, version: int, declared: bool = True) -> Mapping[str, Shape]:
    """The shape of each value of `graph`, None for an unknown size; `version` is that of the standard operators.

    Unless `declared`, only the inputs' shapes are taken from the file, and what follows from them is inferred.
    """
    types = {
        value.name: value.type for value in (*graph.input, *((*graph.value_info, *graph.output) if declared else ()))
    }
    types = {name: kind for name, kind in types.items() if _sized(kind)}
    small: dict[str, onnx.TensorProto] = {}
    for tensor in graph.initializer:
        _note(tensor.name, tensor, types, small)
    for node in graph.node[:MOST_INFERRED]:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            _note(next(iter(node.output), ""), node.attribute[0].t, types, small)
        elif (known := _stand_in(node)) is not None:
            inferred = _inferred(known, types, small, version)
            if not inferred and known is not node and all(name in types for name in known.input):  # one of integers
                floats = {name: _typed(types[name], onnx.TensorProto.FLOAT) for name in known.input}
                kind = types[known.input[0]].tensor_type.elem_type
                inferred = {name: _typed(each, kind) for name, each in _inferred(known, floats, small, version).items()}
            if (node.domain, node.op_type) == (NCHWC, "ReorderOutput"):
                inferred = {name: _cropped(kind, node) for name, kind in inferred.items()}
            types.update({name: _filled(kind, types.get(name)) for name, kind in inferred.items()})
    return {name: _sizes(kind) for name, kind in types.items()}


def bounded(node: onnx.NodeProto) -> bool:
    """Whether inferring the shapes of a node takes bounded memory: onnx allocates all outputs that a Split declares.

    No other integer in an attribute or input of a standard operator takes memory.
    """
    return not has_subgraph(node) and all(
        attribute.name != "num_outputs" or attribute.i <= len(node.output) for attribute in node.attribute
    )


def _note(
    name: str, tensor: onnx.TensorProto, types: dict[str, onnx.TypeProto], small: dict[str, onnx.TensorProto]
) -> None:
    if len(tensor.dims) <= INFERRED_AXES:
        types[name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        inline = tensor.data_location != onnx.TensorProto.EXTERNAL
        if inline and len(tensor.dims) < 2 and all(0 <= size <= MOST_VALUES for size in tensor.dims):
            small[name] = tensor


def _stand_in(node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The node itself if it is of a standard operator, one of the same shape if any is known, or else None."""
    if node.domain in STANDARD:
        return node
    attributes = {attribute.name: attribute for attribute in node.attribute}
    last = "channels_last" in attributes and attributes["channels_last"].i != 0
    if last or (node.domain, node.op_type) not in STAND_INS:
        return None
    operator, places = STAND_INS[node.domain, node.op_type]
    known = defs.get_schema(operator, 21, "").attributes
    made = helper.make_node(operator, [node.input[n] for n in places if n < len(node.input)], node.output[:1])
    made.attribute.extend(attribute for name, attribute in attributes.items() if name in known)
    return made


def _typed(kind: onnx.TypeProto, element: int) -> onnx.TypeProto:
    """The same shape of another type of elements."""
    copy = onnx.TypeProto()
    copy.CopyFrom(kind)
    copy.tensor_type.elem_type = element
    return copy


def _cropped(kind: onnx.TypeProto, node: onnx.NodeProto) -> onnx.TypeProto:
    """The type with the number of channels that the node leaves."""
    channels = [attribute.i for attribute in node.attribute if attribute.name == "channels"]
    if channels and len(kind.tensor_type.shape.dim) > 1:
        kind.tensor_type.shape.dim[1].dim_value = channels[0]
    return kind


def _inferred(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], small: Mapping[str, onnx.TensorProto], version: int
) -> dict[str, onnx.TypeProto]:
    """The types that onnx infers of the node's outputs; none if it fails."""
    names = [name for name in node.input if name]
    if not all(name in types for name in names) or not bounded(node):
        return {}
    given = {name: types[name] for name in names}
    data = {name: small[name] for name in names if name in small}
    try:
        inferred = outputs(node, given, data, version)
    except ValueError:
        return {}
    return {name: kind for name, kind in inferred.items() if _sized(kind)}


def outputs(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], data: Mapping[str, onnx.TensorProto], version: int
) -> Mapping[str, onnx.TypeProto]:
    """The types of a `bounded` node's outputs by name, as onnx infers them from its inputs' types and known values.

    Raises:
        ValueError: onnx fails; the message is its own.
    """
    try:
        schema = defs.get_schema(node.op_type, version, "")
        opset = helper.make_opsetid("", version)
        return shape_inference.infer_node_outputs(
            schema, node, dict(types), input_data=dict(data), opset_imports=[opset]
        )
    except MemoryError:
        raise
    except Exception as error:  # onnx's C++ throws several kinds
        raise ValueError(one_line(error, 100)) from None


def _filled(inferred: onnx.TypeProto, declared: onnx.TypeProto | None) -> onnx.TypeProto:
    """The inferred type, which counts more than the declared one, with sizes that only the file declares."""
    sizes, others = inferred.tensor_type.shape.dim, () if declared is None else declared.tensor_type.shape.dim
    if len(sizes) == len(others):
        for size, other in zip(sizes, others, strict=True):
            if not size.HasField("dim_value"):
                size.CopyFrom(other)
    return inferred


def _sized(kind: onnx.TypeProto) -> bool:
    return kind.tensor_type.HasField("shape") and len(kind.tensor_type.shape.dim) <= INFERRED_AXES


def _sizes(kind: onnx.TypeProto) -> Shape:
    return tuple(size if isinstance(size, int) else None for size in dimensions(kind) or ())
