"""How a model uses the values of its integer and boolean inputs: to index a table, choose a branch or set a size.

A value is followed from the input through casts, changes of shape and sums with a constant, into branches, loops and
functions, to where it is used. What is computed from it in another way is followed only to branches and sizes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from study.onnx_graph import Body, Dimensions, initializers, subgraphs
from study.onnx_inputs import Input

UNCHANGED = {
    "Cast",
    "CastLike",
    "Clip",
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
}
UNCHANGED |= {"Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"}
"""Operators whose outputs have only values of their inputs; Clip moves those outside, which an index must not be."""
BOUNDS = {"Max", "Min"}
"""Operators that do as Clip with a constant."""
COMPUTED = {"Abs", "Add", "And", "Ceil", "CumSum", "Div", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less"}
COMPUTED |= {"LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "ReduceMax", "ReduceMin", "ReduceProd"}
COMPUTED |= {"ReduceSum", "Relu", "Round", "Sign", "Sub", "Sum", "Xor"}
"""Operators through which a value reaches a condition or a size."""
LOOKED_UP = {
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "GatherBlockQuantized"), ((1, 0),)),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND", "ArrayFeatureExtractor"), ((1, 0),)),
    "EmbedLayerNormalization": ((0, 2), (1, 4), (8, 3)),
    "RotaryEmbedding": ((1, 2), (3, 1)),  # of com.microsoft and of the standard
}
"""Operators that index a table: pairs of the input with the indices and the input with the table."""
CUT_OFF = {**dict.fromkeys(("LSTM", "GRU", "RNN"), (4, 0)), "ReverseSequence": (1, 0)}
"""Operators that take lengths of sequences: the input with the lengths and the input with the sequences."""
SIZES = {"If": (0,), "Loop": (0, 1), "Range": (0, 1, 2), "ConstantOfShape": (0,), "Slice": (1, 2, 4), "Resize": (2, 3)}
SIZES |= dict.fromkeys(("Expand", "Reshape", "Tile", "TopK", "Pad", "Split", "OneHot"), (1,))
"""Inputs that decide what is computed, or how much."""
MOST_SOURCES = 16
"""Inputs that one value is followed from: a file may add thousands of them to each other."""

Sources = dict[str, int | None]
"""The inputs that a value comes from: what was added to it, or None where it was computed in another way."""


@dataclass(frozen=True)
class Use:
    """How the values of an input are used."""

    low: int = 0
    high: int | None = None
    """The values between which each index lies in its table, both included; None if no table is known."""
    decides: bool = False
    """Whether they choose a branch or set a size."""

    def within(self, low: int, high: int) -> "Use":
        """The same use with a range that also lies between these two values."""
        low = max(self.low, low)
        return replace(self, low=low, high=max(low, high if self.high is None else min(high, self.high)))


def uses(model: onnx.ModelProto, inputs: Sequence[Input], sizes: Mapping[str, Dimensions | None]) -> dict[str, Use]:
    """The uses of the integer and boolean ones of these inputs, by name, where there are any.

    Args:
        sizes: the shapes of values of the main graph and of the graphs in its nodes, as far as they are known.
    """
    found = {each.name: Use() for each in inputs if each.dtype.kind in "iub"}
    functions = {(function.domain, function.name): function for function in model.functions}
    main: dict[str, Sources] = {name: {name: 0} for name in found}
    waiting: list[tuple[Body, dict[str, Sources], dict[str, Dimensions | None]]] = [(model.graph, main, dict(sizes))]
    for body, sources, known in waiting:  # which grows, by each function once
        for node in _Walk(found, sources, known).visit(body):
            function = functions.pop((node.domain, node.op_type), None)
            if function is not None:
                actual = list(zip(function.input, node.input, strict=False))
                given = {formal: sources[name] for formal, name in actual if name in sources}
                waiting.append((function, given, {formal: known.get(name) for formal, name in actual}))
    return {name: use for name, use in found.items() if use != Use()}


@dataclass
class _Walk:
    """One walk over a graph and those in its nodes, or over a function."""

    found: dict[str, Use]
    sources: dict[str, Sources]
    known: dict[str, Dimensions | None]
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def visit(self, body: Body) -> Iterator[onnx.NodeProto]:
        """Record the uses in a graph; yields its nodes and those of the graphs in them."""
        self._keep((tensor.name, tensor) for tensor in initializers(body))
        for node in body.node:
            yield node
            attributes = {attribute.name: attribute for attribute in node.attribute}
            if node.op_type == "Constant":
                held = (_constant(attribute) for attribute in node.attribute)
                self._keep((name, tensor) for name, tensor in zip(node.output, held, strict=False) if tensor)
            self._record(node, attributes)
            inner = [graph for attribute in node.attribute for graph in subgraphs(attribute)]
            first = 2 if node.op_type == "Loop" else 0  # its graph takes the number of the round and a condition first
            for graph in inner:
                self._pass([value.name for value in graph.input[first:]], node.input[first:])
                yield from self.visit(graph)
                self._pass(node.output, [value.name for value in graph.output[first // 2 :]])
            if not inner and 0 < len(came := self._sources(node)) <= MOST_SOURCES:
                self.sources.update(dict.fromkeys(node.output, came))

    def _keep(self, tensors: Iterable[tuple[str, onnx.TensorProto]]) -> None:
        for name, tensor in tensors:
            self.known[name], self.constants[name] = tuple(tensor.dims), tensor

    def _pass(self, names: Sequence[str], values: Sequence[str]) -> None:
        for name, value in zip(names, values, strict=False):
            came = self.sources.get(name, {}) | self.sources.get(value, {})
            if 0 < len(came) <= MOST_SOURCES:
                self.sources[name] = came

    def _sources(self, node: onnx.NodeProto) -> Sources:
        """The inputs that the outputs of a node come from."""
        came: Sources = {}
        if node.op_type in UNCHANGED:
            kept = list(node.input if node.op_type == "Concat" else node.input[:1])
            if node.op_type == "Where":  # often of an index and, in case it is negative, the index plus the rows
                came |= dict.fromkeys(self.sources.get(node.input[0], {}))
                kept = sorted(node.input[1:], key=lambda name: max(map(abs, self._exact(name).values()), default=0))
            for name in reversed(kept):
                came |= self.sources.get(name, {})
        elif node.op_type in COMPUTED:
            came |= dict.fromkeys(source for name in node.input for source in self.sources.get(name, {}))
            changing = [name for name in node.input if name not in self.constants]
            if node.op_type in BOUNDS and len(changing) == 1:
                came |= self._exact(changing[0])
            sign = {"Add": 1, "Sub": -1}.get(node.op_type, 0)
            for name, other in permutations(node.input, 2) if len(node.input) == 2 and sign else ():
                shift = _single(self.constants.get(other))
                if shift is not None and (sign > 0 or name == node.input[0]):
                    came |= {source: added + sign * shift for source, added in self._exact(name).items()}
        return came

    def _exact(self, name: str) -> dict[str, int]:
        return {source: added for source, added in self.sources.get(name, {}).items() if added is not None}

    def _record(self, node: onnx.NodeProto, attributes: Mapping[str, onnx.AttributeProto]) -> None:
        taken = dict(enumerate(node.input))
        for index in SIZES.get(node.op_type, ()):
            for source in self.sources.get(taken.get(index, ""), {}):
                self.found[source] = replace(self.found[source], decides=True)
        for indices, table in LOOKED_UP.get(node.op_type, ()):
            for source, added in self._exact(taken.get(indices, "")).items():
                rows = self._rows(node.op_type, attributes, taken[indices], taken.get(table, ""))
                if rows:
                    self.found[source] = self.found[source].within(-added, rows - 1 - added)
        if node.op_type == "OneHot" and (depth := _single(self.constants.get(taken.get(1, "")))):
            for source, added in self._exact(taken.get(0, "")).items():
                self.found[source] = self.found[source].within(-added, depth - 1 - added)
        lengths, sequences = CUT_OFF.get(node.op_type, (None, 0))
        if lengths is not None:
            axis = _integer(attributes, "time_axis", _integer(attributes, "layout", 0))
            longest = _size(self.known.get(taken.get(sequences, "")), axis)
            for source, added in self._exact(taken.get(lengths, "")).items():
                if longest:
                    self.found[source] = self.found[source].within(1 - added, longest - added)

    def _rows(self, kind: str, attributes: Mapping[str, onnx.AttributeProto], indices: str, table: str) -> int | None:
        """The rows of the table that is indexed; the fewest where the indices are of several axes."""
        shape = self.known.get(table)
        if kind in ("GatherND", "ScatterND"):
            first, count = _integer(attributes, "batch_dims", 0), _size(self.known.get(indices), -1)
            axes = (shape or ())[first : None if count is None else first + count]
            return min((size for size in axes if isinstance(size, int)), default=None)
        default = -1 if kind == "ArrayFeatureExtractor" else 0
        return _size(shape, _integer(attributes, "axis", _integer(attributes, "gather_axis", default)))


def _constant(attribute: onnx.AttributeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None where it holds neither a tensor nor integers."""
    if attribute.name in ("value_int", "value_ints"):
        value = helper.get_attribute_value(attribute)
        return numpy_helper.from_array(np.array(value, np.int64))
    return attribute.t if attribute.name == "value" else None


def _size(shape: Dimensions | None, axis: int) -> int | None:
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return size if isinstance(size, int) else None


def _integer(attributes: Mapping[str, onnx.AttributeProto], name: str, default: int) -> int:
    return attributes[name].i if name in attributes else default


def _single(tensor: onnx.TensorProto | None) -> int | None:
    """The one integer that a constant holds; None if it is another constant, or none."""
    if tensor is None or any(size != 1 for size in tensor.dims):
        return None
    if tensor.data_type not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return None
    return int(numpy_helper.to_array(tensor).reshape(-1)[0])
