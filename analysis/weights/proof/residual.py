"""Whether y = x W^T holds for values of x and y that were seen, and the matrix W that was read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.weights.layers import Layer
from analysis.weights.proof.probe import NUMBERS, Probe
from study.errors import StudyError, one_line

Sample = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x (..., rows, in) and y (..., rows, out) of one run; what comes before the rows is a stack of matrices."""

ROWS = 256
"""Rows of x and y that are kept of a run."""
TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-5}
"""The error allowed, by the type of y. One rounding is 5e-4, 4e-3 and 6e-8 of a number; the rest is for sums of
thousands of terms. A row of the matrix that is another one, or turned, is wrong by about 1."""
HARDLY = 1e-3
"""Of x, how much it must change for a difference to be more than rounding."""


@dataclass(frozen=True)
class Proof:
    """`verified` is None where it could not be tried; `error` is the largest of an output, relative, where it is known.

    It is of those inputs of the layer that ever changed, `inputs_seen` of them: what was the same in all runs, zero as
    a rule, proves nothing of its weights. `reason` says what is wrong or why it could not be tried; it is empty where
    `verified` is True.
    """

    verified: bool | None
    error: float | None
    reason: str
    inputs_seen: int = 0


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
    """Enough directions came in to tell one matrix from another, or one without its scale."""
    wanted = 3 if layer.operator == "MatMulInteger" else 2
    return _directions(samples) >= min(wanted, layer.weight.shape[1])


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
            return _compared(layer, weight, samples)
    except ValueError as error:
        return Proof(None, None, one_line(error))


def _compared(layer: Layer, weight: NDArray[Any], samples: Sequence[Sample]) -> Proof:
    """Whether y = x W^T and, for what a constant part of x would hide, y - y0 = (x - x0) W^T of the first row x0.

    Each output by itself, relative to |x| |W|^T, to which its roundings are.
    """
    changes = [(x - samples[0][0][..., :1, :], y - samples[0][1][..., :1, :]) for x, y in samples]
    seen = int(np.count_nonzero(np.any([dx.reshape(-1, dx.shape[-1]).any(axis=0) for dx, _ in changes], axis=0)))
    if not seen:
        return Proof(None, None, "its input did not change")
    products, outputs = _rows(weight, samples)
    differences, changed = _rows(weight, changes)
    sizes, _ = _rows(np.abs(weight), [(np.abs(x), y) for x, y in samples])
    steps, _ = _rows(np.abs(weight), [(np.abs(x), y) for x, y in changes])
    known = np.isfinite(outputs) & np.isfinite(changed)
    if not known.any():
        return Proof(None, None, "its values are not finite")
    products, outputs, differences, changed, sizes, steps = (
        np.where(known, each, 0) for each in (products, outputs, differences, changed, sizes, steps)
    )
    if not sizes.any() and weight.any():
        return Proof(None, None, "its input is zero wherever its weights are not")
    if layer.operator == "MatMulInteger":
        factors = np.maximum((products * outputs).sum(axis=0) / np.maximum((products**2).sum(axis=0), 1e-300), 0)
        products, differences, sizes, steps = (each * factors for each in (products, differences, sizes, steps))
    if np.linalg.norm(steps) < HARDLY * np.linalg.norm(sizes):
        return Proof(None, None, "its input hardly changed, which is lost in rounding")
    tolerance = TOLERANCE[_type(outputs)]
    rounding = 0.1 * tolerance * np.linalg.norm(sizes, axis=0)
    error = max(_worst(outputs, products, sizes), _worst(changed, differences, steps, rounding))
    if error <= tolerance:
        return Proof(True, error, "", seen)
    wrong = f"y is not x W^T: the relative error is {error:.2g}, more than {tolerance}"
    if layer.operator in NUMBERS or layer.operator == "DynamicQuantizeMatMul":
        wrong += " (or this processor cuts off products of 8 bits, as those without VNNI may)"
    return Proof(False, error, wrong, seen)


def _worst(
    found: NDArray[np.float64], expected: NDArray[np.float64], size: NDArray[np.float64], rounding: Any = 0.0
) -> float:
    """The largest error of an output beyond its `rounding`, relative to its `size`, or to itself."""
    error = np.maximum(np.linalg.norm(found - expected, axis=0) - rounding, 0)
    scale = np.maximum(np.linalg.norm(size, axis=0), np.linalg.norm(found, axis=0))
    return float(np.divide(error, scale, out=np.zeros_like(error), where=scale > 0).max(initial=0))


def _rows(weight: NDArray[Any], samples: Sequence[Sample]) -> Sample:
    """x W^T and y of all samples, (rows, out)."""
    pairs = [_product(weight, x, y) for x, y in samples]
    product, y = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    return product, y


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
    if np.array_equal(np.rint(y), y):  # of any type, and then exact
        return "float32"
    if np.array_equal(y.astype(np.float16), y):
        return "float16"
    return "bfloat16" if not (y.astype(np.float32).view(np.uint32) & 0xFFFF).any() else "float32"
