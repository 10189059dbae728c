"""Which operators give finite values for finite ones: 0 times Inf is NaN, so there a weight of zero counts."""

from collections.abc import Container

import numpy as np
from onnx import NodeProto

from export.compact.graph import Graph, attribute

BOUNDED = frozenset(("Cos", "Erf", "HardSigmoid", "Sigmoid", "Sign", "Sin", "Softsign", "Tanh"))
"""Operators whose results are small for any number."""
ALWAYS = BOUNDED | {
    *("Abs", "Celu", "Elu", "Gelu", "HardSwish", "LeakyRelu", "Mish", "Neg", "Relu", "Selu", "Softplus"),
    *("Dropout", "Identity", "ThresholdedRelu"),
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMean"),
    *("Flatten", "Reshape", "Squeeze"),
}
"""Operators that give finite values for finite ones."""
WITH_CONSTANTS = frozenset(("Add", "Clip", "Max", "Min", "Mul", "PRelu", "Sub"))
"""Those that do so with finite constants, apart from overflow."""


def stays_finite(graph: Graph, node: NodeProto, units: Container[str]) -> bool:
    """Whether a node gives finite values for finite ones.

    Args:
        units: names of the values that are not constant.
    """
    taken = [name for name in node.input if name in units]
    constants = [graph.constant(name) for name in node.input if name and name not in units]
    if any(value is None or not np.isfinite(value).all() for value in constants):
        return node.op_type in ("Dropout", "Reshape", "Squeeze")  # what they take more is no number of the result
    if node.op_type == "BatchNormalization":
        variance = constants[-1]
        return variance is not None and bool((variance + attribute(node, "epsilon", 1e-5) > 0).all())
    if node.op_type == "Mul" and len(taken) > 1:  # a square overflows early; x * sigmoid(x) does not
        makers = [graph.makers.get(name) for name in taken]
        return any(maker is not None and maker.op_type in BOUNDED for maker in makers)
    return node.op_type in ALWAYS or node.op_type in WITH_CONSTANTS
