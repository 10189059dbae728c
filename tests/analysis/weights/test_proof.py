"""ONNX Runtime as the judge of matrices that were read: all weights are square, so that no shape gives them away."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from analysis import sparsity
from analysis.weights import probe, proof
from analysis.weights.layers import Layer, read
from analysis.weights.matrix import Quantisation
from analysis.weights.proof import Proof, verify
from study.errors import StudyError
from study.onnx_given import Given
from tests.support import notation
from tests.support.notation import FUNCTION

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


def instead(other: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    assert other.shape == weight.shape
    return other


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


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_matrix_is_proved_in_every_pattern_and_refuted_when_turned(pattern: str, tmp_path: Path) -> None:
    path, layer = one(tmp_path, pattern)
    assert layer.operator == pattern.partition(",")[0] or pattern in TYPES or "QDQ" in pattern
    right, wrong = verify(path, [layer, changed(layer, turned)])
    assert (right.verified, right.reason, right.inputs_seen) == (True, "", SIZE)
    assert right.error is not None
    assert right.error < 1e-6
    assert wrong.verified is False
    assert wrong.error is not None
    assert wrong.error > 0.1


def test_a_map_whose_size_the_file_only_declares_is_not_proved(tmp_path: Path) -> None:
    """The file says that the kernel covers the map, which is larger."""
    nodes = "s = Shape(x) m = Slice(x, origin, s) y = Conv(m, map)"
    more = {"origin": np.zeros(4, np.int64)}
    path = notation.save(tmp_path, nodes, CONSTANTS | more, x="float[1, 2, 8, 8]", declared="float[1, 2, 4, 4] m")
    (layer,) = read(path).layers
    (proved,) = verify(path, [layer])
    assert (proved.verified, proved.reason) == (None, "the size of its map does not follow from the model's inputs")


def test_two_classes_with_one_row_of_weights(tmp_path: Path) -> None:
    row = ",".join(map(str, WEIGHT[0]))
    attributes = f'coefficients = [{row}], intercepts = [3.0], classlabels_ints = [0, 1], post_transform = "LOGISTIC"'
    (layer,) = read(path := save(tmp_path, f"y, scores = ai.onnx.ml.LinearClassifier<{attributes}>(x)")).layers
    assert layer.weight.shape == (1, SIZE)
    assert [each.verified for each in verify(path, [layer, changed(layer, np.negative)])] == [True, False]


@pytest.mark.parametrize(
    "pattern", ["Gemm", "QDQ", "QGemm", "QLinearMatMul", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulNBits"]
)
def test_a_scale_that_is_wrong_by_one_part_in_a_hundred_is_refuted(tmp_path: Path, pattern: str) -> None:
    path, layer = one(tmp_path, pattern)
    (refuted,) = verify(path, [changed(layer, lambda weight: weight * np.float32(1.01))])
    assert refuted.verified is False
    assert refuted.error == pytest.approx(0.01, rel=0.02)


def test_a_single_weight_that_is_wrong_is_refuted(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMul")
    single = np.zeros((SIZE, SIZE), np.float32)
    single[3, 5] = 1e-3
    assert verify(path, [changed(layer, lambda weight: weight + single)])[0].verified is False


def test_a_zero_point_that_is_wrong_by_one_is_refuted(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "QDQ")
    assert verify(path, [changed(layer, lambda weight: weight + STEPS[:, None])])[0].verified is False


def test_a_matrix_of_another_shape_is_refuted_with_both_shapes(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMul")
    wrong = "y is not x W^T: the matrix is 32 x 31, but x has 32 columns and y has 32"
    assert verify(path, [changed(layer, lambda weight: weight[:, :-1])]) == [Proof(False, None, wrong)]


def test_a_matrix_of_zeros_is_proved_and_refuted(tmp_path: Path) -> None:
    path = save(tmp_path, "z = Mul(w, nothing) y = MatMul(x, z)")
    (layer,) = read(path).layers
    assert verify(path, [layer]) == [Proof(True, 0.0, "", SIZE)]
    assert verify(path, [changed(layer, lambda weight: weight + 1)])[0].verified is False


@pytest.mark.parametrize(
    "wrong",
    [
        lambda weight: np.concatenate([weight[:1], weight[1:] * 0]),
        lambda weight: np.concatenate([weight[:1], weight[1:] * np.float32(1.1)]),
        lambda weight: np.where(np.abs(weight) < 0.05, 0, weight),
    ],
)
def test_what_is_wrong_in_some_outputs_is_not_hidden_by_a_far_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    loud = WEIGHT.copy()
    loud[:, 0] *= 1e5
    monkeypatch.setitem(CONSTANTS, "w", loud)
    path, layer = one(tmp_path, "MatMul")
    assert [each.verified for each in verify(path, [layer, changed(layer, wrong)])] == [True, False]


def test_outputs_that_are_not_finite_must_be_so_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infinite = WEIGHT.copy()
    infinite[2, 7] = np.inf
    monkeypatch.setitem(CONSTANTS, "w", infinite)
    path, layer = one(tmp_path, "MatMul")
    assert verify(path, [layer])[0].verified is True
    refuted, unknown = verify(path, [changed(layer, np.nan_to_num), changed(layer, lambda weight: weight * np.nan)])
    assert (refuted.verified, refuted.error) == (False, np.inf)
    assert unknown.verified is False
    monkeypatch.setitem(CONSTANTS, "w", WEIGHT * np.float32(np.nan))
    path, layer = one(tmp_path, "MatMul")
    assert verify(path, [layer]) == [Proof(None, None, "its weights are not finite")]


def test_of_a_very_large_matrix_some_inputs_are_proved_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "MOST_ELEMENTS", 7 * 2 * SIZE)
    path, layer = one(tmp_path, "Gemm, transB, alpha, bias")
    right, wrong = verify(path, [layer, changed(layer, turned)])
    assert (right.verified, right.inputs_seen) == (True, 7)
    assert wrong.verified is False


# Values that are not finite, or hardly above zero


@pytest.mark.parametrize(
    "nodes",
    ["n = Neg(x) s = Sqrt(n)", "n = Relu(x) s = Log(n)", "z = Sub(x, x) s = Div(z, z)", "s = Mul(x, tiny)"],
)
def test_the_values_that_reach_a_layer_do_not_matter(
    nodes: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path, f"{nodes} y = MatMul(s, w)")
    assert sparsity.main([str(path), "--verify", "--format", "json"]) == 0
    printed, errors = capfd.readouterr()
    (layer,) = json.loads(printed)["files"][0]["layers"]
    assert (layer["verified"]["verified"], errors) == (True, "")


def subnormal(folder: Path, monkeypatch: pytest.MonkeyPatch, size: float, nodes: str) -> tuple[Path, Layer]:
    """A layer that has one output of weights of up to `size`."""
    weight = WEIGHT.copy()
    weight[:, 3] = np.linspace(-size, size, SIZE, dtype=np.float32)
    monkeypatch.setitem(CONSTANTS, "w", weight)
    (layer,) = read(path := save(folder, nodes)).layers
    return path, layer


@pytest.mark.parametrize("size", [1e-38, 1e-41, 1e-44, 3e-45])
@pytest.mark.parametrize("nodes", ["y = MatMul(x, w)", "y = Gemm<alpha=0.3>(x, w)"])
def test_subnormal_weights_are_proved_and_wrong_ones_refuted(
    size: float, nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, layer = subnormal(tmp_path, monkeypatch, size, nodes)
    assert 0 < np.abs(layer.weight.load()[3]).max() <= size * 1.01
    assert [each.verified for each in verify(path, [layer, changed(layer, np.negative)])] == [True, False]


@pytest.mark.parametrize(("size", "nodes"), [(1e-41, "y = Gemm<alpha=0.3>(x, w)"), (3e-45, "y = MatMul(x, w)")])
def test_a_wrong_output_of_subnormal_weights_is_refuted(
    size: float, nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, layer = subnormal(tmp_path, monkeypatch, size, nodes)
    right = layer.weight.load()
    for row in (-right[3], right[3] * 0, right[3] * 2, right[3, ::-1]):
        wrong = np.concatenate([right[:3], row[None], right[4:]])
        assert verify(path, [changed(layer, partial(instead, wrong))])[0].verified is False


@pytest.mark.parametrize("scale", [1e-36, 1e-40, 1e-43, 1e37])
@pytest.mark.parametrize(
    "pattern", [name for name in PATTERNS if "steps" in PATTERNS[name][0] or "scales" in PATTERNS[name][0]]
)
def test_scales_at_the_ends_of_float32_are_proved(
    pattern: str, scale: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = STEPS * np.float32(scale)
    monkeypatch.setitem(CONSTANTS, "steps", small)
    monkeypatch.setitem(CONSTANTS, "scales", small[:, None])
    path, layer = one(tmp_path, pattern)
    assert [each.verified for each in verify(path, [layer, changed(layer, np.negative)])] == [True, False]


def test_weights_that_are_a_few_steps_of_their_type_are_not_tried_where_they_are_rounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONSTANTS, "w", np.full((SIZE, SIZE), 3e-45, np.float32))
    (layer,) = read(path := save(tmp_path, "y = Gemm<alpha=0.3>(x, w)")).layers
    other = changed(layer, lambda weight: weight + np.float32(1.4e-45))
    assert verify(path, [other]) == [Proof(None, None, "its weights are too small to compare")]


# Where a layer is

ONCE = f"{FUNCTION} Once (a, m) => (y) {{ g = Gemm<transB=1>(a, m) y = Tanh(g) }}"


def test_each_call_of_a_function_is_proved_with_its_own_matrix(tmp_path: Path) -> None:
    twice = f"{FUNCTION} Twice (a, m, k) => (y) {{ b = local.Once(a, m) y = local.Once(b, k) }}"
    path = save(tmp_path, "z = local.Twice(x, w, v) y = local.Twice(z, v, w)", functions=f"{ONCE} {twice}")
    layers = read(path).layers
    np.testing.assert_array_equal([layer.weight.load() for layer in layers], [WEIGHT, *2 * [WEIGHT[::-1]], WEIGHT])
    assert [each.verified for each in verify(path, layers)] == [True] * 4
    other = [changed(layer, lambda weight: weight[::-1]) for layer in layers]  # the matrix of another call
    assert [each.verified for each in verify(path, other)] == [False] * 4


@pytest.mark.parametrize(("declared", "called"), [("t", "<t=1>"), ("t: int = 1", ""), ("t: int = 0", "<t=1>")])
def test_an_attribute_is_the_calls_or_else_the_functions_default(tmp_path: Path, declared: str, called: str) -> None:
    once = f"{FUNCTION} Turned <{declared}> (a, m) => (y) {{ y = Gemm<transA: int = @t>(m, a) }}"
    (layer,) = read(path := save(tmp_path, f"y = local.Turned{called}(x, w)", functions=once)).layers
    np.testing.assert_array_equal(layer.weight.load(), WEIGHT.T)
    assert [each.verified for each in verify(path, [layer, changed(layer, turned)])] == [True, False]


def test_a_constant_that_is_used_twice_at_every_step_is_copied_once(tmp_path: Path) -> None:
    """Otherwise forty steps would be 2^40 nodes."""
    doubled = " ".join(f"w{step + 1} = Add(w{step}, w{step})" for step in range(40))
    (layer,) = read(path := save(tmp_path, f"w0 = Identity(w) {doubled} y = MatMul(x, w40)")).layers
    np.testing.assert_array_equal(layer.weight.load(), WEIGHT.T * 2**40)
    assert verify(path, [layer])[0].verified is True


def test_the_whole_model_multiplies_with_the_matrices_that_were_read(tmp_path: Path) -> None:
    """ONNX Runtime runs all of it and resolves every name by itself, in a loop, a branch and functions."""
    choose = f"""{FUNCTION} Choose (a, m, k, c) => (y) {{ y = If(c)<
        then_branch = then () => (float[] t) {{ p = MatMul(a, m) t = local.Once(p, k) }},
        else_branch = other () => (float[] r) {{ r = Relu(a) }}> }}"""
    body = """body (int64 i, bool go, float[] s) => (bool on, float[] t)
        { on = Identity(go) u = MatMul(s, turned) t = local.Choose(u, w, v, yes) }"""
    nodes = f"turned = Transpose(w) z = Loop(rounds, yes, x)<body = {body}> y = local.Once(z, w)"
    path = save(tmp_path, nodes, functions=f"{ONCE} {choose}")
    layers = read(path).layers
    assert [layer.operator for layer in layers] == ["MatMul", "MatMul", "Gemm", "Gemm"]
    assert [each.verified for each in verify(path, layers)] == [True] * 4

    first, second, third, last = (layer.weight.load() for layer in layers)
    x = y = RANDOM.normal(size=(4, SIZE)).astype(np.float32)
    for _ in range(3):
        y = np.tanh(y @ first.T @ second.T @ third.T)
    np.testing.assert_allclose(notation.run(path, x=x)[0], np.tanh(y @ last.T), atol=1e-5)


# What cannot be tried


def test_a_type_without_kernel_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, "d = Cast<to=11>(x) y = Conv(d, wide)", IMAGE)
    reason = "ONNX Runtime cannot run the layer: Could not find an implementation for Conv(11) node with name ''"
    assert verify(path, read(path).layers) == [Proof(None, None, reason)]


def test_a_scale_for_each_row_of_a_left_operand_is_not_tried(tmp_path: Path) -> None:
    nodes = f"{QUANTISE} y = QLinearMatMul(uint8, steps, bytes, q, step, zero, step, zero)"
    path = save(tmp_path, nodes, "float[32, n]")
    (layer,) = read(path).layers
    expected = STEPS[:, None] * (CONSTANTS["uint8"] - CONSTANTS["bytes"].astype(np.float32)[:, None])
    np.testing.assert_array_equal(layer.weight.load(), expected)
    reason = "ONNX Runtime has no kernel for a scale or zero point of each row of a left operand"
    assert verify(path, [layer]) == [Proof(None, None, reason)]


@pytest.mark.parametrize("version", [1, 4, 5, 6, 9])
@pytest.mark.parametrize(
    "nodes",
    [
        [("Gemm", "x w bias", "y", {"transB": 1, "alpha": 0.5})],
        [("Transpose", "w", "t", {}), ("Identity", "t", "s", {}), ("MatMul", "x s", "y", {})],
    ],
)
def test_old_opsets_are_proved_as_well(nodes: Any, version: int, tmp_path: Path) -> None:
    """Before IR version 4 initializers are inputs too; before opset 7 a Gemm broadcasts its bias on request only."""
    protos = [helper.make_node(operator, inputs.split(), [y], **more) for operator, inputs, y, more in nodes]
    if version < 7 and protos[0].op_type == "Gemm":
        protos[0].attribute.append(helper.make_attribute("broadcast", 1))
    weights = [numpy_helper.from_array(CONSTANTS[name], name) for name in ("w", "bias")]
    shapes = {"x": (None, SIZE), "w": (SIZE, SIZE), "bias": (SIZE,), "y": (None, SIZE)}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(protos, "old", values[:-1], values[-1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=3)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    (layer,) = read(path).layers
    np.testing.assert_array_equal(layer.weight.load(), WEIGHT * np.float32(0.5 if layer.operator == "Gemm" else 1))
    assert [each.verified for each in verify(path, [layer, changed(layer, turned)])] == [True, False]


def test_constants_of_another_opset_than_the_layers_are_not_tried(tmp_path: Path) -> None:
    older = f"{FUNCTION} Older (m) => (y) {{ y = Transpose(m) }}".replace("21", "13")
    path = save(tmp_path, "t = local.Older(w) y = MatMul(x, t)", functions=older)
    reason = "its constants are made by operators of several opsets"
    assert verify(path, read(path).layers) == [Proof(None, None, reason)]


def test_a_computed_scale_is_not_tried(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMulIntegerToFloat")
    layer.in_graph.proto.input[3] = "s"
    assert verify(path, [layer]) == [Proof(None, None, "its input 3 is computed")]


def test_a_matrix_without_elements_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONSTANTS, "w", np.zeros((SIZE, 0), np.float32))
    path, layer = one(tmp_path, "MatMul")
    assert verify(path, [layer]) == [Proof(None, None, "its matrix is empty")]


def test_names_that_are_no_text_are_a_reason_and_print_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, layer = one(tmp_path, "Gemm, transB, alpha, bias")
    broken = onnx.NodeProto.FromString(layer.in_graph.proto.SerializeToString().replace(b"w", b"\xc5"))
    (untried,) = verify(path, [replace(layer, in_graph=replace(layer.in_graph, proto=broken))])
    assert untried.verified is None
    assert untried.reason
    assert capfd.readouterr() == ("", "")


def test_constants_that_are_too_large_for_one_model_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "MOST_BYTES", WEIGHT.nbytes - 1)
    path, layer = one(tmp_path, "MatMul")
    assert "more than 2 GiB" in verify(path, [layer])[0].reason


def test_without_onnx_runtime_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, layer = one(tmp_path, "MatMul")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install onnxruntime" in verify(path, [layer])[0].reason


def test_shapes_and_values_that_do_not_fit_are_the_users_mistake(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMul")
    assert verify(path, [layer], Given({"x": (1, SIZE)}, {"x": "0..1"}))[0].verified is True
    for wrong in (Given({"z": (1, SIZE)}), Given({}, {"z": "1"})):
        with pytest.raises(StudyError, match="has no input 'z'; it has: 'x'"):
            verify(path, [layer], wrong)


def test_weights_beside_the_model_are_found_and_nothing_is_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    path = save(folder, "z = MatMul(x, w) y = MatMul(z, v)")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}
    assert len(before) == 2
    monkeypatch.chdir(folder)
    layers = read(Path("model.onnx")).layers
    assert [each.verified for each in verify(Path("model.onnx"), layers)] == [True, True]
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()} == before
