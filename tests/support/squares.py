"""Files of every operator pattern with one layer whose weight is square, so that no shape gives a wrong matrix away."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from analysis.weights.layers import Layer, read
from analysis.weights.quantisation import Quantisation
from tests.support import notation

SIZE = 32
RANDOM = np.random.default_rng(7)
WEIGHT = RANDOM.normal(scale=SIZE**-0.5, size=(SIZE, SIZE)).astype(np.float32)
STEPS = RANDOM.uniform(0.01, 0.05, SIZE).astype(np.float32)
"""The scale of each column of `int8`."""
INT8 = RANDOM.integers(-127, 128, (SIZE, SIZE)).astype(np.int8)
CONSTANTS: dict[str, Any] = {
    "w": WEIGHT,
    "v": WEIGHT[::-1].copy(),
    "bias": RANDOM.normal(size=SIZE).astype(np.float32),
    "stack": RANDOM.normal(size=(3, SIZE, SIZE)).astype(np.float32),
    "map": WEIGHT.reshape(SIZE, 2, 4, 4),
    "point": WEIGHT[:, :, None, None],
    "half": WEIGHT.astype(np.float16),
    "narrow": WEIGHT.astype(ml_dtypes.bfloat16),
    "double": WEIGHT.astype(np.float64),
    "wide": WEIGHT.reshape(SIZE, 2, 4, 4).astype(np.float64),
    "int8": INT8,
    "uint8": (INT8 + np.int16(128)).astype(np.uint8),
    "steps": STEPS,
    "step": np.float32(0.02),
    "zero": np.uint8(100),
    "odd": np.int8(3),
    "zeros": RANDOM.integers(-9, 9, SIZE).astype(np.int8),
    "bytes": RANDOM.integers(0, 9, SIZE).astype(np.uint8),
    "nothing": np.float32(0),
    "packed": RANDOM.integers(0, 256, (SIZE, 1, SIZE // 2)).astype(np.uint8),
    "scales": STEPS[:, None],
    "tiny": np.float32(1e-41),
    "rounds": np.int64(3),
    "yes": np.True_,
}
"""The initializers of every file: more than any has use for."""


def save(folder: Path, nodes: str, x: str = "float[n, 32]", **more: Any) -> Path:
    y = "int64[]" if "y, scores" in nodes else "double[]" if "double" in nodes else "float[]"
    return notation.save(folder, nodes, CONSTANTS, x=x, y=y, **more)


@dataclass(frozen=True)
class Changed:
    """A matrix of other numbers than those in the file."""

    numbers: NDArray[Any]
    quantisation: Quantisation | None
    alpha: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.numbers.shape[0], self.numbers.shape[1]

    def load(self) -> NDArray[Any]:
        return self.numbers


def changed(layer: Layer, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Layer:
    weight: Any = Changed(change(layer.weight.load()), layer.weight.quantisation, layer.weight.alpha)
    return replace(layer, weight=weight)


def turned(weight: NDArray[Any]) -> NDArray[Any]:
    """Each (SIZE, SIZE) matrix of a stack transposed."""
    return weight.reshape(-1, SIZE, SIZE).swapaxes(1, 2).reshape(weight.shape)


QUANTISE = "q = QuantizeLinear(x, step, zero)"
DYNAMIC = "q, s, z = DynamicQuantizeLinear(x)"
NUMBERS = (
    f"coefficients = [{','.join(map(str, WEIGHT.ravel()))}], intercepts = [{','.join(map(str, CONSTANTS['bias']))}]"
)
CLASSES = f'classlabels_ints = [{",".join(map(str, range(SIZE)))}], post_transform = "SOFTMAX"'
IMAGE = "float[n, 2, 4, 4]"
PATTERNS = {
    "Gemm": ("y = Gemm(x, w)",),
    "Gemm, transB, alpha, bias": ("y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, bias)",),
    "Gemm, bias from the input": ("y = Gemm(x, w, x)",),
    "Gemm, transA": ("y = Gemm<transA=1>(x, w)", "float[32, n]"),
    "Gemm, left": ("y = Gemm(w, x)", "float[32, n]"),
    "Gemm, left, transA, transB": ("y = Gemm<transA=1, transB=1>(w, x)",),
    "MatMul": ("y = MatMul(x, w)",),
    "MatMul, left": ("y = MatMul(w, x)", "float[n, 32, m]"),
    "MatMul, stack": ("y = MatMul(x, stack)", "float[n, 3, 5, 32]"),
    "MatMul, stack, left": ("y = MatMul(stack, x)", "float[32, n]"),
    "FusedGemm": ('y = com.microsoft.FusedGemm<activation="Relu">(x, w, bias)',),
    "FusedMatMul": ("y = com.microsoft.FusedMatMul<transA=1, transB=1, alpha=3.0>(x, w)", "float[n, 32, 6]"),
    "Conv, the whole map": ("y = Conv(x, map, bias)", IMAGE),
    "FusedConv": ('y = com.microsoft.FusedConv<activation="Relu">(x, map, bias)', IMAGE),
    "Conv, pointwise": ("y = Conv<strides=[2, 1]>(x, point)", "float[n, 32, 5, 3]"),
    "float16": ("h = Cast<to=10>(x) p = MatMul(h, half) y = Cast<to=1>(p)",),
    "bfloat16": ("h = Cast<to=16>(x) p = MatMul(h, narrow) y = Cast<to=1>(p)",),
    "float64": ("d = Cast<to=11>(x) y = MatMul(d, double)",),
    "QDQ": ("d = DequantizeLinear<axis=1>(int8, steps, zeros) y = MatMul(x, d)",),
    "QDQ, transB": ("d = DequantizeLinear<axis=0>(int8, steps, zeros) y = Gemm<transB=1>(x, d)",),
    "QGemm": (f"{QUANTISE} y = com.microsoft.QGemm<transB=1>(q, step, zero, int8, steps, zeros, , step, zero)",),
    "QGemm, left": (
        "q = QuantizeLinear(x, step, odd) y = com.microsoft.QGemm(int8, step, odd, q, step, odd, , step, odd)",
        "float[32, n]",
    ),
    "QLinearMatMul": (f"{QUANTISE} y = QLinearMatMul(q, step, zero, int8, steps, zeros, step, zero)",),
    "QLinearMatMul, left": (
        f"{QUANTISE} y = QLinearMatMul(uint8, step, zero, q, step, zero, step, zero)",
        "float[32, n]",
    ),
    "MatMulInteger": (f"{DYNAMIC} i = MatMulInteger(q, uint8, z, zero) f = Cast<to=1>(i) y = Mul(f, steps)",),
    "MatMulIntegerToFloat": (f"{DYNAMIC} y = com.microsoft.MatMulIntegerToFloat(q, int8, s, steps, z, zeros, bias)",),
    "DynamicQuantizeMatMul": ("y = com.microsoft.DynamicQuantizeMatMul(x, int8, steps, zeros, bias)",),
    "MatMulNBits": (
        "y = com.microsoft.MatMulNBits<K=32, N=32, bits=4, block_size=32, accuracy_level=4>(x, packed, scales)",
    ),
    "LinearRegressor": (f"y = ai.onnx.ml.LinearRegressor<{NUMBERS}, targets=32>(x)",),
    "LinearClassifier": (f"y, scores = ai.onnx.ml.LinearClassifier<{NUMBERS}, {CLASSES}>(x)",),
}
"""Nodes, and the type of x where it is not float[n, 32]."""


TYPES = ("float16", "bfloat16", "float64")


def one(folder: Path, pattern: str) -> tuple[Path, Layer]:
    path = save(folder, *PATTERNS[pattern])
    (layer,) = read(path, pointwise=True).layers
    return path, layer
