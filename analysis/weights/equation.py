"""Whether y = x W^T holds for values of x and y that were seen, and the matrix W that was read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.weights.expose import NUMBERS, Probe
from analysis.weights.layers import Layer
from study.errors import StudyError, one_line

Sample = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x (..., rows, in) and y (..., rows, out) of one run; what comes before the rows is a stack of matrices."""

ROWS = 256
"""Rows of x and y that are kept of a run."""
TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4}
"""The error allowed, by the type of y. One rounding is 5e-4, 4e-3 and 6e-8 of a number; the rest is for sums of
thousands of terms, some of which cancel. A matrix that is turned or shifted is wrong by about 1."""


@dataclass(frozen=True)
class Proof:
    """`verified` is None where it could not be tried; `error` is that of y = x W^T, relative, where it is known.

    `reason` says what is wrong or why it could not be tried; it is empty where `verified` is True.
    """

    verified: bool | None
    error: float | None
    reason: str


def sample(layer: Layer, probe: Probe, x: NDArray[Any], y: NDArray[Any]) -> list[Sample]:
    """The rows of one run; none where the node did not run or had an empty input."""
    if not x.size or not y.size:
        return []
    if "Conv" in layer.operator:
        x, y = (array.reshape(-1, *array.shape[probe.stacked + 1 :]) for array in (x, y))
        if layer.role == "pointwise":
            for axis, stride in enumerate(probe.strides, start=2):
                x = x.take(range(0, x.shape[axis], stride), axis)
            x, y = np.moveaxis(x, 1, -1), np.moveaxis(y, 1, -1)
        else:
            x, y = (array.reshape(len(array), -1) for array in (x, y))
    elif x.ndim - probe.stacked == 1:
        x, y = x[..., None, :], y[..., None, :]
    else:
        x = x.swapaxes(-1, -2) if probe.x_swapped else x
        y = y.swapaxes(-1, -2) if probe.y_swapped else y
    if layer.operator == "LinearClassifier" and layer.weight.shape[0] == 1:
        y = y[..., -1:]  # of two classes with one row of weights the second has the product as its score
    if y.shape[-1] == layer.weight.shape[0]:
        x, y = (array.reshape(-1, array.shape[-1]) for array in (x, y))
    elif x.ndim < y.ndim:  # the same rows for each matrix of a stack
        ones = (1,) * (y.ndim - x.ndim)
        x = x.reshape(*x.shape[: probe.stacked], *ones, *x.shape[probe.stacked :])
    step = -(-x.shape[-2] // ROWS)
    return [(x[..., ::step, :], y[..., ::step, :])]


def enough(layer: Layer, samples: Sequence[Sample]) -> bool:
    """Something came in; of a product without scale, as many directions as tell whether it is one up to a factor."""
    if layer.operator == "MatMulInteger":
        return _directions(samples) >= min(3, layer.weight.shape[1])
    return any(x[np.isfinite(x)].any() and np.isfinite(y).any() for x, y in samples)


def _directions(samples: Sequence[Sample]) -> int:
    rows = [x.reshape(-1, x.shape[-1])[:8] for x, _ in samples]
    return int(np.linalg.matrix_rank(np.concatenate(rows), rtol=1e-3)) if rows else 0


def judge(layer: Layer, samples: Sequence[Sample]) -> Proof:
    """Of a MatMulInteger the scale is not known, it comes after: each column may differ by a positive factor."""
    words = {word for word, _ in layer.place}
    if not samples:
        branch, loop = "the branch was not taken", "the loop did not run"
        why = branch if words & {"then_branch", "else_branch"} else loop if "body" in words else "its input is empty"
        return Proof(None, None, why)
    if not any(x.any() for x, _ in samples):
        return Proof(None, None, "its input is zero whatever that of the model is")
    if layer.operator == "MatMulInteger" and _directions(samples) < 2:
        return Proof(None, None, "its input did not change, and one is too little for a product without scale")
    try:
        weight = layer.weight.load()
    except (StudyError, OSError, ValueError) as error:
        return Proof(None, None, one_line(error))
    out, columns = weight.shape
    for x, y in samples:
        if x.shape[-1] != columns or out % y.shape[-1]:
            found = f"x has {x.shape[-1]} columns and y has {y.shape[-1]}"
            return Proof(False, None, f"y is not x W^T: the matrix is {out} x {columns}, but {found}")
    try:
        with np.errstate(all="ignore"):
            pairs = [_product(weight, x, y) for x, y in samples]
            product, y = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
            return _compared(layer, weight, product, y)
    except ValueError as error:
        return Proof(None, None, one_line(error))


def _compared(layer: Layer, weight: NDArray[Any], product: NDArray[Any], y: NDArray[Any]) -> Proof:
    known = np.isfinite(y)
    if not known.any():
        return Proof(None, None, "its values are not finite")
    product, y = np.where(known, product, 0), np.where(known, y, 0)
    if layer.operator == "MatMulInteger":
        product = product * np.maximum((product * y).sum(axis=0) / np.maximum((product**2).sum(axis=0), 1e-300), 0)
    largest = max(np.linalg.norm(product), np.linalg.norm(y))
    if largest == 0 and weight.any():
        return Proof(None, None, "its input is zero wherever its weights are not")
    error = float(np.linalg.norm(y - product) / largest) if largest else 0.0
    tolerance = TOLERANCE[_type(y)]
    if error <= tolerance:
        return Proof(True, error, "")
    wrong = f"y is not x W^T: the relative error is {error:.2g}, more than {tolerance}"
    if layer.operator in NUMBERS or layer.operator == "DynamicQuantizeMatMul":
        wrong += " (or this processor cuts off products of 8 bits, as those without VNNI may)"
    return Proof(False, error if np.isfinite(error) else None, wrong)


def _product(weight: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> Sample:
    """x W^T and y, both (rows, out), for the weight (out, in), which may be a stack of matrices one below another.

    Raises:
        ValueError: the rows of x and y are not each other's.
    """
    stack = weight.shape[0] // y.shape[-1]
    if stack == 1:
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} rows and y has {len(y)}")
        return np.concatenate([x @ block.T for block in _blocks(weight)], axis=-1), y
    depth = next((n for n in range(1, y.ndim - 1) if prod(y.shape[-2 - n : -2]) == stack), None)
    if depth is None:
        raise ValueError(f"the matrix is a stack of {stack}, but y has the shape {list(y.shape)}")
    matrices = weight.reshape(*y.shape[-2 - depth : -2], y.shape[-1], x.shape[-1]).swapaxes(-1, -2)
    product = np.broadcast_to(x @ matrices, y.shape)
    rows = (np.moveaxis(array, -2, -2 - depth).reshape(-1, weight.shape[0]) for array in (product, y))
    return next(rows), next(rows)


def _blocks(weight: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """Some rows at a time, for in float64 the whole would take twice the memory."""
    step = max(1, 2**22 // max(1, weight.shape[1]))
    for start in range(0, len(weight), step):
        yield weight[start : start + step].astype(np.float64)


def _type(y: NDArray[np.float64]) -> str:
    """The narrowest type that all these numbers are of: that of the arithmetic, or there were no errors to find."""
    if np.array_equal(y.astype(np.float16), y):
        return "float16"
    return "bfloat16" if not (y.astype(np.float32).view(np.uint32) & 0xFFFF).any() else "float32"
