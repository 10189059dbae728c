"""Walk all nodes of a model, through its subgraphs and functions, and describe each that is a fully-connected layer.

The walk goes into the branches and loops of control flow, and into the functions of the file once for each call. What
it costs is bounded, since functions that call functions grow without measure.

Names mean what they mean to ONNX Runtime: an operator that it has itself is that one, even if the file has a function
of its name, and a body that defines a name twice is refused.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter

import onnx

from analysis.weights import names, picked, scales
from analysis.weights.constant_folding import Attributes
from analysis.weights.constants import Scope
from analysis.weights.names import Step
from analysis.weights.node import Node, NoLayerError, Product
from analysis.weights.operators import OPERATORS, products
from analysis.weights.quantised import rescaled
from analysis.weights.shapes import Shape, shapes
from analysis.weights.tensors import Opened, UnreadableError
from analysis.weights.values import Literal
from study.errors import StudyError, escaped
from study.onnx_graph import STANDARD, Body, opsets, subgraphs

MOST_NODES = 400_000
"""Nodes visited, those of a function once for each call."""
MOST_BYTES = 2**26
"""Bytes of all bodies visited, weights apart, again once for each call."""
MOST_CHARACTERS = 2**27
"""Characters in the descriptions of nodes: a function that is called often repeats its long names at every call."""
DESCRIBED = 1000
"""Characters that a layer counts as in addition to its names, for all that is kept of it."""


@dataclass(frozen=True)
class Skipped:
    """A node that might be taken for a fully-connected layer, and why it is none, or cannot be read."""

    node: str
    operator: str
    reason: str


@dataclass(frozen=True)
class Found:
    """A product that is a layer, and the steps that lead to its node."""

    product: Product
    trail: Sequence[Step]


@dataclass
class Walk:
    """The layers of a model in the order of its nodes, once `run`; `uses` counts the nodes that take each tensor."""

    model: onnx.ModelProto
    opened: Opened
    optional: frozenset[str]
    found: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    uses: Counter[object] = field(default_factory=Counter)
    nodes: int = 0
    bytes: int = 0
    characters: int = 0
    ordered: dict[object, Sequence[tuple[int, onnx.NodeProto]]] = field(default_factory=dict)

    def run(self) -> "Walk":
        """
        Raises:
            StudyError: it takes more than the limits above, or than those of what it reads.
            ValueError: the model is malformed.
        """
        self._visit(self.model.graph, Scope(self.opened, opsets(self.model.opset_import)), (), "", {})
        self.found = [replace(each, product=rescaled(each.product.node, each.product)) for each in self.found]
        return self

    def _visit(self, body: Body, scope: Scope, outer: tuple[Step, ...], entry: str, call: Attributes) -> None:
        """Visit the nodes of a body, entered from the last node of `outer` by `entry`; `call` are those of its call."""
        self.bytes += body.ByteSize()
        if self.bytes > MOST_BYTES:
            raise StudyError(f"expected a model of at most {MOST_BYTES:,} bytes, calls included, found more")
        self.nodes += 1 + len(body.node)  # to enter a body takes as long as a node
        if self.nodes > MOST_NODES:
            raise StudyError(f"expected a model of at most {MOST_NODES:,} nodes, calls included, found more")
        ordered = self.ordered if entry == "function" else {}  # a function may be called again and again
        if scope.key not in ordered:
            _refuse_duplicates(body)
            ordered[scope.key] = list(_in_order(body.node))
        if isinstance(body, onnx.GraphProto):
            _declare(body, scope)
        links = Links(body.node)
        shape, inferred = partial(self._shape, scope), partial(self._inferred_shape, scope)
        for index, proto in ordered[scope.key]:
            attributes = resolved(proto, call)
            self.uses.update(known.key for name in proto.input if isinstance(known := scope.known(name), Literal))
            trail = (*outer, Step(entry, index, proto))
            node = Node(proto, attributes, scope, links.consumers, links.producer, shape, inferred, self.optional)
            function = self._functions.get((proto.domain, proto.op_type, proto.overload))
            if function is not None and not _defined(proto, scope.version):
                self._call(function, node, trail)
                continue
            inside: list[tuple[onnx.GraphProto, Scope]] = []
            for name, attribute in attributes.items():
                for graph in subgraphs(attribute):
                    given = picked.inputs_of_body(scope, proto, attributes, graph)
                    inner = Scope(self.opened, scope.opsets, (scope.key, index, name), scope, dict(given))
                    inside.append((graph, inner))
                    self._visit(graph, inner, trail, name, call)
                    scales.leave_body(graph, inner)
            self._examine(node, trail)
            scope.add(proto, attributes)
            picked.note(scope, proto, attributes)
            scope.values.update(picked.chosen(proto, inside))
            scales.follow(node)

    def _examine(self, node: Node, trail: Sequence[Step]) -> None:
        try:
            described = products(node)
        except (NoLayerError, UnreadableError) as error:
            reason = escaped(str(error))
            self._count(len(reason), trail)
            self.skipped.append(Skipped(names.path(trail), escaped(node.operator), reason))
        else:
            for each in described:
                self._count(len(each.pattern) + 8 * len(each.names), trail)
                self.found.append(Found(each, trail))

    def _count(self, characters: int, trail: Sequence[Step]) -> None:
        """Count what is about to be kept of the last node of `trail`."""
        self.characters += DESCRIBED + characters + sum(100 + len(step.proto.name) for step in trail)
        self.characters += sum(len(entry.value) for entry in trail[-1].proto.metadata_props)
        if self.characters > MOST_CHARACTERS:
            raise StudyError(f"expected a model with at most {MOST_CHARACTERS // DESCRIBED:,} layers, found more")

    def _call(self, function: onnx.FunctionProto, node: Node, trail: tuple[Step, ...]) -> None:
        """Visit the body of a function with the constants that it is called with."""
        key = (function.domain, function.name, function.overload)
        scope, proto = node.scope, node.proto
        given = [(name, value) for name, value in zip(function.input, proto.input, strict=False) if value]
        arguments = {name: scope.value(value) for name, value in given}
        omitted = {*function.input} - {*arguments}
        if omitted:
            function, key = _without(function, omitted), (*key, *sorted(omitted))
        inner = Scope(self.opened, opsets(function.opset_import) or scope.opsets, key, None, arguments)
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        scales.enter(node, function, inner)
        self._visit(function, inner, trail, "function", {**defaults, **node.attributes})
        scales.leave(node, function, inner)
        for outside, inside in zip(proto.output, function.output, strict=False):
            if outside:
                scope.values[outside] = inner.value(inside)

    @cached_property
    def _functions(self) -> Mapping[tuple[str, str, str], onnx.FunctionProto]:
        functions = {(each.domain, each.name, each.overload): each for each in self.model.functions}
        if len(functions) < len(self.model.functions):
            raise ValueError("two functions of one name")
        return functions

    def _shape(self, scope: Scope, name: str) -> Shape | None:
        """The shape of a value of the main graph; those of values that other bodies define are not known."""
        return self._shapes.get(name) if scope.of(name).key is None else None

    def _inferred_shape(self, scope: Scope, name: str) -> Shape | None:
        return self._inferred.get(name) if scope.of(name).key is None else None

    @cached_property
    def _shapes(self) -> Mapping[str, Shape]:
        return shapes(self.model.graph, opsets(self.model.opset_import).get("", 1))

    @cached_property
    def _inferred(self) -> Mapping[str, Shape]:
        return shapes(self.model.graph, opsets(self.model.opset_import).get("", 1), declared=False)


class Links:
    """Which node produces a value of a body and which consume it; collected when first needed."""

    def __init__(self, nodes: Iterable[onnx.NodeProto]) -> None:
        self.nodes = nodes

    @cached_property
    def both(self) -> tuple[dict[str, onnx.NodeProto], dict[str, list[onnx.NodeProto]]]:
        producers: dict[str, onnx.NodeProto] = {}
        consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            producers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                consumers.setdefault(name, []).append(node)
        return producers, consumers

    def producer(self, name: str) -> onnx.NodeProto | None:
        return self.both[0].get(name)

    def consumers(self, name: str) -> Sequence[onnx.NodeProto]:
        return self.both[1].get(name, ())


def resolved(node: onnx.NodeProto, call: Attributes) -> Attributes:
    """The node's attributes by name; one that refers to its function's is that of the call."""
    attributes = {}
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            attributes[attribute.name] = attribute
        elif attribute.ref_attr_name in call:
            attributes[attribute.name] = call[attribute.ref_attr_name]
    return attributes


def _without(function: onnx.FunctionProto, omitted: set[str]) -> onnx.FunctionProto:
    """The function as it is called without these inputs: its nodes do not have them either."""
    copy = onnx.FunctionProto()
    copy.CopyFrom(function)
    for node in copy.node:
        node.input[:] = ["" if name in omitted else name for name in node.input]
    return copy


def _declare(graph: onnx.GraphProto, scope: Scope) -> None:
    """Enter the initializers of a graph into its scope; the inputs of a subgraph hide constants around it."""
    if scope.outer is not None:
        for value in graph.input:
            scope.values.setdefault(value.name, None)
    for name, tensor in _initializers(graph):
        scope.values[name] = Literal(tensor, (scope.key, name))


def _initializers(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto | onnx.SparseTensorProto]]:
    for tensor in (*graph.initializer, *graph.sparse_initializer):
        yield tensor.name if isinstance(tensor, onnx.TensorProto) else tensor.values.name, tensor


def _refuse_duplicates(body: Body) -> None:
    """Refuse a body that defines a name twice: some runtimes take one definition, some the other, and most neither.

    An initializer may be an input too, whose default it is.
    """
    graph = isinstance(body, onnx.GraphProto)
    inputs = [value.name for value in body.input] if graph else list(body.input)
    stored = [name for name, _ in _initializers(body)] if graph else []
    made = [name for node in body.node for name in node.output if name]
    for group in (inputs, stored, [*{*inputs, *stored}, *made]):
        if len(set(group)) < len(group):
            twice = next(name for name, count in Counter(group).items() if count > 1)
            raise ValueError(f"the name {twice!r} is defined twice in one graph or function")


def _in_order(nodes: Sequence[onnx.NodeProto]) -> Iterator[tuple[int, onnx.NodeProto]]:
    """The nodes with their positions, each after those that make what it uses: ONNX Runtime sorts them too."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = {index: {makers[name] for name in _used(node) if name in makers} for index, node in enumerate(nodes)}
    if any(max(needed, default=-1) >= index for index, needed in before.items()):
        try:
            yield from [(index, nodes[index]) for index in TopologicalSorter(before).static_order()]
            return
        except CycleError:  # there is no such order
            pass
    yield from enumerate(nodes)


def _used(node: onnx.NodeProto, levels: int = 3) -> Iterator[str]:
    """The values that a node uses, and those that are used in its subgraphs of so many levels."""
    yield from node.input
    for attribute in node.attribute if levels else ():
        for inner in (inner for graph in subgraphs(attribute) for inner in graph.node):
            yield from _used(inner, levels - 1)


def _defined(node: onnx.NodeProto, version: int) -> bool:
    """Whether the operator is one of ONNX, or one read here: then a function of its name in the file is not used."""
    known: bool = node.domain in STANDARD and onnx.defs.has(node.op_type, version, "")
    return known or (node.domain, node.op_type) in OPERATORS
