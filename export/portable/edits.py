"""Edit the exporter's graph so that every runtime loads it. Weights are not changed.

| the exporter writes                 | it becomes              | because                                           |
|-------------------------------------|-------------------------|---------------------------------------------------|
| Reshape to (-1, n) with allowzero=1 | Flatten                 | converters and older OpenCV refuse allowzero      |
| another Reshape with allowzero      | one without allowzero   | likewise; it is 0, or its shape contains no zero  |
| ReduceMean over both image axes     | GlobalAveragePool       | its axes as an input are refused by several       |
| another ReduceMean                  | a pooling, and reshapes | likewise                                          |
| BatchNormalization                  | Mul and Add             | where no convolution before it takes it in        |
| Mul of a value by itself            | Pow with exponent 2     | OpenCV computes something else                    |
| Gemm of the rows of all images      | MatMul and Add          | the reshape after it looks like a fixed batch     |
| Concat with the same rows an image  | Pad and Add             | an Expand to the batch is refused by several      |
| a prefix on the names of weights    | the network's own names | tools show `fc1.weight`, as the checkpoint has it |
| stack traces and paths at each node | nothing                 | private paths do not belong in a published file   |
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference

from study.onnx_graph import dimensions

SCOPES = "pkg.torch.onnx.name_scopes"
"""torch's note of the modules that a node is in: a printed list of strings, each a whole path."""
SCOPE = re.compile(r"'([^']*)'")


def make_portable(model: ModelProto, weights_prefix: str) -> None:
    """Apply all edits to `model` in place."""
    graph = model.graph
    _use_flatten(graph)
    _use_common_operators(model)
    _use_matrix_products(graph)
    _drop_unused_initializers(graph)
    rename_weights(graph, weights_prefix)  # last: until then no name of the user's can be one of an edit
    drop_annotations(model)


def rename_weights(graph: GraphProto, prefix: str) -> None:
    """Take a prefix off the names of the weights."""
    names, taken = {}, value_names(graph)
    for initializer in graph.initializer:
        if prefix and initializer.name.startswith(prefix):
            names[initializer.name] = unique(initializer.name.removeprefix(prefix), taken)
            initializer.name = names[initializer.name]
    _rename_uses(graph, names)


def _rename_uses(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _rename_uses(body, names)


def _use_flatten(graph: GraphProto) -> None:
    constants = _integer_constants(graph)
    shapes = _shapes(graph)
    for node in graph.node:
        if node.op_type != "Reshape":
            continue
        rest = shapes.get(node.input[0], [0])[1:]  # all but the batch; 0 for an unknown dimension
        if constants.get(node.input[1]) == [-1, math.prod(rest)] and 0 not in rest:
            made = helper.make_node("Flatten", [node.input[0]], list(node.output), name=node.name, axis=1)
            node.CopyFrom(made)
        elif 0 not in constants.get(node.input[1], [0]) or not _attribute(node, "allowzero", 0):
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _use_common_operators(model: ModelProto) -> None:
    """Write each node that has such a form in operators that every runtime has."""
    forms = {"BatchNormalization": _scaled, "ReduceMean": _averaged, "Mul": _squared}
    graph = model.graph
    if not any(node.op_type in forms for node in graph.node):
        return
    shapes = _shapes(shape_inference.infer_shapes(model).graph)
    nodes = []
    for node in graph.node:
        form = forms.get(node.op_type)
        nodes += (form(graph, node, shapes) if form else None) or [node]
    del graph.node[:]
    graph.node.extend(nodes)


def _scaled(graph: GraphProto, node: NodeProto, shapes: dict[str, list[int]]) -> list[NodeProto] | None:
    """BatchNormalization in evaluation: x * a + b, a and b for each channel, computed in float64 and rounded once."""
    tensors = {i.name: i for i in graph.initializer}
    value, *names = node.input
    held = all(name in tensors and not _is_beside(tensors[name]) for name in names)
    if value not in shapes or not held or _attribute(node, "training_mode", 0):
        return None
    kept = numpy_helper.to_array(tensors[names[0]]).dtype
    scale, bias, mean, variance = (numpy_helper.to_array(tensors[name]).astype(np.float64) for name in names)
    factor = scale / np.sqrt(variance + _attribute(node, "epsilon", 1e-5))
    channels = [-1] + [1] * (len(shapes[value]) - 2)
    stem, (output, *_) = node.name or node.output[0], node.output
    for name, array in (("factor", factor), ("offset", bias - mean * factor)):
        constant(graph, f"{stem}_{name}", array.astype(kept).reshape(channels))
    return [
        helper.make_node("Mul", [value, f"{stem}_factor"], [f"{output}_scaled"], name=f"{stem}_scaled"),
        helper.make_node("Add", [f"{output}_scaled", f"{stem}_offset"], [output], name=stem),
    ]


def _averaged(graph: GraphProto, node: NodeProto, shapes: dict[str, list[int]]) -> list[NodeProto] | None:
    """ReduceMean over axes of known size: neighbours as [batch, before, axes, after], the third averaged away."""
    if len(node.input) != 2:
        return None  # a mean of everything
    (value, axes_name), (output,) = node.input, node.output
    sizes, keepdims = list(shapes.get(value, [])), _attribute(node, "keepdims", 1)
    axes = sorted(axis % len(sizes) for axis in _integer_constants(graph).get(axes_name, [])) if sizes else []
    stem, nodes = node.name or output, []
    if len(sizes) == 4 and axes == [2, 3] and keepdims:
        return [helper.make_node("GlobalAveragePool", [value], [output], name=stem)]
    if not axes or axes[0] == 0 or 0 in sizes[1:]:
        return None
    rest = [1 if axis in axes else size for axis, size in enumerate(sizes)]
    if not keepdims:
        rest = [size for axis, size in enumerate(sizes) if axis not in axes]
    while axes:
        end = axes.pop() + 1
        start = end - 1
        while axes and axes[-1] == start - 1:
            start = axes.pop()
        name = f"{stem}_{start}"
        if (start, end, len(sizes)) == (2, 4, 4):
            nodes.append(helper.make_node("GlobalAveragePool", [value], [name], name=name))
            value, sizes[2:] = name, [1, 1]
            continue
        grouped = [-1, math.prod(sizes[1:start]), math.prod(sizes[start:end]), math.prod(sizes[end:])]
        constant(graph, f"{name}_shape", np.array(grouped))
        nodes += [
            helper.make_node("Reshape", [value, f"{name}_shape"], [f"{name}_grouped"], name=f"{name}_grouped"),
            helper.make_node("AveragePool", [f"{name}_grouped"], [name], name=name, kernel_shape=[grouped[2], 1]),
        ]
        value, sizes[start:end] = name, [1] * (end - start)
    if len(rest) == 2:
        return [*nodes, helper.make_node("Flatten", [value], [output], name=stem, axis=1)]
    constant(graph, f"{stem}_shape", np.array([-1, *rest[1:]]))
    return [*nodes, helper.make_node("Reshape", [value, f"{stem}_shape"], [output], name=stem)]


def _squared(graph: GraphProto, node: NodeProto, shapes: dict[str, list[int]]) -> list[NodeProto] | None:
    """x * x as Pow(x, 2)."""
    if node.input[0] != node.input[1]:
        return None
    two = constant(graph, "two", np.array(2, np.float32))
    return [helper.make_node("Pow", [node.input[0], two], list(node.output), name=node.name)]


def _use_matrix_products(graph: GraphProto) -> None:
    """Reshape to [-1, in], Gemm and Reshape to [n, -1, out] become Reshape to [n, -1, in], MatMul and Add."""
    constants = _integer_constants(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for last in list(graph.node):
        shape = constants.get(last.input[1], []) if last.op_type == "Reshape" else []
        gemm = makers.get(last.input[0]) if shape else None
        first = makers.get(gemm.input[0]) if gemm and gemm.op_type == "Gemm" else None
        if gemm is None or first is None or first.op_type != "Reshape" or shape[0] < 1 or -1 not in shape:
            continue
        alone = all(sum(value in node.input for node in graph.node) == 1 for value in (gemm.output[0], first.output[0]))
        usual = [_attribute(gemm, name, 1) for name in ("alpha", "beta", "transB")] + [_attribute(gemm, "transA", 0)]
        if not alone or usual != [1, 1, 1, 0] or gemm.input[1] not in weights or _is_beside(weights[gemm.input[1]]):
            continue
        weight = numpy_helper.to_array(weights[gemm.input[1]])
        if constants.get(first.input[1]) != [-1, weight.shape[1]] or shape[-1] != weight.shape[0]:
            continue
        transposed = constant(graph, f"{gemm.input[1]}_transposed", weight.T)
        constant(graph, f"{gemm.name}_shape", np.array([*shape[:-1], weight.shape[1]]))
        first.input[1] = f"{gemm.name}_shape"
        product = f"{gemm.output[0]}_product" if gemm.input[2:] else last.output[0]
        if gemm.input[2:]:
            last.CopyFrom(helper.make_node("Add", [product, gemm.input[2]], list(last.output), name=last.name))
        else:
            graph.node.remove(last)
        first.output[0] = f"{gemm.output[0]}_rows"  # not the name that the exporter recorded another shape of
        gemm.CopyFrom(helper.make_node("MatMul", [first.output[0], transposed], [product], name=gemm.name))


def constant(graph: GraphProto, name: str, value: NDArray[Any]) -> str:
    """The name of an initializer with this value, which is added once; another name where a weight has this one."""
    made = numpy_helper.from_array(np.asarray(value, order="C"), name)
    same = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    if same is not None and same != made:
        made.name = unique(name, value_names(graph))
    if same is None or same != made:
        graph.initializer.append(made)
    return made.name


def value_names(graph: GraphProto) -> set[str]:
    """The names of all values of a graph, also of those that have been dropped since the exporter recorded them."""
    values = (*graph.initializer, *graph.input, *graph.output, *graph.value_info)
    return {value.name for value in values} | {name for node in graph.node for name in node.output}


def unique(name: str, taken: set[str]) -> str:
    """`name`, with underscores after it until it is not in `taken`, to which it is added."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _is_beside(tensor: onnx.TensorProto) -> bool:
    """Whether a weight is too large to be in the file: it is left as it is."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _shapes(graph: GraphProto) -> dict[str, list[int]]:
    """The shapes that the exporter has recorded, by value; 0 for a dimension that is not constant."""
    values = (*graph.value_info, *graph.input)
    return {v.name: [n if isinstance(n, int) else 0 for n in dimensions(v.type) or ()] for v in values}


def _integer_constants(graph: GraphProto) -> dict[str, list[int]]:
    return {
        i.name: numpy_helper.to_array(i).tolist()
        for i in graph.initializer
        if i.data_type == onnx.TensorProto.INT64 and not _is_beside(i)
    }


def _drop_unused_initializers(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [initializer for initializer in graph.initializer if initializer.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def name_by_module(graph: GraphProto, prefix: str) -> None:
    """Put the path of the torch module before the name of each node: `layer1.0.conv1/node_conv2d`, `/node_relu`.

    Engines keep these names, also those of nodes that they fuse, so a profile can be read by module. The paths are what
    torch notes at each node, without `prefix`.
    """
    for node in graph.node:
        scopes = next((one.value for one in node.metadata_props if one.key == SCOPES), "")
        paths = SCOPE.findall(scopes)  # from the outermost module to the operator
        if node.name and len(paths) > 1:
            path = paths[-2] if f"{paths[-2]}.".startswith(prefix) else ""
            node.name = f"{path.removeprefix(prefix.rstrip('.')).removeprefix('.')}/{node.name}"


def drop_annotations(model: ModelProto) -> None:
    """Drop what torch notes at each node: stack traces with private paths."""
    graph = model.graph
    model.doc_string = graph.doc_string = ""
    del graph.metadata_props[:]
    for value in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
