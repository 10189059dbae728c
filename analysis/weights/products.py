"""The operators that are fully-connected layers, and how each of them has its weight.

A product is one if exactly one of its two operands is constant, and that one is a matrix or a stack of them. Operators
of the domain com.microsoft are described in ONNX Runtime's docs/ContribOperators.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from analysis.weights.constants import (
    Attributes,
    Constant,
    Literal,
    Opaque,
    Output,
    Scope,
    UnreadableError,
    linear,
    standard,
)
from analysis.weights.matrices import Matrix, Quantisation
from analysis.weights.tensors import MOST_AXES, Held, Stored

MICROSOFT, LEARNING = "com.microsoft", "ai.onnx.ml"


@dataclass(frozen=True)
class Product:
    """A node found to be a layer: its weight, the input that holds it (-1: an attribute) and how, in words."""

    weight: Matrix
    operand: int
    tensor: str
    names: tuple[str, ...]
    literal: object
    form: str
    role: str = "fc"


@dataclass(frozen=True)
class Site:
    """A node where it stands: its attributes' values, the constants there, and what is known around it."""

    node: onnx.NodeProto
    attributes: Attributes
    scope: Scope
    consumers: Callable[[str], Sequence[onnx.NodeProto]]
    producer: Callable[[str], onnx.NodeProto | None]
    shape: Callable[[str], tuple[int | None, ...] | None]
    pointwise: bool

    def flag(self, name: str) -> bool:
        return name in self.attributes and bool(self.attributes[name].i)

    def number(self, name: str, default: float) -> float:
        return self.attributes[name].f if name in self.attributes else default

    def whole(self, name: str) -> int:
        if name not in self.attributes:
            raise ValueError(f"{self.node.op_type} {self.node.name!r} has no attribute {name}")
        return self.attributes[name].i

    def input(self, index: int) -> str:
        return self.node.input[index] if index < len(self.node.input) else ""


class NoLayerError(Exception):
    """The node is no fully-connected layer; the message is the reason, in a few words."""


def gemm(site: Site) -> Product:
    """y = alpha op(A) op(B) + beta C, op being the identity or the transposition."""
    operand, constant = _operand(site, 0, 1)
    if len(constant.shape) != 2:
        raise ValueError(f"{site.node.op_type} {site.node.name!r} has an operand of shape {list(constant.shape)}")
    flag = "transB" if operand else "transA"
    weight = constant.matrix(transposed=site.flag(flag) != bool(operand), alpha=site.number("alpha", 1.0))
    return _product(site, constant, operand, weight, f"{flag}={site.flag(flag):d}")


def matmul(site: Site) -> Product:
    """y = A @ B over the last two axes; FusedMatMul can transpose them and multiply by alpha."""
    operand, constant = _operand(site, 0, 1)
    if site.flag("transBatchA") or site.flag("transBatchB"):
        raise NoLayerError("its operands are transposed in their batch")
    flipped = site.flag("transB" if operand else "transA")
    return _stack(site, constant, operand, flipped, site.number("alpha", 1.0))


def qlinear_matmul(site: Site) -> Product:
    """a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point."""
    operand, constant = _operand(site, 0, 3)
    scaled = _dequantised(site, constant, operand + 1, operand + 2, axis=-1 if operand else -2)
    return _stack(site, scaled, operand, False, 1.0)


def qgemm(site: Site) -> Product:
    """A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point; scales per column of B."""
    operand, constant = _operand(site, 0, 3)
    flipped = site.flag("transB" if operand else "transA")
    scaled = _dequantised(site, constant, operand + 1, operand + 2, axis=-2 if flipped == bool(operand) else -1)
    return _stack(site, scaled, operand, flipped, site.number("alpha", 1.0))


def matmul_integer(site: Site) -> Product:
    """A, B, a_zero_point, b_zero_point; the scale of B, if any, is a factor of what is made of the result."""
    operand, constant = _operand(site, 0, 1)
    if operand == 0:
        raise NoLayerError("its integer weight is the left operand, whose scale is not looked for")
    scale = _scale_behind(site)
    zero = site.scope.array(site.input(3))
    found = np.ones(1, np.float32) if scale is None else scale
    scaled = _with(constant, found, zero, axis=-1)
    product = _stack(site, scaled, operand, False, 1.0)
    return product if scale is not None else replace(product, form=f"{product.form}, in steps of an unknown scale")


def quantised_operand(scale: int, zero: int) -> Callable[[Site], Product]:
    """A product of A and an integer B whose scale and zero point are inputs of these numbers."""

    def found(site: Site) -> Product:
        operand, constant = _operand(site, 0, 1)
        if operand == 0:
            raise NoLayerError("its integer weight is the left operand")
        return _stack(site, _dequantised(site, constant, scale, zero, axis=-1), operand, False, 1.0)

    return found


def matmul_nbits(site: Site) -> Product:
    """A, B [N, blocks, bytes], scales [N, blocks], zero points: y = A @ W.T, W (N, K) in blocks along K."""
    columns, rows, block = site.whole("K"), site.whole("N"), site.whole("block_size")
    bits = site.attributes["bits"].i if "bits" in site.attributes else 4
    if bits not in (2, 4, 8) or block < 16 or min(columns, rows) < 1:
        raise UnreadableError(f"it has {rows} x {columns} with {bits} bits in blocks of {block}")
    constant = _only(site, 1)
    blocks = -(-columns // block)
    if constant.source.dtype != np.uint8 or prod(constant.shape) * 8 != rows * blocks * block * bits:
        raise UnreadableError(f"it has {list(constant.shape)} for {rows} x {columns} weights")
    scale, zero = site.scope.array(site.input(2)), site.scope.array(site.input(3))
    if site.input(4):
        raise NoLayerError("its columns are reordered (g_idx)")
    if scale is None or scale.size != rows * blocks or (site.input(3) and zero is None):
        raise NoLayerError("its scales or zero points are not constant")
    if zero is None:
        zero = np.full((1, 1), 2 ** (bits - 1), np.float32)
    elif zero.dtype == np.uint8:
        zero = _unpacked(zero.reshape(rows, -1), bits)[:, :blocks]
    if zero.size not in (1, rows * blocks):
        raise ValueError(f"MatMulNBits {site.node.name!r} has {zero.size} zero points for {rows} x {blocks} blocks")
    quantisation = Quantisation(
        scale.reshape(rows, blocks).astype(np.float32),
        zero.reshape(-1, blocks if zero.size > 1 else 1).astype(np.float32),
        (1, block),
    )
    weight = Matrix(_narrow(constant, bits), rows, columns, blocks * block, False, quantisation)
    return _product(site, constant, 1, weight, f"{bits} bits in blocks of {block}")


def convolution(site: Site) -> Product:
    """A convolution over the whole map, whose every output sees every input, and on request a 1x1 convolution."""
    constant = _only(site, 1)
    if len(constant.shape) < 3:
        raise ValueError(f"Conv {site.node.name!r} has a weight of shape {list(constant.shape)}")
    kernel = constant.shape[2:]
    flat = replace(constant, shape=(constant.shape[0], prod(constant.shape[1:])))
    group = site.attributes["group"].i if "group" in site.attributes else 1
    words = f"kernel {' x '.join(map(str, kernel))}"
    if group == 1 and not constant.transposed:
        if _covers(site, kernel):
            return replace(_product(site, constant, 1, flat.matrix(), f"{words}, the whole map"), role="conv-as-fc")
        if set(kernel) == {1} and site.pointwise:
            return replace(_product(site, constant, 1, flat.matrix(), words), role="pointwise")
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


def _operand(site: Site, left: int, right: int) -> tuple[int, Constant]:
    """Which of two inputs is the constant operand, and the constant."""
    names = site.input(left), site.input(right)
    if not all(names):
        raise ValueError(f"{site.node.op_type} {site.node.name!r} has {len(site.node.input)} inputs")
    found = [site.scope.known(name) for name in names]
    known = [each is not None for each in found]
    if all(known):
        reason = next((each.reason for each in found if isinstance(each, Opaque)), "a product of constants")
        raise NoLayerError(reason)
    if not any(known):
        raise NoLayerError("both operands are computed, as in attention")
    index = right if known[1] else left
    return index, _only(site, index)


def _only(site: Site, index: int) -> Constant:
    constant = site.scope.constant(site.input(index)) if site.input(index) else None
    if constant is None:
        raise NoLayerError("its weight is computed from the model's inputs")
    if len(constant.shape) < 2:
        raise NoLayerError("its constant is a vector, not a matrix")
    return constant


def _stack(site: Site, constant: Constant, operand: int, flipped: bool, alpha: float) -> Product:
    """The product with a matrix, or with a stack of them: then their outputs, one matrix after the other."""
    right = operand > 0
    notes = ["constant on the left"] * (not right)
    if flipped or site.node.op_type in ("FusedMatMul", "QGemm"):
        notes.append(f"{'transB' if right else 'transA'}={flipped:d}")
    while len(constant.shape) > 2 and constant.shape[0] == 1:
        constant = replace(constant, shape=constant.shape[1:])
    if len(constant.shape) > 2:
        count = prod(constant.shape[:-2])
        if constant.quantisation is not None and constant.quantisation.scale.size > 1:
            raise NoLayerError(f"a stack of {count} matrices with scales of their own")
        notes.append(f"a stack of {count} matrices")
        inner, outer = constant.shape[-2:]
        if flipped == right:  # each matrix is (out, in)
            constant = replace(constant, shape=(count * inner, outer))
            return _product(site, constant, operand, constant.matrix(alpha=alpha), *notes)
        site.scope.opened.compute(prod(constant.shape), f"a stack of shape {list(constant.shape)}")
        turned = constant.source.read(0, prod(constant.shape)).reshape(count, inner, outer).swapaxes(1, 2)
        held = Held(np.ascontiguousarray(turned).reshape(-1), constant.source.dtype)
        constant = replace(constant, source=held, shape=(count * outer, inner))
        return _product(site, constant, operand, constant.matrix(alpha=alpha), *notes)
    return _product(site, constant, operand, constant.matrix(transposed=flipped != right, alpha=alpha), *notes)


def _product(site: Site, constant: Constant, operand: int, weight: Matrix, *notes: str) -> Product:
    words = [site.node.op_type, *notes]
    if constant.behind:
        words.append(f"behind {', '.join(reversed(constant.behind))}")
    tensor = constant.tensor or site.input(operand)
    form = ", ".join(word for word in words if word)
    return Product(weight, operand, tensor, (*constant.names, tensor), constant.literal, form)


def _dequantised(site: Site, constant: Constant, scale: int, zero: int, axis: int) -> Constant:
    scales = site.scope.array(site.input(scale))
    zeros = site.scope.array(site.input(zero))
    if scales is None or (site.input(zero) and zeros is None):
        raise NoLayerError("the scale or zero point of its weight is not constant")
    return _with(constant, scales, zeros, axis)


def _with(constant: Constant, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> Constant:
    """The constant dequantised along `axis` (-1 or -2): scales and zero points are one, or vary along it alone."""
    for each in (scale, zero):
        if each is not None and each.ndim > 1 and each.shape[axis] != each.size:
            raise UnreadableError(f"a scale or zero point of shape {list(each.shape)}, which is not per output")
    scale = scale.reshape(-1)
    if zero is not None:
        zero = zero.reshape(-1)
        size = max(scale.size, zero.size)
        scale, zero = (np.broadcast_to(each, size) if each.size == 1 else each for each in (scale, zero))
    if constant.quantisation is not None:
        raise NoLayerError("its integer weight is dequantised before")
    while len(constant.shape) > 2 and constant.shape[0] == 1:  # a stack of one is a matrix
        constant = replace(constant, shape=constant.shape[1:])
    found = linear(constant.shape, scale, zero, axis)
    if found is None:
        raise NoLayerError("a stack of matrices with scales of their own")
    return replace(constant, quantisation=found.transposed if constant.transposed else found)


def _scale_behind(site: Site) -> np.ndarray | None:
    """The weight's scale as ONNX Runtime's quantiser leaves it: result, Cast, Mul by Mul(scale of A, scale of B)."""
    few = 8  # of one consumer each, as the quantiser writes it; a hostile file has thousands of thousands
    for cast in site.consumers(site.node.output[0])[:few]:
        for mul in site.consumers(cast.output[0])[:few] if cast.op_type == "Cast" and cast.output else ():
            for name in mul.input[:few] if mul.op_type == "Mul" else ():
                factors = site.producer(name)
                if name != cast.output[0] and factors is not None and factors.op_type == "Mul":
                    found = [array for factor in factors.input if (array := site.scope.array(factor)) is not None]
                    if len(found) == 1:
                        return found[0]
    return None


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


def _narrow(constant: Constant, bits: int) -> Stored | Held:
    """The bytes of a constant as numbers of so many bits, the first in the lowest."""
    if bits == 8:
        return constant.source
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.UINT4 if bits == 4 else onnx.TensorProto.UINT2)
    if isinstance(constant.source, Stored):
        return replace(constant.source, dtype=dtype, size=constant.source.size * 8 // bits)
    numbers = _unpacked(constant.source.numbers.reshape(1, -1), bits).reshape(-1)
    return Held(numbers, dtype, constant.source.key)


def _unpacked(codes: np.ndarray, bits: int) -> np.ndarray:
    """uint8 [rows, bytes] as uint8 [rows, numbers] of so many bits."""
    parts = (codes[:, :, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & np.uint8(2**bits - 1)
    unpacked: np.ndarray = parts.reshape(len(codes), -1)
    return unpacked


def _length(attribute: onnx.AttributeProto) -> int:
    return max(len(attribute.floats), len(attribute.ints), len(attribute.strings))
