"""Cut an ONNX graph into pieces that an engine can run on their own, from values that are already known.

The weights are written once, to a file beside the pieces, and every piece refers to it.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from study.errors import StudyError
from study.onnx_data import beside, extent
from study.onnx_graph import subgraphs

WEIGHTS = "weights"
"""Name of the file with the weights."""
INLINE_BYTES = 1024
"""Largest tensor that stays in the pieces themselves."""
MOST_CONSTANT = 64
"""Elements of the largest integer value that a piece holds as a constant: engines want shapes and axes so."""
MOST_NODES = 50_000

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Piece:
    """A file that computes some values from others."""

    path: Path
    inputs: Arrays
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """A model whose nodes can be run in pieces."""

    model: onnx.ModelProto
    """Without its nodes; large weights are in a file in `folder`."""
    nodes: tuple[onnx.NodeProto, ...]
    """In topological order, without constants."""
    folder: Path
    tensors: Mapping[str, TensorProto]
    """The initializers and constants of the graph."""
    outputs: tuple[str, ...]
    types: Mapping[str, onnx.TypeProto]
    """The types of values, as far as onnx can infer them."""
    _numbers: Iterator[int] = field(default_factory=count)

    @cached_property
    def producers(self) -> dict[str, int]:
        """The index of the node that computes a value, by name."""
        return {name: index for index, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def last_uses(self) -> dict[str, int]:
        """The index of the last node that takes a value; that behind the last node for an output of the graph."""
        last = {name: index for index, node in enumerate(self.nodes) for name in taken(node)}
        return last | dict.fromkeys(self.outputs, len(self.nodes))

    def live(self, position: int) -> list[str]:
        """The values of the first `position` nodes that later ones take, or that are outputs of the graph."""
        made = (name for node in self.nodes[:position] for name in node.output if name)
        return [name for name in made if self.last_uses.get(name, -1) >= position]

    @cached_property
    def positions(self) -> list[int]:
        """The numbers of nodes after which the graph can be cut: all values that are live there are tensors."""
        others = {name for name, kind in self.types.items() if kind.WhichOneof("value") != "tensor_type"}
        ends = range(1, len(self.nodes))
        spans = [(self.producers[name], self.last_uses.get(name, -1)) for name in others if name in self.producers]
        return [0, *(end for end in ends if not any(made < end <= last for made, last in spans)), len(self.nodes)]

    def closure(self, wanted: Iterable[str], known: Iterable[str]) -> list[int]:
        """The indices of the nodes that compute the wanted values from the known ones, in their order."""
        stop, needed, waiting = set(known), set[int](), list(wanted)
        while waiting:
            index = self.producers.get(waiting.pop())
            if index is not None and index not in needed:
                needed.add(index)
                waiting += taken(self.nodes[index]) - stop
        return sorted(needed)

    def piece(self, indices: Iterable[int], known: Arrays, wanted: Sequence[str]) -> Piece:
        """Write the file of some nodes; small integers among the known values become constants of it.

        Raises:
            StudyError: a value that they take is not known.
        """
        nodes = [self.nodes[index] for index in indices]
        made = {name for node in nodes for name in node.output}
        names = sorted({name for node in nodes for name in taken(node)} - made)
        inputs: dict[str, NDArray[Any]] = {}
        tensors: list[TensorProto] = []
        for name in names:
            if name in self.tensors:
                tensors.append(self.tensors[name])
            elif name not in known:
                raise StudyError(f"the value {name!r} is not known")
            elif known[name].dtype.kind in "iub" and known[name].size <= MOST_CONSTANT:
                tensors.append(numpy_helper.from_array(known[name], name))
            else:
                inputs[name] = known[name]
        kinds = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in inputs.values()]
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = helper.make_graph(
            nodes,
            "piece",
            [
                helper.make_tensor_value_info(name, kind, array.shape)
                for (name, array), kind in zip(inputs.items(), kinds, strict=True)
            ],
            [self._declared(name) for name in wanted],
            tensors,
        )
        model.graph.CopyFrom(graph)
        path = self.folder / f"piece-{next(self._numbers)}.onnx"
        path.write_bytes(model.SerializeToString())
        return Piece(path, inputs, tuple(wanted))

    def _declared(self, name: str) -> onnx.ValueInfoProto:
        value = onnx.ValueInfoProto(name=name)
        if name in self.types:
            value.type.CopyFrom(self.types[name])
            value.type.tensor_type.ClearField("shape")
        return value


def cut(path: Path, folder: Path) -> Cut:
    """Read a model, and write its weights to `folder`.

    Raises:
        StudyError: it has more than `MOST_NODES` nodes, or its weights lie elsewhere than beside it.
        OSError: it is missing, or nothing can be written to `folder`.
    """
    model = onnx.load(path, load_external_data=False)
    if len(model.graph.node) > MOST_NODES:
        raise StudyError(f"expected at most {MOST_NODES:,} nodes, found {len(model.graph.node):,}")
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            tensors[node.output[0]] = _constant(node)
    with (folder / WEIGHTS).open("wb") as weights:
        for tensor in tensors.values():
            if tensor.data_location == TensorProto.EXTERNAL:
                _bring(path, tensor, folder)
            elif tensor.ByteSize() > INLINE_BYTES:
                _move(tensor, weights)
    with suppress(Exception):  # onnx raises exceptions of several types; the types are then not known
        model = shape_inference.infer_shapes(model)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    nodes = tuple(node for node in model.graph.node if node.output and node.output[0] not in tensors)
    kept = onnx.ModelProto(ir_version=model.ir_version, functions=model.functions, opset_import=model.opset_import)
    return Cut(
        kept,
        nodes,
        folder,
        tensors,
        tuple(value.name for value in model.graph.output),
        {value.name: value.type for value in values if value.type.WhichOneof("value")},
    )


def taken(node: onnx.NodeProto) -> set[str]:
    """The values that a node takes from the graph around it, those of the graphs in its attributes too."""
    names = {name for name in node.input if name}
    for inner in (graph for attribute in node.attribute for graph in subgraphs(attribute)):
        own = {value.name for value in inner.input} | {tensor.name for tensor in inner.initializer}
        own |= {name for each in inner.node for name in each.output}
        used = {name for each in inner.node for name in taken(each)} | {value.name for value in inner.output}
        names |= used - own
    return names


def _constant(node: onnx.NodeProto) -> TensorProto:
    (attribute,) = node.attribute
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = node.output[0]
        return tensor
    value = helper.get_attribute_value(attribute)
    if attribute.name.startswith("value_string"):
        array = np.array(value, object)
    else:
        array = np.array(value, np.int64 if "int" in attribute.name else np.float32)
    return numpy_helper.from_array(array, node.output[0])


def _move(tensor: TensorProto, weights: Any) -> None:
    """Write the data of a tensor to the file of weights."""
    if tensor.data_type == TensorProto.STRING:
        return
    content = tensor.raw_data or numpy_helper.to_array(tensor).tobytes()
    offset = weights.tell() + -weights.tell() % 64
    weights.seek(offset)
    weights.write(content)
    for name in ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data"):
        tensor.ClearField(name)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", offset), ("length", len(content))):
        tensor.external_data.add(key=key, value=str(value))


def _bring(path: Path, tensor: TensorProto, folder: Path) -> None:
    """Link or copy the file of an external tensor beside the pieces."""
    location, _, _ = extent(tensor)
    source = beside(path, location).path
    target = folder / f"model-{source.name}"
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    for entry in tensor.external_data:
        if entry.key == "location":
            entry.value = target.name
