"""The operators that are fully-connected layers, and how each of them has its weight.

A product is one if exactly one of its two operands is constant, and that one is a matrix or a stack of them. Operators
of the domain com.microsoft are described in ONNX Runtime's docs/ContribOperators.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from analysis.weights.constants import Constant, Literal, Output, standard
from analysis.weights.matrix import Matrix
from analysis.weights.node import NoLayerError, Product, Site, as_product, only, operands, stacked
from analysis.weights.quantised import matmul_integer, matmul_nbits, qgemm, qlinear_matmul, quantised_operand
from analysis.weights.tensors import MOST_AXES, Held

MICROSOFT, LEARNING = "com.microsoft", "ai.onnx.ml"


def gemm(site: Site) -> Product:
    """y = alpha op(A) op(B) + beta C, op being the identity or the transposition."""
    operand, constant = operands(site, 0, 1)
    if len(constant.shape) != 2:
        raise ValueError(f"{site.node.op_type} {site.node.name!r} has an operand of shape {list(constant.shape)}")
    flag = "transB" if operand else "transA"
    weight = constant.matrix(transposed=site.flag(flag) != bool(operand), alpha=site.number("alpha", 1.0))
    return as_product(site, constant, operand, weight, f"{flag}={site.flag(flag):d}")


def matmul(site: Site) -> Product:
    """y = A @ B over the last two axes; FusedMatMul can transpose them and multiply by alpha."""
    operand, constant = operands(site, 0, 1)
    if site.flag("transBatchA") or site.flag("transBatchB"):
        raise NoLayerError("its operands are transposed in their batch")
    flipped = site.flag("transB" if operand else "transA")
    return stacked(site, constant, operand, flipped, site.number("alpha", 1.0))


def convolution(site: Site) -> Product:
    """A convolution over the whole map, whose every output sees every input, and on request a 1x1 convolution."""
    constant = only(site, 1)
    if len(constant.shape) < 3:
        raise ValueError(f"Conv {site.node.name!r} has a weight of shape {list(constant.shape)}")
    kernel = constant.shape[2:]
    flat = replace(constant, shape=(constant.shape[0], prod(constant.shape[1:])))
    group = site.attributes["group"].i if "group" in site.attributes else 1
    words = f"kernel {' x '.join(map(str, kernel))}"
    if group == 1 and not constant.transposed:
        if _covers(site, kernel):
            return replace(as_product(site, constant, 1, flat.matrix(), f"{words}, the whole map"), role="conv-as-fc")
        if set(kernel) == {1} and site.pointwise:
            return replace(as_product(site, constant, 1, flat.matrix(), words), role="pointwise")
    if set(kernel) == {1} and group == 1:
        raise NoLayerError("a convolution of 1 x 1 (--pointwise reads it)")
    shape = site.shape(site.input(0))
    known = shape is not None and None not in shape[2:]
    raise NoLayerError(f"a convolution over {'parts of its map' if known else 'a map of unknown size'}")


def learned(site: Site) -> Product:
    """scikit-learn's linear models: the coefficients are an attribute, a row an output."""
    given = site.attributes["coefficients"].floats if "coefficients" in site.attributes else []
    site.scope.opened.compute(len(given), "coefficients")
    coefficients = np.array(given, np.float32)
    if site.node.op_type == "LinearRegressor":
        rows = site.attributes["targets"].i if "targets" in site.attributes else 1
    else:
        counted = ("intercepts", "classlabels_ints", "classlabels_strings")
        rows = next((n for name in counted if name in site.attributes and (n := _length(site.attributes[name]))), 1)
    if rows < 1 or not coefficients.size or coefficients.size % rows:
        found = f"{coefficients.size} coefficients for {rows} outputs"
        raise ValueError(f"{site.node.op_type} {site.node.name!r} has {found}")
    held = Held(coefficients, coefficients.dtype)
    weight = Matrix(held, rows, coefficients.size // rows, coefficients.size // rows, False)
    return Product(weight, -1, "coefficients", (), None, site.node.op_type)


FOUND: Mapping[tuple[str, str], Callable[[Site], Product]] = {
    ("", "Gemm"): gemm,
    ("", "MatMul"): matmul,
    ("", "MatMulInteger"): matmul_integer,
    ("", "QLinearMatMul"): qlinear_matmul,
    ("", "Conv"): convolution,
    (MICROSOFT, "FusedGemm"): gemm,
    (MICROSOFT, "FusedMatMul"): matmul,
    (MICROSOFT, "TransposeMatMul"): matmul,
    (MICROSOFT, "QGemm"): qgemm,
    (MICROSOFT, "DynamicQuantizeMatMul"): quantised_operand(2, 3),
    (MICROSOFT, "MatMulIntegerToFloat"): quantised_operand(3, 5),
    (MICROSOFT, "MatMulNBits"): matmul_nbits,
    (MICROSOFT, "FusedConv"): convolution,
    (LEARNING, "LinearClassifier"): learned,
    (LEARNING, "LinearRegressor"): learned,
}

OTHERS: Mapping[str, tuple[slice, str]] = {
    **dict.fromkeys(("ConvTranspose", "ConvInteger", "DeformConv"), (slice(1, 2), "a convolution of another kind")),
    "QLinearConv": (slice(3, 4), "a convolution of another kind"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (slice(1, 2), "a recurrent layer, whose gates are packed into one tensor")),
    "Gather": (slice(1), "an embedding: rows are picked, not multiplied"),
    "Einsum": (slice(None), "a general product, which is not read"),
}
"""Standard operators that have weights and are no fully-connected layer: which inputs hold them, and the reason."""
KEEP_RANK = ("Identity", "Cast", "Transpose", "DequantizeLinear")
"""Operators whose output has as many axes as their first input."""


def product(site: Site) -> Product | None:
    """The layer that a node is, or None if it has nothing of one.

    Raises:
        NoLayerError: it could be taken for one; the message says why it is none.
        UnreadableError: it is one, but its weight cannot be told; the message says why.
        ValueError: it is malformed.
    """
    node = site.node
    domain = "" if standard(node) else node.domain
    find = FOUND.get((domain, node.op_type))
    if find is not None:
        return find(site)
    if domain:
        reason, weights = f"the operator {domain}.{node.op_type} is not read", list(node.input)
    elif node.op_type in OTHERS and any(name and site.scope.known(name) is None for name in node.input):
        part, reason = OTHERS[node.op_type]
        weights = list(node.input[part])
    else:
        return None
    if any(_rank(site, name) >= 2 for name in weights):
        raise NoLayerError(reason)
    return None


def _rank(site: Site, name: str) -> int:
    """Of a constant that is stored or cheaply had; 0 of anything else."""
    known = site.scope.known(name) if name else None
    for _ in range(8):  # of a chain; a hostile file has a long one, and many nodes at its end
        if isinstance(known, Output) and known.pending.node.op_type in KEEP_RANK:
            known = known.pending.inputs[0]
    if isinstance(known, Literal):
        return len(known.tensor.dims)
    return len(known.shape) if isinstance(known, Constant) else 0


def _covers(site: Site, kernel: Sequence[int]) -> bool:
    """Whether the kernel is as large as the map it is laid over, once and without padding."""
    if any(
        site.attributes[name].ints and set(site.attributes[name].ints[: 2 * MOST_AXES]) != {value}
        for name, value in (("pads", 0), ("dilations", 1))
        if name in site.attributes
    ):
        return False
    if "auto_pad" in site.attributes and site.attributes["auto_pad"].s not in (b"NOTSET", b"VALID"):
        return False
    shape = site.shape(site.input(0))
    return shape is not None and tuple(shape[2:]) == tuple(kernel)


def _length(attribute: onnx.AttributeProto) -> int:
    return max(len(attribute.floats), len(attribute.ints), len(attribute.strings))
