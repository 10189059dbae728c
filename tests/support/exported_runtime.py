"""Models as ONNX Runtime's tools rewrite them: quantised, and optimised.

The weights are worked out here with numpy from the integers, scales and zero points in the file, layout by layout;
`Expected.rounding` says how far they may lie from the weights before. Every entry of PATTERNS writes one file into an
empty folder.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnxruntime.quantization import (
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from torch import nn

from tests.support import exported_modules as nets
from tests.support import handmade
from tests.support.exported import (
    NETWORKS,
    PERCEPTRON,
    Builder,
    Expected,
    Matrix,
    export,
    layers,
    rows,
    sequences,
)
from tests.support.quantisers import BLOCK, Samples, in_blocks

PATTERNS: dict[str, Builder] = {}


@cache
def exported(make: Callable[[], nn.Module], x: Callable[[], torch.Tensor]) -> tuple[nn.Module, bytes]:
    """A module and its file, whose input is called `x`; exported once for all patterns that start from it."""
    module = make()
    with tempfile.TemporaryDirectory() as folder:
        export(module, x(), Path(folder) / "before.onnx", dynamo=False, input_names=["x"])
        return module, (Path(folder) / "before.onnx").read_bytes()


def wide() -> torch.Tensor:
    return sequences(40)


def narrow() -> torch.Tensor:
    return sequences(16)


def rewritten(
    folder: Path, tool: Callable[..., Any], make: Callable[[], nn.Module], x: Callable[[], torch.Tensor], **how: Any
) -> nn.Module:
    """The module whose file `tool` has rewritten into `model.onnx`; these tools advise on standard error."""
    module, content = exported(make, x)
    (folder / "before.onnx").write_bytes(content)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tool(folder / "before.onnx", folder / "model.onnx", **how)
    finally:
        logging.getLogger().setLevel(level)
    return module


def tensors(path: Path) -> dict[str, Matrix]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def dequantised(
    folder: Path, originals: dict[str, Matrix], operators: tuple[str, ...], by_row: Sequence[str] = ()
) -> Expected:
    """The weights from each layer's integers, scale and zero point, which the tools name alike and write in order.

    Args:
        by_row: layers whose integers are stored (out, in); those of all others are (in, out), scaled column by column.
    """
    stored = tensors(folder / "model.onnx")
    matrices = [name for name, array in stored.items() if array.ndim == 2]
    names = [name.removesuffix("_quantized") for name in matrices if name.endswith("_quantized")]
    weights, rounding = {}, {}
    for layer, name in zip(originals, names, strict=True):
        integers, scale, zero = (stored[name + end] for end in ("_quantized", "_scale", "_zero_point"))
        integers = integers if layer in by_row else integers.T
        weights[layer] = (integers.astype(np.float32) - zero.reshape(-1, 1).astype(np.float32)) * scale.reshape(-1, 1)
        rounding[layer] = scale.reshape(-1, 1) / 2
    path = folder / "model.onnx"
    return Expected(path, weights, operators, "int8", exact=False, originals=originals, rounding=rounding)


def dynamic(folder: Path, per_channel: bool) -> Expected:
    """DynamicQuantizeLinear and MatMulInteger; a Gemm's weight is turned to (in, out)."""
    module = rewritten(folder, quantize_dynamic, nets.perceptron, rows, per_channel=per_channel)
    return dequantised(folder, layers(module, PERCEPTRON), ("MatMulInteger",))


def attention(folder: Path, per_channel: bool) -> Expected:
    """Three layers of one quantised input, which the optimiser fuses otherwise than a layer of its own input."""
    module = rewritten(folder, quantize_dynamic, nets.attention, narrow, per_channel=per_channel)
    return dequantised(folder, layers(module, "q k v out"), ("MatMulInteger",))


def static(folder: Path, layout: QuantFormat, per_channel: bool) -> Expected:
    """QDQ (DequantizeLinear before each Gemm and MatMul) or QOperator (QGemm and QLinearMatMul)."""
    random = np.random.default_rng(0)
    samples = Samples({"x": random.normal(size=rows().shape).astype(np.float32)} for _ in range(4))
    how = {"quant_format": layout, "activation_type": QuantType.QUInt8, "per_channel": per_channel}
    module = rewritten(folder, quantize_static, nets.perceptron, rows, calibration_data_reader=samples, **how)
    gemm, matmul = ("Gemm", "MatMul") if layout == QuantFormat.QDQ else ("QGemm", "QLinearMatMul")
    return dequantised(folder, layers(module, PERCEPTRON), (gemm, matmul, gemm), ("body.0", "head"))


def few_bits(folder: Path, layout: QuantFormat, bits: int, symmetric: bool) -> Expected:
    """Blocks of 32 inputs, each with a scale and, unless symmetric, a zero point.

    MatMulNBits stores (out, blocks, bytes), the lowest bits first; QDQ stores (in, out), of type int4 or uint4.
    """
    how = {"layout": layout, "bits": bits, "symmetric": symmetric}
    originals = layers(rewritten(folder, in_blocks, nets.wide, wide, **how), "fc1 fc2")
    path, qdq = folder / "model.onnx", layout == QuantFormat.QDQ
    stored = tensors(path)
    weights, rounding = {}, {}
    ending = "_DQ_Q4" if qdq else f"_Q{bits}"
    names = [name.removesuffix(ending.removeprefix("_DQ")) for name in stored if name.endswith(ending)]
    for layer, name in zip(originals, names, strict=True):
        integers, scale = stored[f"{name}_Q{bits}"], stored[f"{name}_scales"]
        zero = np.zeros_like(scale) if symmetric else stored[f"{name}_zero_points"]
        if qdq:
            integers, scale, zero = integers.T.astype(np.float32), scale.T, zero.T.astype(np.float32)
        else:
            integers = unpacked(integers, bits).reshape(len(integers), -1)
            zero = np.full_like(scale, 2 ** (bits - 1)) if symmetric else unpacked(zero, bits)[:, :2]
        scale, zero = (np.repeat(of_block, BLOCK, axis=1)[:, :40] for of_block in (scale, zero))
        weights[layer] = (integers[:, :40] - zero) * scale
        # Symmetric, the largest magnitude becomes the lowest integer; one as large of the other sign does not fit.
        rounding[layer] = np.abs(scale) * (1 if symmetric else 0.5)
    operators = ("MatMul",) if qdq else ("MatMulNBits",)
    dtype = "" if not qdq else "int4" if symmetric else "uint4"
    return Expected(path, weights, operators, dtype, exact=False, originals=originals, rounding=rounding)


def unpacked(packed: Matrix, bits: int) -> Matrix:
    """The numbers in the last axis of a uint8 array, as float32."""
    digits = np.unpackbits(packed, axis=-1, bitorder="little").reshape(*packed.shape[:-1], -1, bits)
    return (digits @ (1 << np.arange(bits))).astype(np.float32)


def optimised(folder: Path, build: Builder, operators: tuple[str, ...], level: str = "ALL", **changes: Any) -> Expected:
    """What the runtime makes of another pattern; the order of its nodes may change."""
    (folder / "plain").mkdir()
    plain = build(folder / "plain")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(folder / "model.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(plain.path), options, providers=["CPUExecutionProvider"])
    nodes = [node.name for node in onnx.load(folder / "model.onnx").graph.node]

    def position(layer: str) -> int:
        return next(i for i, name in enumerate(nodes) if f"/{layer}/" in name or name.startswith(f"{layer}/"))

    weights = {layer: plain.weights[layer] for layer in sorted(plain.weights, key=position)}
    return replace(plain, path=folder / "model.onnx", weights=weights, operators=operators, **changes)


def scaled_products(folder: Path) -> Expected:
    """As exported; what is asked for are the products after the scale has become their alpha."""
    plain = script("products")(folder)
    return replace(plain, weights=plain.weights | {"scaled": plain.weights["scaled"] / 2})


def script(name: str) -> Builder:
    return partial(NETWORKS[name].write, dynamo=False)


for _symmetric in (False, True):
    _points = f"{'without' if _symmetric else 'with'} zero points"
    PATTERNS[f"2 bits {_points}"] = partial(few_bits, layout=QuantFormat.QOperator, bits=2, symmetric=_symmetric)
    _qdq = partial(few_bits, layout=QuantFormat.QDQ, bits=4, symmetric=_symmetric)
    PATTERNS[f"optimised 4 bits QDQ {_points}"] = partial(
        optimised, build=_qdq, operators=("MatMul", "MatMulNBits"), dtype=""
    )

for _per_channel in (False, True):
    _how = "per channel" if _per_channel else "per tensor"
    _dynamic, _qdq, _operators = (
        partial(build, per_channel=_per_channel)
        for build in (dynamic, partial(static, layout=QuantFormat.QDQ), partial(static, layout=QuantFormat.QOperator))
    )
    PATTERNS |= {
        f"dynamic {_how}": _dynamic,
        f"static operators {_how}": _operators,
        f"optimised dynamic {_how}": partial(optimised, build=_dynamic, operators=("DynamicQuantizeMatMul",)),
        f"optimised attention {_how}": partial(
            optimised,
            build=partial(attention, per_channel=_per_channel),
            operators=("MatMulIntegerToFloat",) * 3 + ("DynamicQuantizeMatMul",),
            skipped=(("/MatMul/MatmulTransposeFusion/", "FusedMatMul"), ("/MatMul_1", "MatMul")),
        ),
        f"optimised QDQ {_how}": partial(
            optimised,
            build=_qdq,
            operators=("QGemm", "QLinearMatMul", "QGemm"),
        ),
    }

for _pattern in ("uint8 per axis 1", "int4 per axis 1"):
    PATTERNS[f"optimised {_pattern}"] = partial(
        optimised, build=handmade.PATTERNS[_pattern], operators=("MatMulNBits",), dtype=""
    )
_products = partial(optimised, operators=("Gemm", "MatMul", "Gemm"))
PATTERNS |= {
    "optimised perceptron": partial(optimised, build=script("perceptron"), operators=("FusedGemm", "MatMul", "Gemm")),
    "optimised rank 3": partial(_products, build=script("rank 3")),
    "optimised products": partial(optimised, build=scaled_products, operators=("FusedMatMul",), named=False),
    "optimised half": partial(_products, build=script("half"), dtype=""),
    "optimised half behind a cast": partial(_products, build=script("half"), level="EXTENDED"),
}
