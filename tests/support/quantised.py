"""Quantised and halved forms of three files, as ONNX Runtime's tools write them, with the formula of each weight.

The formulas are those that each tool documents, from the float weights; nothing is taken from the quantised file.
"""

import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from tests.support import exported_modules as nets
from tests.support import notation
from tests.support.exported import PERCEPTRON, Builder, Expected, export, layers, rows, sequences
from tests.support.quantisers import BLOCK, Samples, in_blocks

Weights = NDArray[Any]
RANDOM = np.random.default_rng(11)
TABLE, FIRST, SECOND = (RANDOM.normal(size=size).astype(np.float32) for size in ((20, 40), (40, 16), (16, 16)))
RANGES = {"QInt8": (-127, 127), "QUInt8": (0, 255), "QInt16": (-32767, 32767), "QInt4": (-8, 7)}
REDUCED = {"QInt8": (-64, 64), "QUInt8": (0, 127)}


def handmade(path: Path) -> dict[str, Weights]:
    """A table of words, a layer with a bias, and one without; 40 inputs are one block of 32 and a part of another."""
    constants = {"table": TABLE, "fc1.weight": FIRST, "bias": FIRST[0], "fc2.weight": SECOND}
    nodes = """e = Gather(table, x) p = MatMul(e, "fc1.weight") h = Add(p, bias) r = Relu(h)
        y = MatMul(r, "fc2.weight")"""
    model = notation.model(nodes, constants, x="int64[5]", y="float[5, 16]")
    path.write_bytes(model.SerializeToString())
    return {"fc1": FIRST.T, "fc2": SECOND.T}


def torch_file(make: Callable[[], Any], x: Callable[[], torch.Tensor], names: str, path: Path) -> dict[str, Weights]:
    module = make()
    export(module, x(), path, dynamo=False, input_names=["x"])
    return layers(module, names)


FILES: dict[str, Callable[[Path], dict[str, Weights]]] = {
    "words": handmade,
    "perceptron": partial(torch_file, nets.perceptron, rows, PERCEPTRON),
    "attention": partial(torch_file, nets.attention, partial(sequences, 16), "q k v out"),
}


def samples(path: Path) -> Samples:
    """Three inputs of the file."""
    (x,) = onnx.load(path).graph.input
    shape = [size.dim_value for size in x.type.tensor_type.shape.dim]
    words = x.type.tensor_type.elem_type == onnx.TensorProto.INT64
    return Samples({"x": np.arange(5) if words else RANDOM.normal(size=shape).astype(np.float32)} for _ in range(3))


def linear(
    weight: Weights,
    kind: str,
    per_channel: bool,
    reduce: bool = False,
    symmetric: bool = True,
    scales: Any = np.float32,
) -> Weights:
    """onnxruntime's quant_utils.compute_scale_zp, for an output or all; either end of the range is at least 0."""
    axis = 1 if per_channel else None
    low, high = (RANGES if not reduce else REDUCED)[kind]
    least, most = np.minimum(weight.min(axis, keepdims=True), 0), np.maximum(weight.max(axis, keepdims=True), 0)
    if symmetric:
        most = np.maximum(-least, most)
        least = -most
    scale = ((most.astype(np.float64) - least) / (high - low)).astype(np.float32)
    zero = np.round((low + high) / 2) if symmetric else np.round(low - least / scale)
    numbers = np.clip(np.round(weight / scale) + zero, low, high) - zero
    return np.asarray(numbers * scale.astype(scales).astype(np.float32))


def blocks(weight: Weights, bits: int, symmetric: bool, dtype: Any = np.float32) -> Weights:
    """Blocks of 32 inputs, as onnxruntime's MLAS has them: symmetric, the largest magnitude is the lowest integer.

    NaN where a weight is half-way between two integers, since the tool computes that position in another order.
    """
    outputs, inputs = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -inputs % BLOCK))).reshape(outputs, -1, BLOCK)
    least, most = padded.min(2, keepdims=True), padded.max(2, keepdims=True)
    levels = 2**bits - 1
    if symmetric:
        scale, zero = np.where(np.abs(most) > np.abs(least), most, least) / -(2.0 ** (bits - 1)), 2 ** (bits - 1)
    else:
        least, most = np.minimum(least, 0), np.maximum(most, 0)
        scale = (most - least) / levels
        zero = np.clip(np.round(-least / scale), 0, levels)
    position = padded / scale + zero
    numbers = np.clip(np.where(np.abs(position % 1 - 0.5) < 1e-3, np.nan, np.round(position)), 0, levels)
    values = (numbers - zero) * scale.astype(dtype).astype(np.float32)
    return np.asarray(values.reshape(outputs, -1)[:, :inputs])


def dynamic(before: Path, path: Path, kind: str, per_channel: bool, reduce: bool) -> None:
    quantize_dynamic(before, path, weight_type=QuantType[kind], per_channel=per_channel, reduce_range=reduce)


def static(before: Path, path: Path, layout: QuantFormat, kind: str, per_channel: bool, reduce: bool = False) -> None:
    how = {
        "activation_type": QuantType.QUInt8,
        "quant_format": layout,
        "per_channel": per_channel,
        "reduce_range": reduce,
    }
    quantize_static(before, path, samples(before), weight_type=QuantType[kind], **how)


def half(before: Path, path: Path, **how: Any) -> None:
    onnx.save(convert_float_to_float16(onnx.load(before), **how), path)


def half_and_blocks(before: Path, path: Path, layout: QuantFormat, symmetric: bool) -> None:
    half(before, path.with_suffix(".half"))
    in_blocks(path.with_suffix(".half"), path, layout, 4, symmetric)


def integers_and_half(before: Path, path: Path) -> None:
    dynamic(before, path.with_suffix(".integers"), "QInt8", True, False)
    half(path.with_suffix(".integers"), path)


def rounded(weight: Weights) -> Weights:
    return weight.astype(np.float16).astype(np.float32)


def half_blocks(weight: Weights, symmetric: bool, stored: bool) -> Weights:
    """DequantizeLinear of a float16 scale makes float16; the operator takes the scale and multiplies in float32."""
    values = blocks(rounded(weight), 4, symmetric, np.float16)
    return rounded(values) if stored else values


QDQ, OPERATORS = QuantFormat.QDQ, QuantFormat.QOperator
FORMS: dict[str, tuple[Callable[[Path, Path], None], Callable[[Weights], Weights]]] = {
    "float16": (half, rounded),
    "dynamic and float16": (integers_and_half, lambda weight: linear(weight, "QInt8", True, scales=np.float16)),
    "float16 of matrices, x in float32": (partial(half, keep_io_types=True, op_block_list=["Relu", "Gather"]), rounded),
}
for _per_channel in (False, True):
    for _kind in RANGES:
        _how = f"{_kind} per {'channel' if _per_channel else 'tensor'}"
        _formula = partial(linear, kind=_kind, per_channel=_per_channel, symmetric=_kind != "QUInt8")
        FORMS[f"static QDQ, {_how}"] = (
            partial(static, layout=QDQ, kind=_kind, per_channel=_per_channel),
            partial(_formula, symmetric=_per_channel or _kind != "QUInt8"),
        )
        for _reduce in (False, True) if _kind in REDUCED else ():
            FORMS[f"dynamic, {_how}{', reduced' * _reduce}"] = (
                partial(dynamic, kind=_kind, per_channel=_per_channel, reduce=_reduce),
                partial(_formula, reduce=_reduce),
            )
    for _kind in REDUCED:
        FORMS[f"static operators, {_kind}, {_per_channel}"] = (
            partial(static, layout=OPERATORS, kind=_kind, per_channel=_per_channel, reduce=True),
            partial(linear, kind=_kind, per_channel=_per_channel, reduce=True, symmetric=_kind != "QUInt8"),
        )
for _symmetric in (False, True):
    for _layout, _bits in ((QDQ, 4), (OPERATORS, 2), (OPERATORS, 4), (OPERATORS, 8)):
        FORMS[f"{_layout}, {_bits} bits in blocks, symmetric {_symmetric}"] = (
            partial(in_blocks, layout=_layout, bits=_bits, symmetric=_symmetric),
            partial(blocks, bits=_bits, symmetric=_symmetric),
        )
    for _layout in (QDQ, OPERATORS):
        FORMS[f"float16, {_layout}, 4 bits in blocks, symmetric {_symmetric}"] = (
            partial(half_and_blocks, layout=_layout, symmetric=_symmetric),
            partial(half_blocks, symmetric=_symmetric, stored=_layout == QDQ),
        )


@cache
def before(name: str) -> tuple[dict[str, Weights], bytes]:
    with tempfile.TemporaryDirectory() as folder:
        weights = FILES[name](Path(folder) / "before.onnx")
        return weights, (Path(folder) / "before.onnx").read_bytes()


def written(name: str, form: str, folder: Path) -> Expected:
    """A form of a file in model.onnx, with its weights; NaN where they depend on the order of operations."""
    weights, content = before(name)
    (folder / "before.onnx").write_bytes(content)
    tool, formula = FORMS[form]
    tool(folder / "before.onnx", folder / "model.onnx")
    return Expected(folder / "model.onnx", {layer: formula(weight) for layer, weight in weights.items()}, ())


PATTERNS: dict[tuple[str, str], Builder] = {
    (name, form): partial(written, name, form)
    for name in FILES
    for form in FORMS
    if not (name == "perceptron" and "blocks" in form)
}
"""Of each file and form; MatMulNBitsQuantizer leaves every Gemm as it is."""
