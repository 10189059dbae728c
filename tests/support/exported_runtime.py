"""Models as ONNX Runtime's tools rewrite them: quantised, in every layout it has, and optimised.

The weights are worked out here with numpy from the integers, scales and zero points in the file, layout by layout;
`Expected.rounding` says how far they may lie from the weights before. Every entry of FORMS writes one file into an
empty folder; those of QUANTISED know what the weights were before.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)
from torch import nn

from tests.support import handmade
from tests.support.exported import (
    PERCEPTRON,
    Builder,
    Expected,
    Matrix,
    export,
    inputs,
    layers,
    of_rank_3,
    perceptron,
    products,
    rows,
    sequences,
)
from tests.support.exported_modules import Attention, Perceptron

QUANTISED: dict[str, Builder] = {}
OPTIMISED: dict[str, Builder] = {}
BLOCK = 32


class Wide(nn.Module):
    """Two layers of 40 inputs, which are one block of 32 and a part of another, the first square."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.fc1, self.fc2 = nn.Linear(40, 40, bias=False), nn.Linear(40, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
        return y


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """Four inputs, from which the range of every activation is taken."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(0)
        self.samples: Iterator[dict[str, Matrix]] = iter(
            [{"x": random.normal(size=shape).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, Matrix] | None:
        return next(self.samples, None)


def exported(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """The file to start from, its input called `x`."""
    export(module, x, folder / "before.onnx", dynamo=False, input_names=["x"])
    return folder / "before.onnx"


def quietly(function: Callable[..., Any], *args: Any, **options: Any) -> None:
    """These tools advise on standard error."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*args, **options)
    finally:
        logging.getLogger().setLevel(level)


def tensors(path: Path) -> dict[str, Matrix]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def dequantised(expected: Expected, columns: Callable[[str], bool]) -> Expected:
    """The weights from each layer's integers, scale and zero point, which the tools name alike and write in order.

    Args:
        columns: whether this layer's integers are stored (in, out), with a scale for each column.
    """
    stored = tensors(expected.path)
    names = [
        name.removesuffix("_quantized") for name, t in stored.items() if name.endswith("_quantized") and t.ndim == 2
    ]
    weights, rounding = {}, {}
    for layer, name in zip(expected.originals, names, strict=True):
        integers, scale, zero = (stored[name + end] for end in ("_quantized", "_scale", "_zero_point"))
        by_row = integers.T if columns(layer) else integers
        weights[layer] = (by_row.astype(np.float32) - zero.reshape(-1, 1).astype(np.float32)) * scale.reshape(-1, 1)
        rounding[layer] = scale.reshape(-1, 1) / 2
    return replace(expected, weights=weights, rounding=rounding)


def dynamic(folder: Path, kind: QuantType, per_channel: bool) -> Expected:
    """DynamicQuantizeLinear and MatMulInteger; a Gemm's weight is turned to (in, out)."""
    module = Perceptron()
    before, path = exported(module, rows(), folder), folder / "model.onnx"
    quietly(quantize_dynamic, before, path, weight_type=kind, per_channel=per_channel)
    start = Expected(path, {}, ("MatMulInteger",), _name(kind), exact=False, originals=layers(module, *PERCEPTRON))
    return dequantised(start, columns=lambda layer: True)


def static(folder: Path, layout: QuantFormat, kind: QuantType, per_channel: bool, rank: int = 2) -> Expected:
    """QDQ (DequantizeLinear before each Gemm and MatMul) or QOperator (QGemm and QLinearMatMul)."""
    module, x = Perceptron(), inputs(rank)
    before, path = exported(module, x, folder), folder / "model.onnx"
    options = {"quant_format": layout, "activation_type": QuantType.QUInt8, "weight_type": kind}
    quietly(quantize_static, before, path, Samples(tuple(x.shape)), per_channel=per_channel, **options)
    gemm, matmul = ("Gemm", "MatMul") if layout == QuantFormat.QDQ else ("QGemm", "QLinearMatMul")
    operators = (gemm, matmul, gemm) if rank == 2 else (matmul,)
    start = Expected(path, {}, operators, _name(kind), exact=False, originals=layers(module, *PERCEPTRON))
    return dequantised(start, columns=lambda layer: rank == 3 or layer == "body.2")


def _name(kind: QuantType) -> str:
    return "int8" if kind == QuantType.QInt8 else "uint8"


def few_bits(folder: Path, layout: QuantFormat, bits: int, symmetric: bool) -> Expected:
    """Blocks of 32 inputs, each with a scale and, unless symmetric, a zero point.

    MatMulNBits stores (out, blocks, bytes), the lowest bits first; QDQ stores (in, out), of type int4 or uint4.
    """
    module = Wide()
    before, path = exported(module, sequences(40), folder), folder / "model.onnx"
    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=symmetric, quant_format=layout, bits=bits)
    quantizer = MatMulNBitsQuantizer(onnx.load(before), algo_config=config)
    quietly(quantizer.process)
    quantizer.model.save_model_to_file(path)
    stored, originals = tensors(path), layers(module, "fc1", "fc2")
    weights, rounding = {}, {}
    ending = "_DQ_Q4" if layout == QuantFormat.QDQ else f"_Q{bits}"
    names = [name.removesuffix(ending.removeprefix("_DQ")) for name in stored if name.endswith(ending)]
    for layer, name in zip(originals, names, strict=True):
        integers, scale = stored[f"{name}_Q{bits}"], stored[f"{name}_scales"]
        zero = np.zeros_like(scale) if symmetric else stored[f"{name}_zero_points"]
        if layout == QuantFormat.QDQ:
            integers, scale, zero = integers.T.astype(np.float32), scale.T, zero.T.astype(np.float32)
        else:
            integers = unpacked(integers, bits).reshape(len(integers), -1)
            zero = np.full_like(scale, 2 ** (bits - 1)) if symmetric else unpacked(zero, bits)[:, :2]
        scale, zero = (np.repeat(of_block, BLOCK, axis=1)[:, :40] for of_block in (scale, zero))
        weights[layer] = (integers[:, :40] - zero) * scale
        # Symmetric, the largest magnitude becomes the lowest integer; one as large of the other sign does not fit.
        rounding[layer] = np.abs(scale) * (1 if symmetric else 0.5)
    operator = "MatMul" if layout == QuantFormat.QDQ else "MatMulNBits"
    dtype = "" if layout != QuantFormat.QDQ else "int4" if symmetric else "uint4"
    return Expected(path, weights, (operator,), dtype, exact=False, originals=originals, rounding=rounding)


def unpacked(packed: Matrix, bits: int) -> Matrix:
    """The numbers in the last axis of a uint8 array, as float32."""
    digits = np.unpackbits(packed, axis=-1, bitorder="little").reshape(*packed.shape[:-1], -1, bits)
    return (digits @ (1 << np.arange(bits))).astype(np.float32)


def optimised(folder: Path, build: Builder, operators: tuple[str, ...], level: str = "ALL", **changes: Any) -> Expected:
    """What the runtime makes of another form; the order of its nodes may change."""
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


def attention(folder: Path, per_channel: bool) -> Expected:
    """Three layers of one quantised input, which the optimiser fuses otherwise than a layer of its own input."""
    module = Attention()
    before, path = exported(module, sequences(16), folder), folder / "model.onnx"
    quietly(quantize_dynamic, before, path, weight_type=QuantType.QInt8, per_channel=per_channel)
    originals = layers(module, "q", "k", "v", "out")
    start = Expected(path, {}, ("MatMulInteger",), "int8", exact=False, originals=originals)
    return dequantised(start, columns=lambda layer: True)


def scaled_products(folder: Path) -> Expected:
    """As exported; what is asked for are the products after the scale has become their alpha."""
    plain = products(folder, dynamo=False)
    return replace(plain, weights=plain.weights | {"scaled": plain.weights["scaled"] / 2})


for _kind in (QuantType.QInt8, QuantType.QUInt8):
    for _per_channel in (False, True):
        _how = f"{_name(_kind)} per {'channel' if _per_channel else 'tensor'}"
        QUANTISED[f"dynamic {_how}"] = partial(dynamic, kind=_kind, per_channel=_per_channel)
        for _layout in QuantFormat:
            _static = partial(static, layout=_layout, kind=_kind, per_channel=_per_channel)
            QUANTISED[f"{_layout} {_how}"] = _static
            QUANTISED[f"{_layout} {_how} rank 3"] = partial(_static, rank=3)

for _symmetric in (False, True):
    _points = "without zero points" if _symmetric else "with zero points"
    for _bits in (2, 4, 8):
        QUANTISED[f"{_bits} bits {_points}"] = partial(
            few_bits, layout=QuantFormat.QOperator, bits=_bits, symmetric=_symmetric
        )
    QUANTISED[f"4 bits QDQ {_points}"] = partial(few_bits, layout=QuantFormat.QDQ, bits=4, symmetric=_symmetric)

for _per_channel in (False, True):
    _how = "per channel" if _per_channel else "per tensor"
    _quantised = {"kind": QuantType.QInt8, "per_channel": _per_channel}
    QUANTISED |= {
        f"optimised dynamic {_how}": partial(
            optimised, build=partial(dynamic, **_quantised), operators=("DynamicQuantizeMatMul",)
        ),
        f"optimised attention {_how}": partial(
            optimised,
            build=partial(attention, per_channel=_per_channel),
            operators=("MatMulIntegerToFloat",) * 3 + ("DynamicQuantizeMatMul",),
            skipped=(("/MatMul/MatmulTransposeFusion/", "FusedMatMul"), ("/MatMul_1", "MatMul")),
        ),
        f"optimised QDQ {_how}": partial(
            optimised,
            build=partial(static, layout=QuantFormat.QDQ, **_quantised),
            operators=("QGemm", "QLinearMatMul", "QGemm"),
        ),
    }

for _symmetric in (False, True):
    QUANTISED[f"optimised 4 bits QDQ {'without' if _symmetric else 'with'} zero points"] = partial(
        optimised,
        build=partial(few_bits, layout=QuantFormat.QDQ, bits=4, symmetric=_symmetric),
        operators=("MatMul", "MatMulNBits"),
        dtype="",
    )

for _name_of_form in ("uint8 per axis 1", "int4 per axis 1"):
    OPTIMISED[f"optimised {_name_of_form}"] = partial(
        optimised, build=handmade.FORMS[_name_of_form], operators=("MatMulNBits",), dtype=""
    )
OPTIMISED |= {
    "optimised perceptron": partial(
        optimised, build=partial(perceptron, dynamo=False), operators=("FusedGemm", "MatMul", "Gemm")
    ),
    "optimised rank 3": partial(
        optimised, build=partial(of_rank_3, dynamo=False), operators=("Gemm", "MatMul", "Gemm")
    ),
    "optimised products": partial(optimised, build=scaled_products, operators=("FusedMatMul",), named=False),
    "optimised half": partial(
        optimised,
        build=partial(of_rank_3, dynamo=False, dtype=torch.float16),
        operators=("Gemm", "MatMul", "Gemm"),
        dtype="",
    ),
    "optimised half behind a cast": partial(
        optimised,
        build=partial(of_rank_3, dynamo=False, dtype=torch.float16),
        operators=("Gemm", "MatMul", "Gemm"),
        level="EXTENDED",
    ),
}

FORMS = QUANTISED | OPTIMISED
