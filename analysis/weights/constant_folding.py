"""Compute what operators make of constants with onnx's reference evaluator, once the result is known to be small."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from analysis.weights.shapes import bounded, outputs
from analysis.weights.tensors import Opened, UnreadableError, dtype_of
from analysis.weights.values import NARROW
from study.errors import one_line
from study.onnx_graph import dimensions

Attributes = Mapping[str, onnx.AttributeProto]

MULTIPLIED, MULTIPLIED_SLOWLY = 2**9, 2**4
"""Multiply-accumulates of a product that count as one element; the second for types that numpy multiplies by itself."""
SLOW = {"Erf": 32, "GatherElements": 8, "ScatterElements": 32, "ScatterND": 64}
"""Elements that one element of these operators counts as: onnx's evaluator loops over them in Python."""
INFERRED, EVALUATED = 2**10, 2**13
"""Fixed cost, in elements, of inferring the shape of one input and of evaluating one node, which takes about 1 ms."""
OLDEST_OPSET = 7
"""Older operators broadcast by other rules, which onnx's evaluator does not know."""
OLDEST = {"Softmax": 13}
"""Operators that onnx's evaluator knows only as of this opset: the older Softmax goes over all axes from its own."""
EVALUATED_AS = {"DequantizeLinear": 19}
"""Operators that onnx's evaluator has only as of this opset, although older ones do the same."""
SMALL = ("int4", "uint4", "int2", "uint2")
"""Types for which ONNX Runtime rounds floats, half away from zero, and onnx's evaluator cuts them off."""
COMPUTED = frozenset(
    """
    Abs Add And Cast CastLike Ceil Clip Concat ConstantOfShape Cos DequantizeLinear Div Dropout
    DynamicQuantizeLinear Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements Gemm Greater
    GreaterOrEqual Identity Less LessOrEqual Log MatMul Max Mean Min Mul Neg Not Or Pad Pow QuantizeLinear Range
    Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
    Round ScatterElements ScatterND Shape Sigmoid Sign Sin Size Slice Softmax Split Sqrt Squeeze Sub Sum Tanh Tile
    Transpose Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)
"""Deterministic operators: they are computed if all their inputs are constant."""
PLAIN = [getattr(onnx.AttributeProto, kind) for kind in ("FLOAT", "INT", "STRING", "TENSOR", "FLOATS", "INTS")]
"""Types of the attributes that such an operator has."""
NO_NUMBERS = [getattr(onnx.TensorProto, kind) for kind in ("UNDEFINED", "STRING", "COMPLEX64", "COMPLEX128")]


def evaluated(
    node: onnx.NodeProto,
    attributes: Attributes,
    arrays: Sequence[NDArray[Any] | None],
    version: int,
    opened: Opened,
) -> Sequence[NDArray[Any]]:
    """The outputs of a node whose inputs are these `arrays`, for standard operators of this `version`.

    Raises:
        UnreadableError: they cannot be computed, or have too many elements.
    """
    from onnx.reference import ReferenceEvaluator  # slow to import, and rarely needed

    if version < OLDEST.get(node.op_type, OLDEST_OPSET):
        raise UnreadableError(f"it is made by {node.op_type} of opset {version}, which is not computed here")
    plain = plain_node(node, attributes, opened)
    kinds = sizes(plain, arrays, version)
    arrays = [each.astype(np.float32) if each is not None and each.dtype in NARROW else each for each in arrays]
    for kind in kinds:
        if kind is None:
            raise UnreadableError(f"it is made by {node.op_type}, and onnx cannot infer its size")
        shape = kind[0]
        elements, left = EVALUATED + prod(shape) * SLOW.get(node.op_type, 1), arrays[0]
        if node.op_type in ("MatMul", "Gemm") and left is not None:
            counted = MULTIPLIED if left.dtype in (np.float32, np.float64) else MULTIPLIED_SLOWLY
            elements += prod(shape) * max(left.shape, default=1) // counted
        opened.compute(elements, f"a {node.op_type} of shape {list(shape)}")
    feeds = {name: array for name, array in zip(plain.input, arrays, strict=True) if name and array is not None}
    values = [onnx.ValueInfoProto(name=name) for name in feeds]
    graph = helper.make_graph([plain], "constant", values, [onnx.ValueInfoProto(name=n) for n in plain.output if n])
    opset = helper.make_opsetid("", max(version, EVALUATED_AS.get(node.op_type, 0)))
    model = helper.make_model(graph, opset_imports=[opset])
    try:
        with np.errstate(all="ignore"):
            results = [np.asarray(each) for each in ReferenceEvaluator(model).run(None, feeds)]
    except MemoryError:
        raise
    except Exception as error:  # the evaluator asserts and raises all kinds
        raise UnreadableError(f"{node.op_type} cannot be computed: {one_line(error, 100)}") from None
    shapes = [kind and kind[0] for kind in kinds]
    if [array.shape for array in results] != shapes or any(array.dtype.kind in "OSUc" for array in results):
        raise UnreadableError(f"{node.op_type} cannot be computed: it is not of the shape that onnx infers")
    given = arrays[0] if "Cast" in node.op_type and results[0].dtype.name in SMALL else None
    if given is not None and given.dtype.kind == "f" and (results[0].astype(given.dtype) != given).any():
        raise UnreadableError(f"engines differ in how {node.op_type} makes {results[0].dtype} of what it cannot hold")
    return [_rounded(array, kind[1], node.op_type) for array, kind in zip(results, kinds, strict=True) if kind]


def _rounded(array: NDArray[Any], dtype: np.dtype[Any], operator: str) -> NDArray[Any]:
    """The result of an operator on floats of 16 bits, computed in float32, as its own type."""
    with np.errstate(all="ignore"):
        rounded = array.astype(dtype, copy=False)
    if dtype in NARROW and (np.isfinite(array) & ~np.isfinite(rounded)).any():
        raise UnreadableError(f"a result of {operator} is too large for {dtype}, to which engines round it or do not")
    return rounded


def sizes(
    plain: onnx.NodeProto,
    arrays: Sequence[NDArray[Any] | None],
    version: int,
    shapes: Mapping[int, tuple[tuple[int, ...], np.dtype[Any]]] | None = None,
) -> list[tuple[tuple[int, ...], np.dtype[Any]] | None]:
    """Shape and type that onnx infers of a node's outputs, from those of its inputs and the values of small ones."""
    types, data = {}, {}
    for index, name in enumerate(plain.input):
        array = arrays[index]
        if name and array is not None:
            types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            if array.size <= 64:
                data[name] = numpy_helper.from_array(array, name)
        elif name and shapes and index in shapes:
            shape, dtype = shapes[index]
            types[name] = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(dtype), shape)
    try:
        kinds = outputs(plain, types, data, version)
    except ValueError as error:
        raise UnreadableError(f"{plain.op_type} cannot be computed: {error}") from None
    return [_kind(kinds[name]) if name in kinds else None for name in plain.output if name]


def plain_node(node: onnx.NodeProto, attributes: Attributes, opened: Opened) -> onnx.NodeProto:
    """The node with its attributes' values, where a function's refer to its call; its inputs and outputs renamed.

    Renamed, because repeated names could make the evaluator loop.
    """
    names = [f"in{index}" if name else "" for index, name in enumerate(node.input)]
    results = [f"out{index}" if name else "" for index, name in enumerate(node.output)]
    opened.compute(INFERRED * (1 + len(names)), f"what {node.op_type} makes of constants")
    plain = helper.make_node(node.op_type, names, results)
    for name, attribute in attributes.items():
        if attribute.type not in PLAIN or attribute.t.data_location == onnx.TensorProto.EXTERNAL:
            raise UnreadableError(f"it is made by {node.op_type} with {name!r}, which is not computed here")
        plain.attribute.append(copied(attribute, name))
    if not bounded(plain):
        raise UnreadableError(f"it is made by {node.op_type} of more outputs than it has")
    opened.compute(plain.ByteSize(), f"the attributes of {node.op_type}")
    return plain


def copied(attribute: onnx.AttributeProto, name: str) -> onnx.AttributeProto:
    """The attribute under this name: a call of a function may have another for it."""
    copy = onnx.AttributeProto()
    copy.CopyFrom(attribute)
    copy.name, copy.ref_attr_name = name, ""
    return copy


def _kind(kind: onnx.TypeProto) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and type of a tensor of numbers; None if the shape is not known, or wrong."""
    shape = dimensions(kind)
    if shape is None or kind.tensor_type.elem_type in NO_NUMBERS:
        return None
    known = tuple(size for size in shape if isinstance(size, int))
    return (known, dtype_of(kind.tensor_type.elem_type)) if len(known) == len(shape) else None
