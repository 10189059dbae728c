"""Weights that several nodes share: cut alike for all of them, and stored once, or cut for none of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto

from export.compact.graph import OUTSIDE, Graph
from study.onnx_graph import STANDARD

PRODUCTS = ("Gemm", "MatMul", "Conv")


@dataclass(frozen=True)
class Shared:
    """A stored tensor and the inputs of nodes that take it, perhaps transposed.

    A graph inside of a node, and an output of the model, take it at the position `OUTSIDE`: for them nothing is cut.
    """

    name: str
    uses: tuple[tuple[NodeProto, int], ...]

    @property
    def is_weight(self) -> bool:
        """Whether a layer multiplies with it; two copies of a bias, or of the number of units, cost nothing."""
        return any(node.op_type in PRODUCTS and position == 1 for node, position in self.uses)


def stored(graph: Graph, name: str) -> str:
    """The name of the stored tensor that a value is, perhaps transposed; of any other value its own."""
    while (node := graph.makers.get(name)) is not None and _passes(node):
        name = node.input[0]
    return name


def shared(graph: Graph) -> list[Shared]:
    """The stored tensors that more than one input takes."""
    constants = (output for node in graph.nodes if node.op_type == "Constant" for output in node.output)
    found = []
    for name in (*graph.initializers, *constants):
        uses = tuple(_uses(graph, name))
        if len(uses) > 1:
            found.append(Shared(name, uses))
    return found


def _uses(graph: Graph, name: str) -> Iterator[tuple[NodeProto, int]]:
    for node, position in graph.users.get(name, ()):
        if _passes(node) and position == 0:
            yield from _uses(graph, node.output[0])
        else:
            yield node, position
    if name in graph.outputs:
        yield NodeProto(), OUTSIDE


def _passes(node: NodeProto) -> bool:
    return node.op_type in ("Identity", "Transpose") and node.domain in STANDARD


def settle(graph: Graph, before: list[Shared]) -> set[str]:
    """Let the nodes that shared a tensor share what was cut from it, where that is the same for all of them.

    Returns:
        The names of the weights that would differ between the nodes now: more to store than before.
    """
    apart = set()
    for one in before:
        if len({one.name if at == OUTSIDE else stored(graph, node.input[at]) for node, at in one.uses}) == 1:
            continue  # it is the same tensor for all of them
        values = [None if at == OUTSIDE else graph.constant(node.input[at]) for node, at in one.uses]
        known = {None if value is None else (value.shape, value.tobytes()) for value in values}
        if len(known) == 1:
            names = [node.input[at] for node, at in one.uses]
            kept = one.name if one.name in names else names[0]
            for node, at in one.uses:
                node.input[at] = kept
        elif one.is_weight:
            apart.add(one.name)
    return apart
