"""Facts about an ONNX file: inputs and outputs, size, parameters, multiply-accumulates.

The file is untrusted: its size is bounded, external weights are read only where ONNX Runtime reads them, and every
fault ends in one `StudyError` that names the file. A number that is not certain is None.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import defs, helper, numpy_helper, shape_inference

from study.arithmetic import Arithmetic, coarsest
from study.errors import StudyError, one_line
from study.onnx_data import beside, extent
from study.onnx_given import Given, Shapes
from study.onnx_graph import (
    NO_MODEL,
    STANDARD,
    Dimensions,
    attribute_tensors,
    bodies,
    check_calls,
    checked_size,
    dimensions,
    has_subgraph,
    initializers,
    random_nodes,
)
from study.onnx_indices import Use, uses
from study.onnx_inputs import BATCH, Input, resolve, signature

SMALL = 1024
"""Largest number of elements of a constant that is kept for shape inference, because it may be a shape."""
COUNTED = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "Gemm", "MatMul", "MatMulInteger"), (0, 1)),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), (0, 3)),
}
"""Operators that are counted, with the indices of the inputs that are multiplied."""
NOT_COUNTED = {"AffineGrid", "Attention", "CausalConvWithState", "DeformConv", "Det", "DFT", "Einsum", "GRU"}
NOT_COUNTED |= {"LinearAttention", "LSTM", "RNN", "STFT"}
"""Standard operators with internal products; a file with one of them has no count."""
FUSED = ("FusedConv", "FusedGemm", "FusedMatMul")
"""Operators of com.microsoft: a product followed by something cheap."""


@dataclass(frozen=True)
class Facts:
    """Facts about an ONNX file."""

    inputs: tuple[Input, ...]
    """Without those that have an initializer."""
    outputs: tuple[str, ...]
    output_types: tuple[np.dtype[Any] | None, ...]
    """Their element types; None for a sequence, a map, an optional, or a type that is not declared."""
    arithmetic: Arithmetic
    """The coarsest one, which decides how far two engines may differ."""
    bytes: int
    """Size of the file and of its files of external weights."""
    parameters: int
    """Elements of the floating-point initializers and Constant nodes, including those in subgraphs and functions."""
    subnormal_weights: int
    """Those of them in float16, float32 or float64 that are subnormal."""
    macs: int | None
    """See `read`."""
    uses: Mapping[str, Use]
    """How the values of the integer and boolean inputs are used, by name."""
    random: tuple[str, ...] = ()
    """The nodes that draw random numbers, each with its operator."""


def read(path: Path, given: Given | None = None) -> Facts:
    """Read the ONNX file at `path`, with the user's shapes and sizes for its inputs.

    `macs` are the multiply-accumulates of convolutions and matrix products for one item of a batch: the count at batch
    1 if the first dimension of some input is free; if all are fixed and equal, the count divided by that number. It is
    None if this leaves a remainder, first dimensions differ, a shape is unknown, a product is in a branch, loop or
    function, a product multiplies only constants (an engine may fold it), or an operator may contain other products
    (`NOT_COUNTED`, or not a standard one).

    Raises:
        StudyError: the file is missing, not a file, too large, not an ONNX model or malformed; it refers to a file
            outside its folder; it has no inputs, or one that is no tensor of numbers; the shapes do not fit its inputs.
    """
    try:
        return _read(path, given or Given())
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from None
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    except DecodeError:
        raise StudyError(f"{path}: {NO_MODEL}") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise StudyError(f"{path}: expected an ONNX model, found a malformed file ({one_line(error)})") from None


def _read(path: Path, given: Given) -> Facts:
    size = checked_size(path)
    model = onnx.load(path, format="protobuf", load_external_data=False)
    if model.ir_version < 1 or not model.opset_import or not model.graph.node or not model.graph.output:
        raise StudyError("expected an ONNX model, found a file without IR version, opset, nodes or outputs")
    check_calls(model)
    inputs = signature(model.graph, given)
    outputs = tuple(value.name for value in model.graph.output)
    kinds = [value.type.tensor_type.elem_type for value in model.graph.output]
    types = tuple(helper.tensor_dtype_to_np_dtype(kind) if kind else None for kind in kinds)
    arithmetic, random = coarsest(model), tuple(random_nodes(model))
    sizes = {path.resolve(): size}
    parameters = subnormal = 0
    for tensor in list(_constants(model)):
        if min(tensor.dims, default=0) < 0:  # numpy would infer the size of -1
            raise ValueError(f"the constant {tensor.name!r} has the shape {list(tensor.dims)}")
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location, offset, length = extent(tensor)
            file = beside(path, location)
            tensor.raw_data = file.place(offset, length).read(0, length).tobytes()
            tensor.data_location = onnx.TensorProto.DEFAULT
            sizes[file.path] = file.size
        if "float" in helper.tensor_dtype_to_np_dtype(tensor.data_type).name:
            array = numpy_helper.to_array(tensor)
            parameters += array.size
            subnormal += _subnormal(array)
        if prod(tensor.dims) > SMALL:  # shape inference needs only its dims
            for field in ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data"):
                tensor.ClearField(field)
            tensor.data_location = onnx.TensorProto.EXTERNAL
    products = _products(model, inputs)
    known = _inferred(model, inputs, given.shapes)
    macs = None if products is None else _macs(products, known, inputs, given.shapes)
    used = uses(model, inputs, known)
    return Facts(inputs, outputs, types, arithmetic, sum(sizes.values()), parameters, subnormal, macs, used, random)


def _constants(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The initializers and the tensors of Constant nodes, including those in subgraphs and functions."""
    for body in bodies(model):
        yield from initializers(body)
        yield from attribute_tensors(node for node in body.node if node.op_type == "Constant")


def _subnormal(array: NDArray[Any]) -> int:
    """The number of subnormal elements, from their bits, because arithmetic may flush them to zero."""
    if array.dtype not in (np.float16, np.float32, np.float64):
        return 0
    bits = array.reshape(-1).view(f"u{array.itemsize}")
    magnitude = bits & bits.dtype.type(np.iinfo(bits.dtype).max >> 1)
    return int(np.count_nonzero((magnitude > 0) & (magnitude < 1 << np.finfo(array.dtype).nmant)))


def _macs(
    products: Sequence[onnx.NodeProto],
    known: Mapping[str, Dimensions | None],
    inputs: Sequence[Input],
    shapes: Shapes,
) -> int | None:
    """See `read`."""
    resolved = [shape for shape in resolve(inputs, shapes).values() if shape]
    firsts = {shape[0] for shape in resolved}
    free = not all(isinstance(first, int) for first in firsts) or any(BATCH in shape for shape in resolved)
    batch = 1 if free or not firsts else firsts.pop() if len(firsts) == 1 else None
    if not isinstance(batch, int) or batch < 1:
        return None
    counts = [_count(node, known) for node in products]
    total = sum(count for count in counts if count is not None)
    return None if None in counts or total % batch else total // batch


def _inferred(model: onnx.ModelProto, inputs: Sequence[Input], shapes: Shapes) -> dict[str, Dimensions | None]:
    """The shapes of the values, for one item of a batch; all in the model but those of its inputs are inferred again.

    Only of the inputs and the initializers where onnx cannot infer any.
    """
    for body in bodies(model):
        del body.value_info[:]
        for value in body.output if isinstance(body, onnx.GraphProto) else ():
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
    del model.graph.input[:]
    for each, shape in zip(inputs, resolve(inputs, shapes, 1).values(), strict=True):
        dtype = helper.np_dtype_to_tensor_dtype(each.dtype)
        model.graph.input.append(helper.make_tensor_value_info(each.name, dtype, shape))
    with suppress(Exception):  # onnx raises exceptions of several types
        model = shape_inference.infer_shapes(model, data_prop=True)
    known: dict[str, Dimensions | None] = {}
    for body in bodies(model):
        if isinstance(body, onnx.GraphProto):
            values = (*body.input, *body.value_info, *body.output)
            known |= {value.name: dimensions(value.type) for value in values}
            known |= {tensor.name: tuple(tensor.dims) for tensor in body.initializer}
    return known


def _products(model: onnx.ModelProto, inputs: Sequence[Input]) -> list[onnx.NodeProto] | None:
    """The nodes of the graph that are counted; None if the file may contain other products."""
    calls = {(function.domain, function.name) for function in model.functions}
    if any(domain in STANDARD for domain, _ in calls):
        return None
    products: list[onnx.NodeProto] = []
    changing = {each.name for each in inputs}
    for index, body in enumerate(bodies(model)):
        for node in body.node:
            changes = not changing.isdisjoint(node.input) or has_subgraph(node)
            if changes:
                changing.update(node.output)
            name = _standard(node)
            if index == 0 and changes and name in COUNTED:
                products.append(node)
            elif (
                name in COUNTED
                or name in NOT_COUNTED
                or (name is None and (index > 0 or (node.domain, node.op_type) not in calls))
            ):
                return None
    return products


def _standard(node: onnx.NodeProto) -> str | None:
    """The name of a standard operator, or None; a fused product of com.microsoft is replaced by the product."""
    transposed = any(attribute.name.startswith("trans") and attribute.i for attribute in node.attribute)
    if node.domain == "com.microsoft" and node.op_type in FUSED and not (node.op_type == "FusedMatMul" and transposed):
        node.domain, node.op_type = "", node.op_type.removeprefix("Fused")
        del node.input[3:]  # the additional input of FusedConv
    return node.op_type if node.domain in STANDARD and defs.has(node.op_type) else None


def _count(node: onnx.NodeProto, known: Mapping[str, Dimensions | None]) -> int | None:
    """Multiply-accumulates of a node; None if a shape is unknown.

    Each element of the output (of a ConvTranspose: of the input) takes as many as the filter has weights, or as the
    inner dimension has elements.
    """
    shapes: list[list[int]] = []
    for name in (*(node.input[index] for index in COUNTED[node.op_type]), node.output[0]):
        shape = known.get(name)
        if shape is None or not all(isinstance(size, int) for size in shape):
            return None
        shapes.append([size for size in shape if isinstance(size, int)])
    left, right, output = shapes
    if "Conv" in node.op_type:
        return prod(left if node.op_type == "ConvTranspose" else output) * prod(right[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(output) * prod(left[:1] if transposed else left[-1:])
