"""Products with an integer weight, and the scales and zero points that dequantise it.

Operators of the domain com.microsoft are described in ONNX Runtime's docs/ContribOperators.md.
"""

from dataclasses import replace
from math import prod

import numpy as np
import onnx

from analysis.weights.matrix import Matrix, linear
from analysis.weights.node import Node, NoLayerError, Product, as_product, only, operands, stacked, without_ones
from analysis.weights.quantisation import Quantisation, Scale
from analysis.weights.scales import OutputScale, scale_behind
from analysis.weights.tensors import Held, Stored, UnreadableError, unpacked
from analysis.weights.values import Constant


def qlinear_matmul(node: Node) -> Product:
    """a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point."""
    operand, constant = operands(node, 0, 3)
    scaled = dequantised(node, constant, operand + 1, operand + 2, axis=-1 if operand else -2)
    return stacked(node, scaled, operand, False, 1.0)


def qgemm(node: Node) -> Product:
    """A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point; scales per column of B."""
    operand, constant = operands(node, 0, 3)
    flipped = node.flag("transB" if operand else "transA")
    scaled = dequantised(node, constant, operand + 1, operand + 2, axis=-2 if flipped == bool(operand) else -1)
    return stacked(node, scaled, operand, flipped, node.number("alpha", 1.0))


def matmul_integer(node: Node, scale: OutputScale | None = None) -> Product:
    """A, B, a_zero_point, b_zero_point; the weight's scale comes later in the graph, and is unknown at first."""
    operand, constant = operands(node, 0, 1)
    scale = scale or OutputScale()
    scaled = _with(constant, scale.array, node.scope.array(node.input(operand + 2)), axis=-1 if operand else -2)
    product = stacked(node, scaled, operand, False, 1.0)
    words = {Scale.KNOWN: "", Scale.RELATIVE: ", up to a factor", Scale.UNKNOWN: ", in steps of an unknown scale"}
    weight = replace(product.weight, scale=scale.known)
    return replace(product, weight=weight, pattern=product.pattern + words[scale.known])


def rescaled(node: Node, product: Product) -> Product:
    """The product once the whole model has been walked: that of a MatMulInteger by the scale behind it."""
    if product.weight.scale is Scale.KNOWN:
        return product
    try:
        return matmul_integer(node, scale_behind(node, product.operand, product.weight.shape[0]))
    except (NoLayerError, UnreadableError):  # its scales have no form that is read
        return product


def quantised_operand(node: Node, scale: int, zero: int) -> Product:
    """A product of A and an integer B; `scale` and `zero` are the indices of the inputs that dequantise B."""
    operand, constant = operands(node, 0, 1)
    if operand == 0:
        raise NoLayerError("its integer weight is the left operand")
    return stacked(node, dequantised(node, constant, scale, zero, axis=-1), operand, False, 1.0)


def matmul_nbits(node: Node) -> Product:
    """A, B [N, blocks, bytes], scales [N, blocks], zero points: y = A @ W.T, W (N, K) in blocks along K."""
    columns, rows, block = node.whole("K"), node.whole("N"), node.whole("block_size")
    bits = node.whole("bits", 4)
    if bits not in (2, 4, 8) or block < 16 or min(columns, rows) < 1:
        raise UnreadableError(f"it has {rows} x {columns} with {bits} bits in blocks of {block}")
    constant = only(node, 1)
    blocks = -(-columns // block)
    if constant.source.dtype != np.uint8 or prod(constant.shape) * 8 != rows * blocks * block * bits:
        raise UnreadableError(f"it has {list(constant.shape)} for {rows} x {columns} weights")
    scale, zero = node.scope.array(node.input(2)), node.scope.array(node.input(3))
    if node.input(4):
        raise NoLayerError("its columns are reordered (g_idx)")
    if node.flag("weight_prepacked"):
        raise NoLayerError("its weights are packed for one processor (weight_prepacked)")
    if scale is None or scale.size != rows * blocks or (node.input(3) and zero is None):
        raise NoLayerError("its scales or zero points are not constant")
    if zero is None:
        zero = np.full((1, 1), 2 ** (bits - 1), np.float32)
    elif zero.dtype == np.uint8:
        zero = unpacked(zero.reshape(rows, -1), bits)[:, :blocks]
    if zero.size not in (1, rows * blocks):
        raise ValueError(f"{node.described} has {zero.size} zero points for {rows} x {blocks} blocks")
    quantisation = Quantisation(
        scale.reshape(rows, blocks).astype(np.float32),
        zero.reshape(-1, blocks if zero.size > 1 else 1).astype(np.float32),
        (1, block),
    )
    weight = Matrix(_narrow(constant, bits), rows, columns, blocks * block, False, quantisation)
    return as_product(node, constant, 1, weight, f"{bits} bits in blocks of {block}")


def dequantised(node: Node, constant: Constant, scale: int, zero: int, axis: int) -> Constant:
    """The constant dequantised along `axis` (-1 or -2) by the inputs of these indices.

    Raises:
        NoLayerError: they are computed.
        UnreadableError: they have no form that is read.
    """
    scales = node.scope.array(node.input(scale))
    zeros = node.scope.array(node.input(zero))
    if scales is None or (node.input(zero) and zeros is None):
        raise NoLayerError("the scale or zero point of its weight is not constant")
    return _with(constant, scales, zeros, axis)


def _with(constant: Constant, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> Constant:
    """The constant dequantised along `axis` (-1 or -2) by one scale and zero point, or by one an index of that axis."""
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
    constant = without_ones(constant)
    quantisation = linear(constant.shape, scale, zero, axis)
    if quantisation is None:
        raise NoLayerError("a stack of matrices with scales of their own")
    return replace(constant, quantisation=quantisation.transposed if constant.transposed else quantisation)


def _narrow(constant: Constant, bits: int) -> Stored | Held:
    """The bytes of a constant as numbers of so many bits, the first in the lowest bits."""
    if bits == 8:
        return constant.source
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.UINT4 if bits == 4 else onnx.TensorProto.UINT2)
    if isinstance(constant.source, Stored):
        return replace(constant.source, dtype=dtype, size=constant.source.size * 8 // bits)
    return Held(unpacked(constant.source.numbers, bits), dtype, constant.source.key)
