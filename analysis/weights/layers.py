"""The fully-connected layers of any ONNX file, read from the file alone.

Nodes are walked, not initializers: a two-dimensional initializer may as well be an embedding. The walk goes through the
branches and loops of control flow and into the functions of the file, once for each call. The file is data from
anywhere: whatever is wrong with it ends in one `StudyError` that names it, and what it costs is bounded
(docs/method.md, "Hostile files").
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import onnx

from analysis.weights import names
from analysis.weights.constant_folding import Attributes
from analysis.weights.constants import Known, Literal, Scope
from analysis.weights.files import plain
from analysis.weights.graph import Around, attributes_of
from analysis.weights.matrix import Matrix
from analysis.weights.node import NoLayerError, Product, Site
from analysis.weights.operators import product
from analysis.weights.protobuf import skeleton
from analysis.weights.shapes import Shape, shapes
from analysis.weights.tensors import Opened, Stored, UnreadableError
from study.errors import StudyError, one_line
from study.onnx_graph import Body, opsets, subgraphs

OLDEST_ONNX = (1, 21)
"""Those before follow paths out of a model's folder: CVE-2022-25882, 2024-27318, 2024-5187, 2026-27489, 2026-34445."""
MOST_NODES = 400_000
"""Nodes looked at, those of a function once for each call: functions that call functions grow without measure."""
MOST_BYTES = 2**26
"""Of all bodies looked at, weights apart, again once for each call."""
MOST_CHARACTERS = 2**27
"""Of all that is said of nodes: a long name in a function that is called often is said often."""
MOST_USES = 8
"""Times that what is stored is read, on average, because products use it with other factors."""

Place = tuple[tuple[str, int], ...]
"""Where a node is, from the graph inwards: steps (body, index of the node in it). A body is "" for the graph,
"function" for that of the function which the node of the step before calls, or the attribute of that node whose graph
it is."""


@dataclass(frozen=True)
class Layer:
    """One fully-connected layer: y = x @ weight.T (+ bias); `weight` is (out, in), all scales applied.

    `name` is its module's path where the exporter left one, and unique in the file. `operand` is the input of the node
    that holds the weight, -1 for an attribute; 0 is y = weight @ x. `tensor` is what the weight is stored as, `form`
    how it was found, `role` one of fc, conv-as-fc and pointwise. `tied_to` is the first layer with the same stored
    numbers, or "".
    """

    name: str
    node: str
    operator: str
    operand: int
    tensor: str
    weight: Matrix
    form: str
    role: str
    place: Place
    tied_to: str = ""


@dataclass(frozen=True)
class Skipped:
    """A node that might be taken for a fully-connected layer, and why it is none, or cannot be read."""

    node: str
    operator: str
    reason: str


@dataclass(frozen=True)
class Weights:
    """What was found in a file, in the order of its nodes."""

    layers: tuple[Layer, ...]
    skipped: tuple[Skipped, ...]


def read(path: Path, *, allow_root: Path | None = None, pointwise: bool = False) -> Weights:
    """The fully-connected layers of the ONNX file at `path`; their numbers are read when they are asked for.

    Weights in other files lie in the model's folder or below, and not behind links, unless `allow_root` names a folder
    they may be anywhere in. With `pointwise` 1x1 convolutions are layers too.

    Raises:
        StudyError: the file is missing, no ONNX model or malformed, its weights lie where they may not, or it would
            take more memory or time than any model does.
    """
    if tuple(map(int, onnx.__version__.split(".")[:2])) < OLDEST_ONNX:
        raise StudyError(f"expected onnx 1.21 or newer, found the unsafe {onnx.__version__}; run `pip install -U onnx`")
    try:
        file = plain(path)
        with file.open() as content:
            found = skeleton(content, file.size)
        if found.model.ir_version < 1 or not found.model.graph.node:
            raise ValueError("a file without IR version or nodes")
        return _Walk(found.model, Opened(file, found.marker, allow_root), pointwise).weights()
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise StudyError(f"{path}: expected an ONNX model, found one that takes more memory than there is") from None
    except RecursionError:
        raise StudyError(f"{path}: expected an ONNX model, found one nested too deeply") from None
    except StudyError as error:
        message = one_line(error, 800)
        raise StudyError(message if message.startswith(str(path)) else f"{path}: {message}") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise StudyError(
            f"{path}: expected an ONNX model, found a malformed file ({names.printable(one_line(error))})"
        ) from None


@dataclass
class _Walk:
    """One way through all nodes of a model."""

    model: onnx.ModelProto
    opened: Opened
    pointwise: bool
    visited: int = 0
    bytes: int = 0
    characters: int = 0
    products: list[tuple[Product, list[onnx.NodeProto], Place]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    uses: Counter[object] = field(default_factory=Counter)

    def weights(self) -> Weights:
        graph = self.model.graph
        scope = Scope(self.opened, opsets(self.model.opset_import))
        self.body(graph, scope, [], (), "", {})
        self.overlapping()
        return Weights(tuple(self.layers()), tuple(self.skipped))

    def body(
        self, body: Body, scope: Scope, outer: list[onnx.NodeProto], place: Place, step: str, call: Attributes
    ) -> None:
        """Walk the nodes of a body; names are looked up in `scope`, `call` is what its function is called with."""
        self.bytes += body.ByteSize()
        if self.bytes > MOST_BYTES:
            raise StudyError(f"expected a model of at most {MOST_BYTES:,} bytes, calls included, found more")
        if isinstance(body, onnx.GraphProto):
            if scope.outer is not None:
                scope.values.update(dict.fromkeys(value.name for value in body.input))
            for tensor in (*body.initializer, *body.sparse_initializer):
                name = tensor.name if isinstance(tensor, onnx.TensorProto) else tensor.values.name
                if isinstance(scope.values.get(name), Literal):
                    raise ValueError(f"two initializers called {name!r}")
                scope.values[name] = Literal(tensor, (scope.key, name))
        around = Around(body)
        # the names of a function's values are its own
        shape_of = (lambda _: None) if any(word == "function" for word, _ in (*place, (step, 0))) else self.shape_of
        for index, node in enumerate(body.node):
            self.visited += 1
            if self.visited > MOST_NODES:
                raise StudyError(f"expected a model of at most {MOST_NODES:,} nodes, calls included, found more")
            attributes = attributes_of(node, call)
            self.uses.update(known.key for name in node.input if isinstance(known := scope.known(name), Literal))
            here, nodes = (*place, (step, index)), [*outer, node]
            function = self.functions.get((node.domain, node.op_type, node.overload))
            if function is not None:
                self.call(function, node, attributes, scope, nodes, here)
                continue
            for name, attribute in attributes.items():
                for graph in subgraphs(attribute):
                    inner = Scope(self.opened, scope.opsets, (scope.key, index, name), scope)
                    self.body(graph, inner, nodes, here, name, call)
            site = Site(node, attributes, scope, around.consumers, around.producer, shape_of, self.pointwise)
            self.node(site, nodes, here)
            scope.add(node, attributes)

    def node(self, site: Site, nodes: list[onnx.NodeProto], place: Place) -> None:
        try:
            found = product(site)
        except (NoLayerError, UnreadableError) as reason:
            self.said(len(str(reason)), nodes)
            operator, why = names.printable(site.node.op_type), names.printable(str(reason))
            self.skipped.append(Skipped(names.path(nodes, place), operator, why))
        else:
            if found is not None:
                self.said(len(found.form) + 8 * len(found.names), nodes)
                self.products.append((found, nodes, place))

    def said(self, characters: int, nodes: list[onnx.NodeProto]) -> None:
        """Take note that so much more is to be said of the last of `nodes`, and where it is."""
        each = 1000  # at least, with all that a layer is made of
        self.characters += each + characters + sum(100 + len(node.name) for node in nodes)
        self.characters += sum(len(entry.value) for entry in nodes[-1].metadata_props)
        if self.characters > MOST_CHARACTERS:
            raise StudyError(f"expected a model with at most {MOST_CHARACTERS // each:,} layers, found more")

    def call(
        self,
        function: onnx.FunctionProto,
        node: onnx.NodeProto,
        attributes: Attributes,
        scope: Scope,
        nodes: list[onnx.NodeProto],
        place: Place,
    ) -> None:
        """Walk the body of a function with the constants that it is called with."""
        if len(nodes) > 100:
            raise ValueError("functions that call each other without end")
        key = (function.domain, function.name, function.overload)
        arguments: dict[str, Known | None] = {}
        for name, value in zip(function.input, node.input, strict=False):
            known = scope.known(value) if value else None
            if known is not None:
                arguments[name] = known
        inner = Scope(self.opened, opsets(function.opset_import) or scope.opsets, key, None, arguments)
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        self.body(function, inner, nodes, place, "function", {**defaults, **attributes})
        for outside, inside in zip(node.output, function.output, strict=False):
            known = inner.known(inside)
            if known is not None and outside:
                scope.values[outside] = known

    def layers(self) -> Iterator[Layer]:
        """The products found, each with a name of its own and told apart from those that share its weight."""
        sources = Counter(found.weight.source.key for found, _, _ in self.products)
        taken: dict[str, int] = {}
        first: dict[object, str] = {}
        for found, nodes, place in self.products:
            key = found.weight.source.key
            parameter = next((name for name in map(names.parameter, reversed(found.names)) if name), "")
            module = names.module(nodes)
            shared = sources[key] > 1 or self.uses[found.literal] > 1  # then its name is that of another module too
            called = (module or parameter) if shared else (parameter or module)
            path = names.path(nodes, place)
            name = names.unique(names.printable(called or nodes[-1].name or found.tensor or path), taken)
            tied = first.setdefault(key, name)
            yield Layer(
                name=name,
                node=path,
                operator=nodes[-1].op_type,
                operand=found.operand,
                tensor=found.tensor,
                weight=found.weight,
                form=found.form,
                role=found.role,
                place=place,
                tied_to="" if tied == name else tied,
            )

    def overlapping(self) -> None:
        """Refuse weights that lie over each other, or are used again and again, each time in another way.

        To read them all would take far longer than to read the file.
        """
        distinct = {found.weight.key: found.weight for found, _, _ in self.products}
        stored = {weight.source.key: weight.source.size for weight in distinct.values()}
        if sum(weight.size for weight in distinct.values()) > MOST_USES * sum(stored.values()) + 2**22:
            raise ValueError(f"{len(distinct)} different weights made of {len(stored)} tensors")
        places = {found.weight.source.place for found, _, _ in self.products if isinstance(found.weight.source, Stored)}
        for path in {place.path for place in places}:
            wanted = sum(place.length for place in places if place.path == path)
            if wanted > path.stat().st_size:
                raise ValueError(f"{wanted} bytes of weights in {path.name}, which has {path.stat().st_size}")

    @cached_property
    def functions(self) -> Mapping[tuple[str, str, str], onnx.FunctionProto]:
        return {(each.domain, each.name, each.overload): each for each in self.model.functions}

    def shape_of(self, name: str) -> Shape | None:
        return self.shapes.get(name)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        return shapes(self.model.graph, opsets(self.model.opset_import).get("", 1))
