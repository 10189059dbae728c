"""In which arithmetic an ONNX file computes: its coarsest one limits how far two engines may differ."""

import re
from typing import Literal

import onnx
from onnx import TensorProto

from study.difference import Limit
from study.onnx_graph import bodies, tensors
from study.parity import INT8_DIFFERENCE

Arithmetic = Literal["float32", "float16", "bfloat16", "int8"]
"""float32 stands for float64 and integers too, int8 for everything that is rounded to 8 bits or fewer."""
QUANTISES = re.compile(r"(Dynamic)?Quantize|Q[A-Z]|.*(Integer|NBits)$")
"""Operators that round to eight bits or fewer, or may do so inside; DequantizeLinear alone does not."""

STEP: dict[Arithmetic, float] = {"float32": 2**-23, "float16": 2**-10, "bfloat16": 2**-7, "int8": 2**-8}
STEPS = 8
"""Steps at 1 by which two engines may differ where the largest values are small: numbers of about 1 have come before,
as in a sigmoid, which some engines compute by a polynomial around 1/2."""
LEAST_SHARE = 1e-3
"""Share of the largest value of an output by which two engines may differ in float32: thousands of its steps, for the
last digits lost in a deep network."""

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
    types |= {tensor.data_type for tensor in tensors(model)}
    if TensorProto.BFLOAT16 in types:
        return "bfloat16"
    return "float16" if TensorProto.FLOAT16 in types else "float32"


def limit(kind: Arithmetic, tolerance: float | None = None) -> Limit:
    """How far the outputs of two engines may differ in a file with this coarsest arithmetic.

    Args:
        tolerance: the share of an output's largest value that the user allows; None: that of the arithmetic.
    """
    absolute = STEPS * STEP[kind]
    relative = INT8_DIFFERENCE if kind == "int8" else max(LEAST_SHARE, absolute)
    return Limit(absolute, relative if tolerance is None else tolerance, f" ({STEPS} steps of {kind} at 1)")
