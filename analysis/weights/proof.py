"""Prove that a matrix read from a file is the one its layer multiplies with: ONNX Runtime multiplies the identity.

No shape tells a square matrix from its transpose, and a scale or zero point has no shape to check at all. So the
layer's node is copied into a model of its own (`analysis.weights.probe`) and fed with the identity: what comes out is
the whole matrix as ONNX Runtime reads it, compared weight by weight with the one read here.

The file may be from anywhere, and ONNX Runtime is trusted with the layer's node and constants, with time and memory
too: prove only files that you would run. Each error that it reports becomes a reason.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from analysis.weights.layers import Layer
from analysis.weights.probe import NotTriedError, Probe
from analysis.weights.protobuf import skeleton
from study.errors import StudyError, one_line
from study.onnx_data import plain
from study.onnx_given import Given
from study.onnx_inputs import resolve, signature
from study.onnx_values import check

MOST_ELEMENTS = 2**25
"""Elements of x and y together."""
MOST_PRODUCTS = 2**36
"""Multiply-accumulates of a layer, some seconds."""
TOLERANCE = 1e-5
"""The error allowed of an output: a few roundings in float32, relative to its largest weight."""
CODE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Non-zero status code .* Status Message: "
    r"|/\S+:\d+ [^)]*\)(?: const)? (?:.* was false\. )?"
)
"""Codes and places in its source, with which ONNX Runtime's messages begin."""


@dataclass(frozen=True)
class Proof:
    """`verified` is None where it could not be tried; `error` is the largest of an output, relative to its weights,
    and None where that is not finite.

    `inputs_seen` is the number of the layer's inputs whose weights were compared, all of them unless it is very large.
    `reason` says what is wrong or why it could not be tried; it is empty where `verified` is True.
    """

    verified: bool | None
    error: float | None
    reason: str
    inputs_seen: int = 0


def verify(path: Path, layers: Sequence[Layer], given: Given | None = None) -> list[Proof]:
    """A proof for each of the layers that were read from `path`.

    Args:
        given: what the user says of the model's inputs. The proof needs nothing of it, but it has to fit them.

    Raises:
        StudyError: `given` does not fit the model's inputs.
    """
    if given and (given.shapes or given.values or given.sizes):  # those of arrays are among the shapes
        file = plain(path)
        with file.open() as content:
            inputs = signature(skeleton(content, file.size).model.graph, given)
        resolve(inputs, given.shapes)
        check(inputs, given)
    return [prove(layer) for layer in layers]


def prove(layer: Layer) -> Proof:
    """Whether ONNX Runtime multiplies with `layer.weight`."""
    try:
        probe = Probe(layer)
        outputs = layer.weight.shape[0] * probe.copies
        if layer.role == "conv-as-fc":
            map_shape = layer.in_graph.inferred(layer.in_graph.input(0))
            if map_shape is None or map_shape[2:] != probe.shape[2:]:
                raise NotTriedError("the size of its map does not follow from the model's inputs")
        if not probe.inputs or not outputs:
            raise NotTriedError("its matrix is empty")
        most = min(MOST_ELEMENTS // (probe.width + outputs), MOST_PRODUCTS // (probe.inputs * outputs))
        chosen = np.linspace(0, probe.inputs - 1, max(1, min(probe.inputs, most))).astype(int)
        x = np.zeros((len(chosen), probe.inputs), np.float32)
        x[np.arange(len(chosen)), chosen] = 1
        return _compared(layer, probe, chosen, x)
    except (NotTriedError, StudyError) as error:
        return Proof(None, None, one_line(error))
    except Exception as error:  # onnxruntime has one for each of its codes; a malformed node may lead to any other
        return Proof(None, None, f"ONNX Runtime cannot run the layer: {one_line(StudyError(CODE.sub('', str(error))))}")


def _compared(layer: Layer, probe: Probe, chosen: NDArray[np.int_], x: NDArray[np.float32]) -> Proof:
    weight, y = layer.weight.load(), probe.run(x)
    if layer.operator == "LinearClassifier" and len(weight) == 1:
        y = y[:, -1:]  # of two classes with one row of weights the second has the product as its score
    if y.shape[1] == probe.copies * len(weight):
        weight = np.tile(weight, (probe.copies, 1))
    if weight.shape != (y.shape[1], probe.inputs):
        sides = f"the matrix is {weight.shape[0]} x {weight.shape[1]}, but x has {probe.inputs} columns"
        return Proof(False, None, f"y is not x W^T: {sides} and y has {y.shape[1]}")
    scaled = layer.weight.quantisation is not None or layer.weight.alpha != 1
    types = [*map(ml_dtypes.finfo, [*probe.computed, *[weight.dtype] * scaled])]
    tolerance = TOLERANCE + sum(float(each.eps) for each in types if each.bits == 16)
    step = max((float(each.smallest_subnormal) for each in types), default=0.0)
    with np.errstate(all="ignore"):
        error = _errors(weight[:, chosen], y.T, tolerance, step)
        unknown = "too small to compare" if np.isfinite(weight[:, chosen]).all() else "not finite"
        if probe.computed and (error > tolerance).any():  # equal weights less their mean are 0, or rounding's error
            by_rounding = np.abs(probe.run(x, shaken=True) - y).max(axis=0)
            error[(error > tolerance) & (np.abs(weight[:, chosen] - y.T).max(axis=1) <= by_rounding)] = np.nan
            unknown = "no larger than the errors of rounding"
    if np.isnan(error).all():
        raise NotTriedError(f"its weights are {unknown}")
    worst = float(np.nanmax(error))
    if np.isinf(worst):
        return Proof(False, None, "y is not x W^T: only one of them is finite", len(chosen))
    wrong = f"y is not x W^T: the relative error is {worst:.2g}, more than {tolerance:.2g}"
    return Proof(worst <= tolerance, worst, "" if worst <= tolerance else wrong, len(chosen))


def _errors(
    expected: NDArray[np.float64], found: NDArray[np.float64], tolerance: float, step: float
) -> NDArray[np.float64]:
    """The largest error of each output, relative to its largest weight; NaN where there is nothing to compare.

    Both are (outputs, inputs). Nothing can be said of outputs without finite weights, and of those that differ by
    one `step` of rounding where that is more than the tolerance.
    """
    wrong = np.abs(found - expected).max(axis=1)
    size = np.maximum(np.abs(expected).max(axis=1), np.abs(found).max(axis=1))
    errors = np.divide(wrong, size, out=np.zeros_like(wrong), where=size > 0)
    errors[(wrong > 0) & (wrong <= step) & (size * tolerance < step)] = np.nan
    finite = np.isfinite(expected).all(axis=1), np.isfinite(found).all(axis=1)
    different: NDArray[np.float64] = np.where(finite[0] != finite[1], np.inf, np.where(finite[0], errors, np.nan))
    return different
