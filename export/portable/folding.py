"""Replace what a graph computes from weights and shapes alone by constants, for any batch size.

torch's exporter leaves such nodes: a normalised weight, the shape of a reshape, the zeros that a recurrent layer begins
with. Their values are taken from two runs with batches of different sizes. What differs depends on the batch, and has a
constant form where the operator that uses it allows one: -1 in a reshape, no initial state, a factor instead of a size.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from export.portable.edits import constant
from study.errors import in_one_line
from study.onnx_graph import dimensions, has_subgraph

Values = Mapping[str, NDArray[Any]]
BATCHES = (2, 3)
DEPEND_ON_VALUES = {"NonZero", "Compress", "Unique", "NonMaxSuppression"}
"""Operators with a shape that the values of their input decide."""
RECURRENT = ("LSTM", "GRU", "RNN")
ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "PRelu")


def fold(model: ModelProto, one: Values, other: Values, folder: Path | None = None) -> None:
    """Fold in place the graph of torch's exporter.

    Args:
        one: inputs of the graph by name; of their values only the shapes matter.
        other: likewise, with another batch size, and another size of each other free dimension.
        folder: the one with the weights that lie beside the file.

    Raises:
        StudyError: ONNX Runtime does not run the graph.
    """
    graph = model.graph
    known = _known(graph)
    used = [node for node in graph.node if not known.issuperset(node.output)]
    wanted = {name for node in used for name in node.input if name in known}
    wanted |= {
        name
        for node in used
        if node.op_type in ("Expand", "Resize", "Concat") and not wanted.isdisjoint(node.input)
        for name in node.input
        if name
    }
    wanted -= {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    if not wanted:
        return
    first, second = (_run(model, sorted(wanted), given, folder) for given in (one, other))
    for node in used:
        if node.op_type == "Concat":
            _use_pad(graph, node, known, first, second)
        for position, name in enumerate(node.input):
            if name in first and name in known:
                _use_constant(graph, node, position, first, second)
    _drop_unused(graph)


def _known(graph: GraphProto) -> set[str]:
    """The names of the values that follow from weights and shapes; none where values decide a shape."""
    if any(node.op_type in DEPEND_ON_VALUES or has_subgraph(node) for node in graph.node):
        return set()
    constants = {"", *(tensor.name for tensor in graph.initializer)}
    known = set(constants)
    for node in graph.node:
        if (node.op_type == "Shape" or known.issuperset(node.input)) and not node.op_type.startswith("Random"):
            known.update(node.output)
    return known - constants


def _run(model: ModelProto, wanted: list[str], given: Values, folder: Path | None) -> Values:
    """The wanted values for these inputs, and these."""
    asking = ModelProto()
    asking.CopyFrom(model)
    del asking.graph.output[:]
    asking.graph.output.extend(ValueInfoProto(name=name) for name in wanted)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if folder:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with in_one_line(f"ONNX Runtime {onnxruntime.__version__} does not run its graph"):
        session = onnxruntime.InferenceSession(asking.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return dict(given) | dict(zip(wanted, session.run(wanted, given), strict=True))


def _use_constant(graph: GraphProto, node: NodeProto, position: int, first: Values, second: Values) -> None:
    """Give `node` a constant for an input, where there is one for any batch size."""
    name = node.input[position]
    one, other = first[name], second[name]
    if np.array_equal(one, other):
        node.input[position] = constant(graph, name, one)
    elif node.op_type == "Reshape" and position == 1 and (one != other).sum() == 1 and -1 not in one:
        node.input[1] = constant(graph, f"{name}_any_batch", np.where(one == other, one, -1))
    elif node.op_type == "Expand" and position == 1 and _expands_in_vain(graph, node, first, second):
        node.CopyFrom(helper.make_node("Identity", [node.input[0]], list(node.output), name=node.name))
    elif node.op_type == "Resize" and position == 3 and all(one[1:] == other[1:]):
        sizes = np.array(first[node.input[0]].shape)
        factors = np.nextafter((one / sizes).astype(np.float32), np.float32(np.inf))  # the size is rounded down
        factors[one == sizes] = 1
        node.input[2], node.input[3] = constant(graph, f"{name}_factors", factors), ""
    elif node.op_type in RECURRENT and position > 4 and not one.any() and not other.any():
        node.input[position] = ""  # it begins with zeros
    elif node.op_type in ELEMENTWISE and (row := _row(one, other)) is not None:
        node.input[position] = constant(graph, f"{name}_row", row)


def _batch_axis(one: NDArray[Any], other: NDArray[Any]) -> int:
    """The one axis along which the sizes of two runs differ; -1 where there is none or more."""
    if one.ndim != other.ndim:
        return -1
    axes = [axis for axis, sizes in enumerate(zip(one.shape, other.shape, strict=True)) if len({*sizes}) > 1]
    return axes[0] if len(axes) == 1 else -1


def _row(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any] | None:
    """The value for one image, with an axis of size 1 for the batch; None if it is not the same for each image."""
    axis = _batch_axis(one, other)
    if axis < 0:
        return None
    row = one.take([0], axis)
    return row if (one == row).all() and np.array_equal(row, other.take([0], axis)) else None


def _expands_in_vain(graph: GraphProto, node: NodeProto, first: Values, second: Values) -> bool:
    """Whether an Expand has no effect, or only operators use it that expand by themselves to another input."""
    value, shape = node.input
    if all(run[value].shape == tuple(run[shape]) for run in (first, second) if value in run):
        return value in first
    sizes = {info.name: dimensions(info.type) for info in graph.value_info}
    size, (output,) = sizes.get(node.output[0]), node.output
    users = [user for user in graph.node if output in user.input]
    return size is not None and all(
        user.op_type in ELEMENTWISE and any(sizes.get(name) == size for name in user.input if name != output)
        for user in users
    )


def _use_pad(graph: GraphProto, node: NodeProto, known: set[str], first: Values, second: Values) -> None:
    """Write the rows that a Concat adds to those of each image as Pad and Add, if they are the same for all images."""
    names = list(node.input)
    (value, *more) = [name for name in names if name not in known or name not in first] or [""]
    if more or value not in first or first[value].dtype != np.float32:
        return
    axis = helper.get_attribute_value(node.attribute[0]) % first[value].ndim
    batch = _batch_axis(first[value], second[value])
    rows = [np.zeros_like(first[n].take([0], batch)) if n == value else _row(first[n], second[n]) for n in names]
    given = [row for row in rows if row is not None]
    if len(given) < len(rows) or batch in (-1, axis):
        return
    place = names.index(value)
    pads = np.zeros((2, first[value].ndim), np.int64)
    pads[:, axis] = [sum(row.shape[axis] for row in part) for part in (given[:place], given[place + 1 :])]
    stem = node.name or node.output[0]
    constant(graph, f"{stem}_pads", pads.ravel())
    constant(graph, f"{stem}_rows", np.concatenate(given, axis))
    padded = helper.make_node("Pad", [value, f"{stem}_pads"], [f"{stem}_padded"], name=f"{stem}_padded")
    node.CopyFrom(helper.make_node("Add", [f"{stem}_padded", f"{stem}_rows"], list(node.output), name=node.name))
    graph.node.insert(list(graph.node).index(node), padded)


def _drop_unused(graph: GraphProto) -> None:
    """Drop the nodes that nothing uses any more, and those that only pass a value on."""
    same: dict[str, str] = {}
    needed = {value.name for value in graph.output}
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = same.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in needed:
            same[node.output[0]] = node.input[0]
    constants = {tensor.name for tensor in graph.initializer}  # some in place of a node's output
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update({*node.input} - constants)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    values = [value for value in graph.value_info if value.name in needed]
    del graph.value_info[:]
    graph.value_info.extend(values)
