"""In which arithmetic an ONNX file computes: its coarsest one decides how far two engines may differ."""

import re
from typing import Literal

import onnx
from onnx import TensorProto

from study.onnx_graph import attribute_tensors, bodies, initializers

Arithmetic = Literal["float32", "float16", "bfloat16", "int8"]
"""float32 stands for float64 and integers too, int8 for everything that is rounded to 8 bits or fewer."""
QUANTISES = re.compile(r"(Dynamic)?Quantize|Q[A-Z]|.*(Integer|NBits)$")
"""Operators that round to eight bits or fewer, or may do so inside; DequantizeLinear alone does not."""

FLOAT8 = {number for name, number in TensorProto.DataType.items() if name.startswith("FLOAT8E")}


def coarsest(model: onnx.ModelProto) -> Arithmetic:
    """The coarsest arithmetic of a file, by its operators and by the types that it declares for tensors and casts."""
    nodes = [node for body in bodies(model) for node in body.node]
    types = {attribute.i for node in nodes for attribute in node.attribute if attribute.name in ("to", "dtype")}
    for body in bodies(model):
        values = () if isinstance(body, onnx.FunctionProto) else (*body.input, *body.output, *body.value_info)
        types |= {value.type.tensor_type.elem_type for value in values}
    if not types.isdisjoint(FLOAT8) or any(QUANTISES.match(node.op_type) for node in nodes):
        return "int8"
    types |= {tensor.data_type for tensor in attribute_tensors(nodes)}
    types |= {tensor.data_type for body in bodies(model) for tensor in initializers(body)}
    if TensorProto.BFLOAT16 in types:
        return "bfloat16"
    return "float16" if TensorProto.FLOAT16 in types else "float32"
