"""Matrices that a node picks from constants when the model runs: those of experts, or of the steps of a loop.

A product with such a matrix is a layer for each matrix that can be picked, and is read as a stack of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx
from onnx import helper

from analysis.weights.constant_folding import Attributes
from analysis.weights.constants import Scope, standard
from analysis.weights.node import Node
from analysis.weights.resolving import array, resolve
from analysis.weights.tensors import Held, UnreadableError
from analysis.weights.values import Constant, Known, Output, Pending, Picked, swapped

PICKS = ("Gather", "GatherElements", "GatherND", "Slice", "Compress", "SequenceAt")
"""Operators that pick parts of a constant by what is computed."""
MOVES = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Transpose", "Reshape")
"""Operators behind which what is picked may still be a matrix."""
OLDEST_SCAN = 9
"""The first opset whose Scan has no batch, and no lengths among its inputs."""
MOST_MOVES = 8
"""Those behind a pick that are followed, Identity and Unsqueeze apart."""


def note(scope: Scope, node: onnx.NodeProto, attributes: Attributes) -> None:
    """Enter what a node of computed outputs picks from constants, or passes on of it, into its scope."""
    if not standard(node) or not node.input or not node.output or scope.known(node.output[0]) is not None:
        return
    name, operator = node.input[0], node.op_type
    data, picked = scope.known(name), scope.picked(name)
    result: Picked | None = None
    if operator == "Where":
        constant = all(scope.known(each) is not None for each in node.input[1:3])
        result = Picked("Where") if constant else None
    elif operator in PICKS and data is not None:
        result = Picked(operator, data if _along_first(scope, node, attributes) else None, name)
    elif picked is not None and operator in MOVES:
        result = _moved(picked, scope, node, attributes)
    elif picked is not None and operator == "DequantizeLinear":
        result = Picked(picked.by)
    if result is not None:
        scope.values[node.output[0]] = result


def _moved(picked: Picked, scope: Scope, node: onnx.NodeProto, attributes: Attributes) -> Picked:
    """What a node of the operators `MOVES` makes of a pick; of what is not followed, only that it is one."""
    operator, second = node.op_type, node.input[1] if len(node.input) > 1 else ""
    if operator == "Identity" or (operator == "Unsqueeze" and _in_front(scope, second, attributes)):
        return picked
    move: Known | Attributes | tuple[int, ...] | None = None
    if operator == "Reshape":
        move = scope.known(second) if second else None
    elif operator == "Transpose":
        move = tuple(attributes["perm"].ints[:16]) if "perm" in attributes else None
    elif operator in ("Cast", "Squeeze"):
        move = attributes if operator == "Cast" else ()
    if move is None or len(picked.moves) == MOST_MOVES:
        return Picked(picked.by)
    return replace(picked, moves=(*picked.moves, move))


def _in_front(scope: Scope, name: str, attributes: Attributes) -> bool:
    """Whether the axes of this name, or the attribute, are new ones before those of a matrix."""
    try:
        axes = scope.array(name) if name else attributes["axes"].ints[:16] if "axes" in attributes else None
    except UnreadableError:
        axes = None
    if axes is None:
        return False
    places = sorted(map(int, np.reshape(axes, -1)))
    return places == [*range(len(places))] or max(places) < -2


def _along_first(scope: Scope, node: onnx.NodeProto, attributes: Attributes) -> bool:
    """Whether parts along the first axis are picked, which are whole matrices of a stack."""
    if node.op_type == "Gather":
        return "axis" not in attributes or attributes["axis"].i == 0
    if node.op_type != "Slice" or len(node.input) < 4:
        return False
    try:
        axes = scope.array(node.input[3])
    except UnreadableError:
        return False
    return axes is not None and axes.size == 1 and axes.item() == 0


def inputs_of_body(
    scope: Scope, node: onnx.NodeProto, attributes: Attributes, graph: onnx.GraphProto
) -> dict[str, Known | Picked]:
    """The inputs of the body of a Loop or Scan that are constants at every step, or a matrix of a stack at each."""
    if node.op_type not in ("Loop", "Scan") or scope.version < OLDEST_SCAN:
        return {}
    states, skipped = len(node.input), 2
    if node.op_type == "Scan":
        states, skipped = states - (attributes["num_scan_inputs"].i if "num_scan_inputs" in attributes else 0), 0
    sources = {each.output[0]: each.input[0] for each in graph.node if each.op_type == "Identity" and each.output}
    inside: dict[str, Known | Picked] = {}
    for index, (outer, inner) in enumerate(zip(node.input, graph.input, strict=False)):
        known = scope.known(outer) if outer else None
        if known is None or index < skipped:
            continue
        if index >= states:
            axes = "scan_input_axes" in attributes or "scan_input_directions" in attributes
            inside[inner.name] = Picked("Scan", None if axes else known, outer)
            continue
        place = index - skipped + (node.op_type == "Loop")
        result = graph.output[place].name if place < len(graph.output) else ""
        if inner.name in (result, sources.get(result)):
            inside[inner.name] = known
    return inside


def chosen(node: onnx.NodeProto, branches: Sequence[tuple[onnx.GraphProto, Scope]]) -> dict[str, Picked]:
    """The outputs of an If that are constants in both branches."""
    if node.op_type != "If" or len(branches) != 2:
        return {}
    results = [[scope.known(output.name) for output in graph.output] for graph, scope in branches]
    return {
        name: Picked("If")
        for name, one, other in zip(node.output, *results, strict=False)
        if name and one is not None and other is not None
    }


def bound(node: Node, *places: int) -> Node:
    """The node with the stack in place of the matrix that is picked from it, if exactly one of these inputs is one.

    Raises as `Scope.constant`.
    """
    names = [node.input(place) for place in places]
    if any(node.scope.known(name) is not None for name in names):
        return node
    stacks = {name: stack for name in names if (stack := _stack(node.scope, name)) is not None}
    if len(stacks) != 1:
        return node
    return replace(node, scope=Scope(node.scope.opened, node.scope.opsets, object(), node.scope, dict(stacks)))


def _stack(scope: Scope, name: str) -> Known | None:
    """All matrices that the value may be, [matrices, rows, columns]; None if they are not known to be such."""
    picked = scope.picked(name)
    if picked is None or picked.data is None:
        return None
    known = picked.data
    for move in picked.moves:
        shape = resolve(scope.opened, known, picked.name).shape
        node = helper.make_node("Cast", [picked.name], [picked.name])
        inputs: list[Known | None] = [known]
        if move == ():
            if len(shape) > 2 and min(shape[1:]) < 2:  # the Squeeze may be of this axis
                return None
            continue
        if isinstance(move, Mapping):
            node.attribute.extend(move.values())
        elif isinstance(move, tuple):
            if len(shape) != 3 or move != swapped(len(move)):
                return None
            node = helper.make_node("Transpose", [picked.name], [picked.name], perm=swapped(3))
        else:
            target = array(scope.opened, resolve(scope.opened, move, "target"))
            sides = [int(size) for size in target.reshape(-1)[-2:]]
            if len(sides) != 2 or min(sides) < 1 or len(shape) < 2 or prod(sides) != prod(shape[1:]):
                return None
            full = np.array([shape[0], *sides])
            node = helper.make_node("Reshape", [picked.name, "target"], [picked.name])
            inputs = [known, Constant(Held(full, full.dtype), full.shape, "")]
        pending = Pending(scope.version, node, {attribute.name: attribute for attribute in node.attribute}, inputs)
        known = Output(pending, picked.name)
    return known if len(resolve(scope.opened, known, picked.name).shape) == 3 else None
