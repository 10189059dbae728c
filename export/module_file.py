"""Make the ONNX file of a torch module: the exporter's graph, edited for every runtime, with its weights beside it.

Weights of more than `LARGE` bytes are in a file of their own, into which they are copied one by one: protobuf allows
2 GiB, and holding them in several forms would take several times their memory.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from export.portable import edits, folding
from study.errors import StudyError
from study.onnx_graph import has_subgraph

LARGE = 2**30
"""Bytes of weights from which they are beside the file: one file alone is easier to handle, and smaller ones load
everywhere."""
KEPT = 2**20
"""Bytes of a weight up to which it stays in the file nevertheless: the edits need the values of small ones."""
ALIGNED = 4096
"""Multiple of the offsets in the file of weights: a page, so that runtimes can map it."""
EDITED = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
"""Types for which the portable edits are written."""
Runs = tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]
"""Inputs of two calls with other sizes of the free dimensions."""


@dataclass(frozen=True)
class Weights:
    """The file of weights beside an ONNX file."""

    path: Path
    sha256: str
    bytes: int


def weight_bytes(model: ir.Model) -> int:
    return sum(one.const_value.nbytes for one in model.graph.initializers.values() if one.const_value is not None)


def put_beside(model: ir.Model, path: Path, location: str) -> Weights:
    """Copy the large weights into the file `path`, called `location` in the model, which then only refers to them."""
    digest, position = hashlib.sha256(), 0
    known: dict[tuple[Any, ...], ir.ExternalTensor] = {}
    with path.open("wb") as file:
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < KEPT:
                continue
            array = tensor.numpy()
            key = (array.__array_interface__["data"][0], tensor.dtype, tuple(tensor.shape))
            if key not in known:
                padding = bytes(-position % ALIGNED)
                content = array.reshape(-1).view("uint8").data if array.flags.c_contiguous else tensor.tobytes()
                for part in (padding, content):
                    file.write(part)
                    digest.update(part)
                position += len(padding) + tensor.nbytes
                known[key] = ir.ExternalTensor(
                    location,
                    position - tensor.nbytes,
                    tensor.nbytes,
                    tensor.dtype,
                    shape=ir.Shape(list(array.shape)),
                    name=name,
                    base_dir=path.parent,
                )
                value.const_value = known[key]
            else:
                same = known[key]
                value.const_value = ir.ExternalTensor(
                    location, same.offset, same.length, same.dtype, shape=same.shape, name=name, base_dir=path.parent
                )
    return Weights(path, digest.hexdigest(), position)


def serialised(model: ir.Model) -> ModelProto:
    """The model as protobuf, without what torch notes at each node but the path of its module."""
    proto: ModelProto = ir.to_proto(model)
    edits.name_by_module(proto.graph, "network.")
    edits.drop_annotations(proto)
    del proto.metadata_props[:]
    return proto


def edited(model: ModelProto, runs: Runs, folder: Path) -> ModelProto:
    """The same graph for every runtime.

    Args:
        folder: the one with the file of weights.

    Raises:
        StudyError: the edits do not apply.
    """
    tensors = {tensor.data_type for tensor in model.graph.initializer}
    values = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    if others := sorted((tensors | values) - set(EDITED)):
        raise StudyError(f"they are for float32, found {', '.join(TensorProto.DataType.Name(one) for one in others)}")
    if any(has_subgraph(node) for node in model.graph.node):
        raise StudyError("they are for graphs without loops and branches")
    made = ModelProto()
    made.CopyFrom(model)
    folding.fold(made, *runs, folder)
    edits.make_portable(made, weights_prefix="network.")
    return made


def as_written(model: ModelProto) -> ModelProto:
    """The exporter's graph with the module's own names of its weights."""
    edits.rename_weights(model.graph, "network.")
    return model


def describe(model: ModelProto, metadata: Mapping[str, str]) -> None:
    """Set the `metadata_props` of a model."""
    del model.metadata_props[:]
    helper.set_model_props(model, dict(metadata))


def write(path: Path, model: ModelProto) -> None:
    """Write the file, whose weights of `put_beside` are there already."""
    with path.open("wb") as file:
        file.write(model.SerializeToString(deterministic=True))
        file.flush()
        os.fsync(file.fileno())


def fix(path: Path, sizes: Mapping[str, int]) -> None:
    """Fix named dimensions of the inputs of a file: at other sizes it computes something else."""
    model = onnx.load(path, load_external_data=False)
    for value in model.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
    write(path, model)
