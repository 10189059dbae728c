"""The fully-connected layers of an ONNX file.

Nodes are walked, not initializers: a two-dimensional initializer may as well be an embedding. A layer is a Gemm or
MatMul with exactly one constant operand, which is a matrix; the constant is an initializer or the output of a Constant
node. The file is data from anywhere: it is bounded in size, nothing it refers to is opened, and whatever is wrong with
it ends in one `StudyError` that names it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import external_data_helper, numpy_helper

from study.errors import StudyError, one_line

MAX_FILE_BYTES = 2 * 2**30
"""The most one protobuf message can hold; a larger file cannot be a model."""


@dataclass(frozen=True)
class Layer:
    """One fully-connected layer: y = x @ weight.T (+ bias).

    `weight` is (out, in), of the file's floating-point dtype (float32 where it is not one that numpy has).
    """

    name: str
    weight: NDArray[Any]


def fully_connected(path: Path) -> list[Layer]:
    """The fully-connected layers of the ONNX file at `path`, in the order of its nodes.

    A layer is called as its initializer less `.weight` (`fc1.weight` gives `fc1`), otherwise as its node.

    Raises:
        StudyError: the file is missing, too large, not an ONNX model, malformed, or keeps a weight in another file.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise StudyError(f"{path}: expected an ONNX file of at most {MAX_FILE_BYTES} bytes, found {size}")
        model = onnx.load(path, format="protobuf", load_external_data=False)
        if model.ir_version < 1 or not model.graph.node:
            raise StudyError(f"{path}: expected an ONNX model, found a file without IR version or nodes")
        return list(_layers(model.graph))
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from None
    except (DecodeError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise StudyError(f"{path}: expected an ONNX model, found a malformed file ({one_line(error)})") from None


def _layers(graph: onnx.GraphProto) -> Iterator[Layer]:
    constants = _constants(graph)
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ("Gemm", "MatMul"):
            continue
        if len(node.input) < 2:
            raise ValueError(f"{node.op_type} {node.name!r} has {len(node.input)} inputs, not 2")
        left, right = node.input[0], node.input[1]
        if (left in constants) == (right in constants):
            continue  # no constant: an attention product; two: a constant expression
        name = left if left in constants else right
        tensor = constants[name]
        if len(tensor.dims) != 2:
            if node.op_type == "Gemm":
                raise ValueError(f"Gemm {node.name!r} has a constant of shape {list(tensor.dims)}, not a matrix")
            continue
        yield Layer(_layer_name(name, node), _weight(node, _array(tensor), on_the_left=name == left))


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Every constant tensor of the graph by the name of its value; an initializer may also be an input's default."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            for attribute in node.attribute:
                if attribute.name == "value":
                    constants[node.output[0]] = attribute.t
    return constants


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    if external_data_helper.uses_external_data(tensor):
        raise ValueError(f"the weight {tensor.name!r} lies in another file; only weights inside the model are read")
    if min(tensor.dims) < 0:  # numpy would take -1 for "whatever fits"
        raise ValueError(f"the weight {tensor.name!r} has the shape {list(tensor.dims)}")
    array = numpy_helper.to_array(tensor)
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _weight(node: onnx.NodeProto, constant: NDArray[Any], *, on_the_left: bool) -> NDArray[Any]:
    """The (out, in) matrix: x @ B has weight B.T, and A @ x has weight A; MatMul has no attributes."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    flag = attributes.get("transA" if on_the_left else "transB")
    transposed = flag is not None and bool(flag.i)
    weight = constant if transposed != on_the_left else constant.T
    alpha = attributes.get("alpha")
    return weight if alpha is None or alpha.f == 1 else weight * weight.dtype.type(alpha.f)


def _layer_name(constant: str, node: onnx.NodeProto) -> str:
    if constant.endswith(".weight"):
        return constant.removesuffix(".weight")
    return node.name or constant
