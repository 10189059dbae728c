"""Models in onnx's own notation, from x to y, with their constants as arrays, and what ONNX Runtime makes of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper, parser

from study.onnx_graph import bodies

HEAD = '<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1, "ai.onnx.ml": 3, "local": 1]> main'
FUNCTION = '<domain: "local", opset_import: ["": 21, "local": 1]>'
"""What precedes a function."""


def model(
    nodes: str,
    constants: Mapping[str, Any],
    x: str = "float[5, 5]",
    y: str = "float[]",
    declared: str = "",
    functions: str = "",
    own: Mapping[str, Mapping[str, Any]] | None = None,
    opset: int = 21,
) -> onnx.ModelProto:
    """A model of these nodes.

    Args:
        constants: the initializers, arrays or tensors by name.
        declared: the types of values in between.
        own: initializers of subgraphs, by the name of the subgraph.
        opset: the version of the standard operators.
    """
    head = HEAD.replace("21", str(opset))
    made = parser.parse_model(f"{head} ({x} x) => ({y} y) <{declared}> {{ {nodes} }} {functions}")
    for body in bodies(made):
        if isinstance(body, onnx.GraphProto):
            arrays = constants if body is made.graph else (own or {}).get(body.name, {})
            body.initializer.extend(tensor(array, name) for name, array in arrays.items())
    return made


def save(folder: Path, nodes: str, constants: Mapping[str, Any], **more: Any) -> Path:
    """As `model`, in the folder's file model.onnx."""
    (folder / "model.onnx").write_bytes(model(nodes, constants, **more).SerializeToString())
    return folder / "model.onnx"


def run(path: Path, **inputs: Any) -> list[Any]:
    """The outputs that ONNX Runtime, asked to change nothing and to print nothing, computes from these inputs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def tensor(array: Any, name: str) -> TensorProto:
    if not isinstance(array, TensorProto):
        return numpy_helper.from_array(np.asarray(array, order="C"), name)
    array.name = name
    return array


def literal(array: np.ndarray[Any, Any]) -> str:
    """A float32 array in the notation."""
    return f"float[{','.join(map(str, array.shape))}] {{{','.join(map(str, array.ravel()))}}}"
