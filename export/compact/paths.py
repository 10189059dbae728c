"""Where the units of a layer go: through element-wise operators and pooling, to the layers that take them."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from export.compact.finite import stays_finite
from export.compact.graph import OUTSIDE, Graph, attribute
from export.compact.layers import Layer, layer_of
from study.errors import in_one_line
from study.onnx_graph import STANDARD

ALONE = frozenset(
    [
        "Abs",
        "Celu",
        "Clip",
        "Cos",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Relu",
        "Selu",
        "Sigmoid",
        "Sign",
        "Sin",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
        "Dropout",
    ]
)
"""Operators that compute each element from one input; what else they take are scalars."""
TOGETHER = frozenset(("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu"))
"""Those that compute each element from several inputs, which are broadcast."""
POOLS = frozenset(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
REDUCING = ("ReduceMean", "ReduceMax")
TO_ROWS = ("Flatten", "Reshape", "Squeeze", *REDUCING)
"""Operators that make rows of maps."""
MOST_STEPS = 200
"""Nodes between a layer and those that take its units."""

Layout = Literal["last", "second"]
"""The axis of the units: of maps it is the second one, of rows the last."""


class BlockedError(Exception):
    """The units go where they cannot be followed."""


@dataclass
class Path:
    """Nodes between `layer` and the `ends`, the layers that take its units, and what changes with their number.

    `sliced` are inputs of nodes with a number for each unit, with its axis there; `shapes` are target shapes of Reshape
    that have the number of units in them. `uneven` are averages that count zeros beyond the border, where a constant
    other than 0 does not stay constant. `finite` is false where a node may give Inf or NaN for a finite number.
    """

    layer: Layer
    nodes: list[NodeProto] = field(default_factory=list)
    ends: list[Layer] = field(default_factory=list)
    sliced: list[tuple[NodeProto, int, int]] = field(default_factory=list)
    shapes: list[NodeProto] = field(default_factory=list)
    uneven: list[NodeProto] = field(default_factory=list)
    finite: bool = True

    @property
    def units(self) -> int:
        return len(self.layer.weight)


def follow(graph: Graph, layer: Layer, shapes: Mapping[str, tuple[int | None, ...]]) -> Path:
    """The path of the units of a layer.

    Args:
        shapes: of the values, as far as they are known; None for a size that is not.

    Raises:
        BlockedError: some node needs all of them, or the model gives them out.
    """
    path = Path(layer)
    output = layer.node.output[0]
    known: dict[str, Layout] = {output: "second" if layer.is_conv else "last"}
    waiting: list[int] = []
    _go_on(graph, output, waiting)
    while waiting:
        index = heapq.heappop(waiting)
        while waiting and waiting[0] == index:
            heapq.heappop(waiting)
        node = graph.nodes[index]
        if node.domain not in STANDARD:
            raise BlockedError
        if node.op_type in ("Gemm", "MatMul", "Conv"):
            path.ends.append(_end(graph, path, node, known))
            continue
        if len(path.nodes) >= MOST_STEPS:
            raise BlockedError
        known[node.output[0]] = _step(graph, path, node, known, shapes)
        path.finite &= stays_finite(graph, node, known)
        path.nodes.append(node)
        _go_on(graph, node.output[0], waiting)
    if not path.ends:
        raise BlockedError
    return path


def _go_on(graph: Graph, value: str, waiting: list[int]) -> None:
    if value in graph.outputs:
        raise BlockedError
    for node, position in graph.users.get(value, ()):
        if position == OUTSIDE:
            raise BlockedError
        heapq.heappush(waiting, graph.index[id(node)])


def _end(graph: Graph, path: Path, node: NodeProto, known: Mapping[str, Layout]) -> Layer:
    layer = layer_of(graph, node)
    if layer is None or [position for position, name in enumerate(node.input) if name in known] != [0]:
        raise BlockedError
    layout = known[node.input[0]]
    inputs = layer.weight.shape[1]
    if (layout == "second") != layer.is_conv or inputs % path.units or (layer.is_conv and inputs != path.units):
        raise BlockedError
    return layer


def _step(
    graph: Graph,
    path: Path,
    node: NodeProto,
    known: Mapping[str, Layout],
    shapes: Mapping[str, tuple[int | None, ...]],
) -> Layout:
    """Note what changes in a node between; gives the layout of its output."""
    taken = [position for position, name in enumerate(node.input) if name in known]
    layout = known[node.input[taken[0]]]
    if any(known[node.input[position]] != layout for position in taken) or any(map(_used(graph), node.output[1:])):
        raise BlockedError
    others = {
        position: graph.constant(name) for position, name in enumerate(node.input) if name and position not in taken
    }
    operator = node.op_type
    if operator in TOGETHER:
        return _together(path, node, others, layout)
    if taken != [0]:
        raise BlockedError
    if operator in ALONE:
        if any(value is None or value.size != 1 for value in others.values()):
            raise BlockedError
        if operator == "Dropout" and len(node.input) > 2 and (others.get(2) is None or bool(others[2])):
            raise BlockedError
        return layout
    if operator == "BatchNormalization" and len(others) == 4 and not attribute(node, "training_mode", 0):
        if path.layer.node.op_type == "MatMul" or _spread(path, known, node) != 1:
            raise BlockedError
        if any(value is None or value.shape != (path.units,) for value in others.values()):
            raise BlockedError
        path.sliced += [(node, position, 0) for position in others]
        return layout
    if operator in POOLS and layout == "second":
        counted = attribute(node, "count_include_pad", 0)
        border = any(attribute(node, "pads", ())) or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"
        if operator == "AveragePool" and counted and (border or attribute(node, "ceil_mode", 0)):
            path.uneven.append(node)
        return layout
    return _flattened(path, node, others, layout, shapes)


def _used(graph: Graph) -> Any:
    return lambda name: bool(name) and (name in graph.users or name in graph.outputs)


def _spread(path: Path, known: Mapping[str, Layout], node: NodeProto) -> int:
    """1 unless the value was flattened from maps, where a unit has several places."""
    return 2 if path.layer.is_conv and known[node.input[0]] == "last" else 1


def _together(path: Path, node: NodeProto, others: Mapping[int, NDArray[Any] | None], layout: Layout) -> Layout:
    """Constants beside the units: one number, or one for each unit."""
    rank = path.layer.weight.ndim if layout == "second" else 2
    for position, value in others.items():
        if value is None:
            raise BlockedError
        if value.size == 1 and value.ndim <= rank:
            continue
        axis = value.ndim - (rank - 1) if layout == "second" else value.ndim - 1
        if axis < 0 or value.ndim > rank or value.size != value.shape[axis] or value.size != path.units:
            raise BlockedError
        path.sliced.append((node, position, axis))
    return layout


def _flattened(
    path: Path,
    node: NodeProto,
    others: Mapping[int, NDArray[Any] | None],
    layout: Layout,
    shapes: Mapping[str, tuple[int | None, ...]],
) -> Layout:
    """Maps that become rows, and rows that stay rows."""
    rows = path.layer.node.op_type == "Gemm"
    if not rows and path.layer.node.op_type != "Conv":
        raise BlockedError  # a MatMul may be of more than two axes
    if node.op_type == "Flatten" and attribute(node, "axis", 1) == 1:
        return "last"
    if node.op_type == "Reshape" and others.get(1) is not None:
        target = [int(size) for size in np.asarray(others[1]).reshape(-1)]
        given = shapes.get(node.input[0], ())
        each = None if not given or None in given[1:] else int(np.prod([size or 0 for size in given[1:]]))
        if len(target) == 2 and target[0] == 0 and target[1] == -1 and not attribute(node, "allowzero", 0):
            return "last"
        if len(target) == 2 and target[0] != 0 and target[1] > 0 and target[1] == (each or (rows and path.units)):
            path.shapes.append(node)
            return "last"
    if node.op_type in ("Squeeze", *REDUCING) and layout == "second":
        axes = others.get(1)
        chosen = attribute(node, "axes", None) if axes is None else np.asarray(axes).reshape(-1).tolist()
        rank = path.layer.weight.ndim
        if chosen and sorted(axis % rank for axis in chosen) == list(range(2, rank)):
            return "second" if node.op_type != "Squeeze" and attribute(node, "keepdims", 1) else "last"
    raise BlockedError


def constants(model: ModelProto, path: Path, graph: Graph) -> tuple[list[NDArray[Any]], NDArray[np.bool_]]:
    """For each end the values of all units, (out,), where the layer gave out its bias alone: act(bias).

    ONNX Runtime computes them with the nodes between; pooling leaves a constant as it is, apart from `path.uneven`.

    Returns:
        The values, and whether a unit has them everywhere, (out,): it gives 0 to each pool that counts a border.
    """
    bias = path.layer.bias
    dtype = path.layer.weight.dtype
    vector = np.zeros(path.units, dtype) if bias is None else np.asarray(bias, dtype)
    start = path.layer.node.output[0]
    shape = (1, path.units, *[1] * (path.layer.weight.ndim - 2))
    nodes, names = [], set[str]()
    for node in path.nodes:
        copy = NodeProto()
        if node.op_type in (*POOLS, *TO_ROWS):
            same = node.op_type in POOLS or (node.op_type in REDUCING and attribute(node, "keepdims", 1))
            copy = helper.make_node("Identity" if same else "Flatten", [node.input[0]], [node.output[0]])
        else:
            copy.CopyFrom(node)
            del copy.output[1:]
        nodes.append(copy)
        names.update(copy.input)
    tensors = [
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name in sorted(names)
        if name and (value := graph.constant(name)) is not None
    ]
    wanted = list(dict.fromkeys(node.input[0] for node in (*(end.node for end in path.ends), *path.uneven)))
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    inner = helper.make_graph(
        [*nodes, *(helper.make_node("Identity", [name], [f"{name}__wanted"]) for name in wanted)],
        "constants",
        [helper.make_tensor_value_info(start, kind, shape)],
        [helper.make_tensor_value_info(f"{name}__wanted", kind, None) for name in wanted],
        tensors,
    )
    small = helper.make_model(inner, opset_imports=model.opset_import, ir_version=max(model.ir_version, 4))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with in_one_line("ONNX Runtime does not run its activations"):
        session = onnxruntime.InferenceSession(small.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = dict(zip(wanted, session.run(None, {start: vector.reshape(shape)}), strict=True))
    everywhere = np.ones(path.units, np.bool_)
    for pool in path.uneven:
        everywhere &= found[pool.input[0]].reshape(-1) == 0
    return [found[end.node.input[0]].reshape(-1) for end in path.ends], everywhere
