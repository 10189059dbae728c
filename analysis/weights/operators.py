"""The operators that are fully-connected layers, and where each of them has its weight.

A product is one if exactly one of its two operands is constant, and that one is a matrix or a stack of them. Operators
of the domain com.microsoft are described in ONNX Runtime's docs/ContribOperators.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import onnx

from analysis.weights.constants import standard
from analysis.weights.einsum import einsum
from analysis.weights.matrix import Matrix
from analysis.weights.node import Node, NoLayerError, Product, as_product, only, operands, stacked
from analysis.weights.picked import MOVES, bound
from analysis.weights.quantised import (
    dequantised,
    matmul_integer,
    matmul_nbits,
    qgemm,
    qlinear_matmul,
    quantised_operand,
)
from analysis.weights.recurrent import GATES, recurrent
from analysis.weights.shapes import MICROSOFT, NCHWC
from analysis.weights.tensors import MOST_AXES, Held
from analysis.weights.values import Constant, Literal, Output

LEARNING = "ai.onnx.ml"


def matmul(node: Node) -> Product:
    """y = alpha op(A) op(B) over the last two axes, op being the identity or the transposition; Gemm has matrices."""
    outside, node = node.scope, bound(node, 0, 1)
    operand, constant = operands(node, 0, 1)
    if node.flag("transBatchA") or node.flag("transBatchB"):
        raise NoLayerError("its operands are transposed in their batch")
    picked = outside.picked(node.input(operand))
    if node.operator in ("Gemm", "FusedGemm") and not picked and len(constant.shape) != 2:
        raise ValueError(f"{node.described} has an operand of shape {list(constant.shape)}")
    flipped = node.flag("transB" if operand else "transA")
    product = stacked(node, constant, operand, flipped, node.number("alpha", 1.0))
    return replace(product, pattern=f"{product.pattern}, picked by {picked.by}") if picked else product


def attention(node: Node) -> Product:
    """Input, weight (in, q + k + v): the three products of attention with its input, in one matrix."""
    return stacked(node, only(node, 1), 1, False, 1.0)


def convolution(node: Node, place: int = 1) -> Product:
    """A convolution whose kernel covers the whole map and, on request, a 1x1 convolution; `place` is its weight's.

    QLinearConv has it at place 3, followed by its scale and zero point, per output or one for all.
    """
    constant = only(node, place)
    if len(constant.shape) < 3:
        raise ValueError(f"{node.described} has a weight of shape {list(constant.shape)}")
    kernel = constant.shape[2:]
    flat = replace(constant, shape=(constant.shape[0], prod(constant.shape[1:])))
    group = node.whole("group", 1)
    words = f"kernel {' x '.join(map(str, kernel))}"
    whole = _covers(node, kernel)
    if group == 1 and not constant.transposed and (whole or (set(kernel) == {1} and "pointwise" in node.optional)):
        flat = dequantised(node, flat, 4, 5, axis=-2) if place == 3 else flat
        notes = [words, "the whole map" if whole else ""]
        product = as_product(node, constant, place, flat.matrix(), *notes)
        return replace(product, role="conv-as-fc" if whole else "pointwise")
    if set(kernel) == {1} and group == 1:
        raise NoLayerError("a convolution of 1 x 1 (--pointwise reads it)")
    sizes = _map(node)
    known = sizes is not None and None not in sizes
    raise NoLayerError(f"a convolution over {'parts of its map' if known else 'a map of unknown size'}")


def linear_model(node: Node) -> Product:
    """scikit-learn's linear models: the coefficients are an attribute, a row an output."""
    given = node.attributes["coefficients"].floats if "coefficients" in node.attributes else []
    node.scope.opened.compute(len(given), "coefficients")
    coefficients = np.array(given, np.float32)
    if node.operator == "LinearRegressor":
        rows = node.whole("targets", 1)
    else:
        counted = ("intercepts", "classlabels_ints", "classlabels_strings")
        rows = next((n for name in counted if name in node.attributes and (n := _length(node.attributes[name]))), 1)
    if rows < 1 or not coefficients.size or coefficients.size % rows:
        raise ValueError(f"{node.described} has {coefficients.size} coefficients for {rows} outputs")
    held = Held(coefficients, coefficients.dtype)
    weight = Matrix(held, rows, coefficients.size // rows, coefficients.size // rows, False)
    return Product(node, weight, -1, "coefficients", (), None, node.operator)


OPERATORS: Mapping[tuple[str, str], Callable[[Node], Product]] = {
    ("", "Gemm"): matmul,
    ("", "MatMul"): matmul,
    ("", "MatMulInteger"): matmul_integer,
    ("", "QLinearMatMul"): qlinear_matmul,
    ("", "Conv"): convolution,
    **dict.fromkeys((("", "QLinearConv"), (MICROSOFT, "QLinearConv")), partial(convolution, place=3)),
    ("", "Einsum"): einsum,
    (MICROSOFT, "FusedGemm"): matmul,
    (MICROSOFT, "FusedMatMul"): matmul,
    (MICROSOFT, "TransposeMatMul"): matmul,
    (MICROSOFT, "QGemm"): qgemm,
    (MICROSOFT, "DynamicQuantizeMatMul"): partial(quantised_operand, scale=2, zero=3),
    (MICROSOFT, "MatMulIntegerToFloat"): partial(quantised_operand, scale=3, zero=5),
    (MICROSOFT, "MatMulNBits"): matmul_nbits,
    (MICROSOFT, "FusedConv"): convolution,
    **dict.fromkeys(((MICROSOFT, "Attention"), (MICROSOFT, "PackedAttention")), attention),
    (MICROSOFT, "QAttention"): partial(quantised_operand, scale=4, zero=7),
    (LEARNING, "LinearClassifier"): linear_model,
    (LEARNING, "LinearRegressor"): linear_model,
}

CONVOLUTION, INTEGER = "a convolution of another kind", "a convolution of integers, which is not read"
EMBEDDING = "an embedding: rows are picked, not multiplied"
ATTENTION, POSITIONS = "attention, whose products are of computed operands", "a rotation by tables of positions"
RECURRENT = "a recurrent layer of integers, which is not read"
EXPERTS = "a mixture of experts in one operator, which is not read"
BLOCKED = "a convolution laid out for one processor; optimise the file only up to ONNX Runtime's level extended"
OTHERS: Mapping[tuple[str, str], tuple[slice, str]] = {
    **dict.fromkeys((("", "ConvTranspose"), ("", "DeformConv")), (slice(1, 2), CONVOLUTION)),
    ("", "ConvInteger"): (slice(1, 2), INTEGER),
    (NCHWC, "Conv"): (slice(1, 2), BLOCKED),
    **{("", name): (slice(1, 3), "a recurrent layer (--recurrent reads it)") for name in GATES},
    (MICROSOFT, "DynamicQuantizeLSTM"): (slice(1, 3), RECURRENT),
    ("", "Gather"): (slice(1), EMBEDDING),
    (MICROSOFT, "GatherBlockQuantized"): (slice(1), EMBEDDING),
    (MICROSOFT, "EmbedLayerNormalization"): (slice(2, 5), "embeddings: rows are picked, not multiplied"),
    ("", "Attention"): (slice(3), ATTENTION),
    **dict.fromkeys(
        [(MICROSOFT, f"{kind}Attention") for kind in ("MultiHead", "GroupQuery", "PackedMultiHead", "Sparse")],
        (slice(3), ATTENTION),
    ),
    **dict.fromkeys((("", "RotaryEmbedding"), (MICROSOFT, "RotaryEmbedding")), (slice(1, 4), POSITIONS)),
    **dict.fromkeys(((MICROSOFT, "MoE"), (MICROSOFT, "QMoE")), (slice(2, None), EXPERTS)),
}
"""Operators with weights that are no fully-connected layer, or not read: the inputs that hold them, and the reason."""
KEEP_RANK = ("Identity", "Cast", "Transpose", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
"""Operators whose output has as many axes as their first input."""


def products(node: Node) -> Sequence[Product]:
    """The layers that a node is: one, or a recurrent layer's gates; none if it does not even look like one.

    Raises:
        NoLayerError: it looks like one; the message says why it is none.
        UnreadableError: it is one, but its weight cannot be read; the message says why.
        ValueError: it is malformed.
    """
    domain, inputs = "" if standard(node.proto) else node.proto.domain, list(node.proto.input)
    if (domain, node.operator) in OPERATORS:
        return [OPERATORS[domain, node.operator](node)]
    if not domain and node.operator in GATES and "recurrent" in node.optional:
        return recurrent(node)
    if all(node.scope.known(name) is not None for name in inputs if name):
        return []
    part, reason = OTHERS.get((domain, node.operator), (slice(None), ""))
    rank = max((_rank(node, name) for name in inputs[part]), default=0)
    if rank < 2 or not (domain or reason):
        return []
    if reason == EMBEDDING and (rank > 2 or _multiplied(node, node.proto.output[0])):
        return []  # matrices are picked: the product with them is a layer, or has the reason
    raise NoLayerError(reason or f"the operator {domain}.{node.operator} is not read")


def _multiplied(node: Node, name: str, steps: int = 4) -> bool:
    """Whether a value becomes an operand of a product whose other operand is computed.

    Few consumers are followed: a hostile file has thousands of thousands.
    """

    def constant(operand: str) -> bool:
        maker = node.producer(operand)
        known = operand and node.scope.known(operand) is not None
        return bool(known) or (
            maker is not None and all(node.scope.known(each) is not None for each in maker.input[:4])
        )

    for consumer in node.consumers(name)[:2]:
        if consumer.op_type in ("MatMul", "Gemm", "Einsum") and not any(map(constant, consumer.input[:2])):
            return True
        moved = consumer.op_type in MOVES and consumer.output and steps
        if moved and _multiplied(node, consumer.output[0], steps - 1):
            return True
    return False


def _rank(node: Node, name: str) -> int:
    """The rank of a constant that is stored, or moved by a few operators; 0 of anything else."""
    known = node.scope.known(name) if name else None
    for _ in range(8):  # of a chain; a hostile file has a long one, and many nodes at its end
        if isinstance(known, Output) and known.pending.node.op_type in KEEP_RANK:
            known = known.pending.inputs[0]
    if isinstance(known, Literal):
        return len(known.tensor.dims)
    return len(known.shape) if isinstance(known, Constant) else 0


def _covers(node: Node, kernel: Sequence[int]) -> bool:
    """Whether the kernel is as large as its map, which it is applied to once, without padding."""
    if any(
        node.attributes[name].ints and set(node.attributes[name].ints[: 2 * MOST_AXES]) != {value}
        for name, value in (("pads", 0), ("dilations", 1))
        if name in node.attributes
    ):
        return False
    if "auto_pad" in node.attributes and node.attributes["auto_pad"].s not in (b"NOTSET", b"VALID"):
        return False
    return _map(node) == tuple(kernel)


def _map(node: Node) -> tuple[int | None, ...] | None:
    """The sizes of a convolution's map, without images and channels."""
    shape = node.shape(node.input(0))
    return None if shape is None else tuple(shape[1:-1] if node.flag("channels_last") else shape[2:])


def _length(attribute: onnx.AttributeProto) -> int:
    return max(len(attribute.floats), len(attribute.ints), len(attribute.strings))
