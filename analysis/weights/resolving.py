"""Work out a constant: read it from its file as it is, moved, cast or dequantised, or compute it."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from analysis.weights.constant_folding import Attributes, evaluated, plain_node, sizes
from analysis.weights.matrix import linear
from analysis.weights.tensors import Held, Opened, UnreadableError, dtype_of, shape_of
from analysis.weights.values import NARROW, Constant, Known, Literal, Opaque, Pending

FLOATS = (*NARROW, np.dtype(np.float32), np.dtype(np.float64))
RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def resolve(opened: Opened, known: Known, name: str) -> Constant:
    """A constant worked out, called `name` here.

    Raises:
        UnreadableError: it cannot be read, or takes too much to compute.
        ValueError: it is malformed.
        StudyError: its numbers may not be read.
    """
    if isinstance(known, Constant):
        return known
    if isinstance(known, Opaque):
        raise UnreadableError(known.reason)
    if isinstance(known, Literal):
        return replace(_stored(opened, known, name), names=(name,), literal=known.key)
    pending = known.pending
    if pending.results is None and not pending.reason:
        try:
            pending.results = _compute(opened, pending)
        except UnreadableError as error:
            pending.reason = str(error)
    if pending.results is None or known.name not in pending.results:
        raise UnreadableError(pending.reason or f"{pending.node.op_type} does not make it")
    output = pending.results[known.name]
    return replace(output, names=(name, *output.names))


def array(opened: Opened, constant: Constant) -> NDArray[Any]:
    """All numbers of a constant. Raises as `resolve`."""
    size = prod(constant.shape)
    opened.compute(size, f"{constant.tensor!r} of shape {list(constant.shape)}")
    if constant.transposed or constant.quantisation is not None or constant.rounded is not None:
        rows = constant.shape[0] if constant.shape else 1
        shape = constant.shape if constant.transposed else (rows, size // rows if rows else 0)
        values = replace(constant, shape=shape).matrix().load()
    else:
        values = constant.source.read(0, size)
    return values.reshape(constant.shape).astype(constant.dtype, copy=False)


def _compute(opened: Opened, pending: Pending) -> dict[str, Constant]:
    node = pending.node
    inputs = [
        None if known is None else resolve(opened, known, name)
        for name, known in zip(node.input, pending.inputs, strict=True)
    ]
    passed = _passed(opened, pending, inputs) if inputs and inputs[0] is not None else None
    if passed is not None:
        return {node.output[0]: replace(passed, behind=(*passed.behind, node.op_type))}
    arrays = [None if constant is None else array(opened, constant) for constant in inputs]
    results = evaluated(node, pending.attributes, arrays, pending.version, opened)
    origins = [constant for constant in inputs if constant is not None and len(constant.shape) > 1] or inputs
    origin = next((constant for constant in origins if constant is not None), None)
    behind = (*(origin.behind if origin else ()), node.op_type)
    names, literal = (origin.names, origin.literal) if origin else ((), None)
    tensor = origin.tensor if origin else node.output[0]
    return {
        name: Constant(
            Held(result.reshape(-1), result.dtype), result.shape, tensor, behind=behind, names=names, literal=literal
        )
        for name, result in zip(node.output, results, strict=False)
        if name
    }


def _passed(opened: Opened, pending: Pending, inputs: Sequence[Constant | None]) -> Constant | None:
    """The first input, where the operator only moves, casts or dequantises it; None if it has to be computed."""
    constant, node, attributes = inputs[0], pending.node, pending.attributes
    assert constant is not None
    rank, quantised = len(constant.shape), constant.quantisation is not None
    if node.op_type == "Identity":
        return constant
    if node.op_type == "Dropout":
        mode = None if len(inputs) < 3 or inputs[2] is None else array(opened, inputs[2])
        testing = pending.version >= 7 or ("is_test" in attributes and attributes["is_test"].i)
        if not testing or (mode is not None and mode.any()):
            raise UnreadableError("it is made by Dropout as in training, which is random")
        return constant
    if node.op_type == "Cast":
        return _cast(constant, attributes)
    if node.op_type == "Transpose" and rank == 2:
        order = list(attributes["perm"].ints[:3]) if "perm" in attributes else [1, 0]
        if order == [0, 1]:
            return constant
        if order == [1, 0]:
            return replace(constant, shape=constant.shape[::-1], transposed=not constant.transposed)
    if node.op_type in RESHAPING and not constant.transposed:
        shape = _reshaped(opened, pending, inputs)
        per_row = constant.quantisation is not None and constant.quantisation.scale.size > 1
        if shape is not None and not (per_row and (shape[:1] != constant.shape[:1] or shape[:1] == (1,))):
            return replace(constant, shape=shape)
    if node.op_type == "DequantizeLinear" and not quantised and rank > 0:
        scale = None if len(inputs) < 2 or inputs[1] is None else array(opened, inputs[1])
        zero = None if len(inputs) < 3 or inputs[2] is None else array(opened, inputs[2])
        if scale is not None:
            axis = attributes["axis"].i if "axis" in attributes else 1
            block = attributes["block_size"].i if "block_size" in attributes else 0
            quantisation = linear(constant.shape, scale, zero, axis, block)
            if quantisation is not None and constant.rounded is None:
                stored = quantisation.transposed if constant.transposed else quantisation
                given = attributes["output_dtype"].i if "output_dtype" in attributes else 0
                target = dtype_of(given) if given else scale.dtype
                return replace(constant, quantisation=stored, cast=target, rounded=target if target in NARROW else None)
    return None


def _reshaped(opened: Opened, pending: Pending, inputs: Sequence[Constant | None]) -> tuple[int, ...] | None:
    """The shape behind a node that changes nothing else; None if onnx cannot infer it."""
    arrays = [None, *(None if constant is None else array(opened, constant) for constant in inputs[1:])]
    assert inputs[0] is not None
    plain = plain_node(pending.node, pending.attributes, opened)
    (kind,) = sizes(plain, arrays, pending.version, {0: (inputs[0].shape, inputs[0].dtype)}) or [None]
    return kind[0] if kind is not None and prod(kind[0]) == prod(inputs[0].shape) else None


def _stored(opened: Opened, literal: Literal, name: str) -> Constant:
    if isinstance(literal.tensor, onnx.SparseTensorProto):
        return _sparse(opened, literal.tensor, literal.key, name)
    source = opened.source(literal.tensor, literal.key)
    return Constant(source, shape_of(literal.tensor), literal.tensor.name or name)


def _sparse(opened: Opened, tensor: onnx.SparseTensorProto, key: object, name: str) -> Constant:
    shape = shape_of(tensor)
    stored, places = (opened.source(part, (key, part.name)) for part in (tensor.values, tensor.indices))
    if not shape or places.dtype != np.int64:
        raise ValueError(f"sparse tensor {name!r} of shape {list(shape)} with places of type {places.dtype.name}")
    elements = prod(shape) + stored.size + places.size
    opened.compute(elements, f"the sparse tensor {name!r} of shape {list(shape)}")
    indices = places.read(0, places.size)
    if tensor.indices.dims[1:]:
        indices = np.ravel_multi_index(tuple(indices.reshape(tuple(tensor.indices.dims)).T), shape)
    if indices.size != stored.size:
        raise ValueError(f"sparse tensor {name!r} has {stored.size} values and {indices.size} places")
    if indices.size and (indices.min() < 0 or indices.max() >= prod(shape)):
        raise ValueError(f"sparse tensor {name!r} has values outside its shape {list(shape)}")
    values = stored.read(0, stored.size)
    dense = np.zeros(prod(shape), values.dtype)
    dense[indices] = values
    behind = ("a sparse tensor",)
    return Constant(Held(dense, stored.dtype, key), shape, tensor.values.name or name, behind=behind)


def _cast(constant: Constant, attributes: Attributes) -> Constant | None:
    """The constant as another type of floats; None if that takes more than one rounding."""
    target = dtype_of(attributes["to"].i if "to" in attributes else onnx.TensorProto.UNDEFINED)
    if target == constant.dtype:
        return constant
    if target not in FLOATS:
        return None
    integer = constant.dtype.kind in "iu" or constant.dtype.name.startswith(("int", "uint"))
    if constant.dtype.itemsize <= (2 if integer else target.itemsize) and target not in NARROW:
        return replace(constant, cast=target)
    if constant.rounded is None and (constant.dtype.itemsize <= 2 if integer else constant.dtype in FLOATS):
        return replace(constant, cast=target, rounded=target)
    return None
