"""What the constants of a graph are: values that a weight takes on its way to a product, and names that hide others.

Graphs are in onnx's own notation. Those of CASES multiply x by a constant: fed with the identity matrix, ONNX Runtime
makes the weight itself.
"""

import csv
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from analysis import sparsity
from analysis.weights.layers import Weights, read
from analysis.weights.proof import verify
from tests.support.notation import FUNCTION, run, save

Array = NDArray[Any]
IN, OUT = 5, 3
random = np.random.default_rng(0)
W = random.standard_normal((IN, OUT)).astype(np.float32)
"""Stored (in, out), as MatMul has it."""
SQUARE = random.standard_normal((IN, IN)).astype(np.float32)
W_HALF = W.astype(np.float16)
BYTES = random.integers(108, 149, (IN, OUT)).astype(np.uint8)
SIGNED = random.integers(-127, 128, (IN, OUT)).astype(np.int8)
STACK = random.integers(-9, 10, (2, IN, OUT)).astype(np.int8)
MASK = W > 0
MASK_HALF = MASK.astype(np.float16)
SCALES = np.array([1, 0.5, 2], np.float32)
BLOCKS = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [1, 3, 5]]], np.float32)
TENTHS = np.array([0.1, 0.3, 0.7], np.float16)
POINTS = np.array([127, 128, 130], np.uint8)
EACH = np.arange(1, IN * OUT + 1, dtype=np.float32)
ROUND = {"one": np.float32(1), "low": np.uint8(0), "half": np.float32(0.5), "middle": np.uint8(128)}


def saved(*arguments: Any, **more: Any) -> Weights:
    return read(save(*arguments, **more))


PRODUCT = "[product] y = MatMul(x, w)"
OF_HALVES = "h = Cast<to=10>(x) [product] p = MatMul(h, w) y = Cast<to=1>(p)"
LOOP = (
    """on_and_on (int64 i, bool go, float[] sum) => (bool on, float[] more) { on = Identity(go) more = Add(sum, x) }"""
)
SAME = "same () => (float[] same) { same = Identity(x) }"
BRANCHES = f"If(yes)<then_branch = {SAME}, else_branch = {SAME}>"
INTEGER = "q, x_scale, x_zero = DynamicQuantizeLinear(x) [integer] sums = MatMulInteger(q, u, x_zero)"
SCALED = "floats = Cast<to=1>(sums) both = Mul(x_scale, scale) z = Mul(floats, both)"
QLINEAR = "q = QuantizeLinear(x, one, low) p = QLinearMatMul(q, one, low, w, scale, points, half, middle)"
THEIRS = "w = com.microsoft.DequantizeLinear<axis=1>"

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "uint8 cast, less its zero point, scaled": (
        f"a = Cast<to=1>(u) b = Cast<to=1>(zero) d = Sub(a, b) w = Mul(d, s) {PRODUCT}",
        {"u": BYTES, "zero": POINTS, "s": SCALES},
    ),
    "int8 cast, times itself": (f"a = Cast<to=1>(u) w = Mul(a, a) {PRODUCT}", {"u": SIGNED}),
    "int8 cast, divided": (
        f"a = Cast<to=1>(u) b = Cast<to=1>(v) w = Div(a, b) {PRODUCT}",
        {"u": SIGNED, "v": np.array([3], np.int8)},
    ),
    "float16 cast, divided": (f"a = Cast<to=1>(h) w = Div(a, s) {PRODUCT}", {"h": W_HALF, "s": SCALES * 3}),
    "float32 cast to float16 and back": (f"a = Cast<to=10>(v) w = Cast<to=1>(a) {PRODUCT}", {"v": W}),
    "float32 cast to float16": (f"w = Cast<to=10>(v) {OF_HALVES}", {"v": W}),
    "float64 cast to float16": (f"w = Cast<to=10>(v) {OF_HALVES}", {"v": W.astype(np.float64)}),
    "float32 cast to bfloat16 and back": (f"a = Cast<to=16>(v) w = Cast<to=1>(a) {PRODUCT}", {"v": W}),
    "float64 cast to float32": (f"w = Cast<to=1>(v) {PRODUCT}", {"v": W.astype(np.float64)}),
    "int16 cast to float16": (f"w = Cast<to=10>(u) {OF_HALVES}", {"u": SIGNED.astype(np.int16) * np.int16(77)}),
    "float16 scales": (f"w = DequantizeLinear<axis=1>(u, s) {OF_HALVES}", {"u": SIGNED, "s": TENTHS}),
    "float16 scales, cast to float32": (
        f"d = DequantizeLinear<axis=1>(u, s, zero) w = Cast<to=1>(d) {PRODUCT}",
        {"u": BYTES, "s": TENTHS, "zero": POINTS},
    ),
    "float16 scales, transposed": (
        f"d = DequantizeLinear<axis=0>(u, s) w = Transpose(d) {OF_HALVES}",
        {"u": SIGNED.T, "s": TENTHS},
    ),
    "float32 scales, cast to float16": (
        f"d = DequantizeLinear<axis=1>(u, s) w = Cast<to=10>(d) {OF_HALVES}",
        {"u": SIGNED, "s": SCALES / 3},
    ),
    "bool mask cast": (f"a = Cast<to=1>(m) w = Mul(v, a) {PRODUCT}", {"v": W, "m": MASK}),
    "uint8 mask cast": (f"a = Cast<to=1>(m) w = Mul(v, a) {PRODUCT}", {"v": W, "m": MASK.astype(np.uint8)}),
    "bool mask transposed": (
        f"t = Transpose(m) w = Where(t, v, none) {PRODUCT}",
        {"v": W, "m": MASK.T, "none": np.zeros(1, np.float32)},
    ),
    "float16 transposed, masked": (f"t = Transpose(v) w = Mul(t, m) {OF_HALVES}", {"v": W_HALF.T, "m": MASK_HALF}),
    "float16, computed and cast to float16": (
        f"a = Mul(v, s) b = Add(a, t) c = Div(b, s) d = Mul(c, t) w = Cast<to=10>(d) {OF_HALVES}",
        {"v": W_HALF, "s": TENTHS, "t": TENTHS[::-1]},
    ),
    "float16 scales, masked": (
        f"d = DequantizeLinear<axis=1>(u, s) w = Mul(d, m) {OF_HALVES}",
        {"u": SIGNED, "s": TENTHS, "m": MASK_HALF},
    ),
    "scales per block of a stack": (
        f"w = DequantizeLinear<axis=1, block_size=3>(u, s) {PRODUCT}",
        {"u": STACK, "s": BLOCKS},
    ),
    "scales per column of one row, reshaped": (
        f"d = DequantizeLinear<axis=1>(u, s) w = Reshape(d, shape) {PRODUCT}",
        {"u": SIGNED.reshape(1, -1), "s": EACH, "shape": np.array([1, IN, OUT])},
    ),
    "ONNX Runtime's DequantizeLinear": (f"{THEIRS}(u, s) {PRODUCT}", {"u": SIGNED, "s": SCALES}),
    "ONNX Runtime's QuantizeLinear": (
        f"u = com.microsoft.QuantizeLinear<axis=1>(v, s, zero) {THEIRS}(u, s, zero) {PRODUCT}",
        {"v": W * 9, "s": SCALES, "zero": POINTS},
    ),
    "whole floats cast to int4": (f"a = Cast<to=22>(v) w = Cast<to=1>(a) {PRODUCT}", {"v": np.rint(W * 3)}),
    "rows that constants pick": (f"w = Gather(v, order) {PRODUCT}", {"v": W, "order": np.array([4, 2, 0, 1, 3])}),
    "Dropout": (f"w = Dropout(v) {PRODUCT}", {"v": W}),
    "Dropout with a ratio": (f"w, mask = Dropout(v, half) {PRODUCT}", {"v": W, "half": np.float32(0.5)}),
    "Dropout that is not in training": (
        f"w = Dropout(v, half, no) {PRODUCT}",
        {"v": W, "half": np.float32(0.5), "no": np.array(False)},
    ),
    "quantised by the model itself": (
        """u, scale, zero = DynamicQuantizeLinear(v) q, x_scale, x_zero = DynamicQuantizeLinear(x)
        [integer] sums = MatMulInteger(q, u, x_zero, zero) """
        f"{SCALED} y = Identity(z)",
        {"v": W},
    ),
    "MatMulInteger by a stack of one": (f"{INTEGER} {SCALED} y = Identity(z)", {"u": SIGNED[None], "scale": SCALES}),
    "QLinearMatMul by a stack of one": (
        f"{QLINEAR} y = DequantizeLinear(p, half, middle)",
        {"w": BYTES[None], "scale": SCALES[None, None], "points": POINTS[None, None], **ROUND},
    ),
    "x that a loop over constants takes from around it": (
        f"s = Loop(once, , none)<body = {LOOP}> y = MatMul(s, w)",
        {"w": W, "once": np.array(1), "none": np.zeros((IN, IN), np.float32)},
    ),
    "x that branches take from around them": (f"s = {BRANCHES} y = MatMul(s, w)", {"w": W, "yes": np.array(True)}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_weight_is_what_onnx_runtime_makes_of_its_constants(name: str, tmp_path: Path) -> None:
    path = save(tmp_path, *CASES[name])
    found = read(path)
    (layer,) = found.layers
    y = run(path, x=np.eye(IN, dtype=np.float32))[0]
    if name.endswith("cast to float16"):  # which it leaves out before its own cast to float32
        y = np.asarray(next(iter(ReferenceEvaluator(str(path)).run(None, {"x": np.eye(IN, dtype=np.float32)}))))
    weight = np.concatenate([block.T for block in y.reshape(-1, IN, OUT)])  # of a stack, one after the other
    np.testing.assert_allclose(layer.weight.load(), weight, rtol=1e-6)
    (proved,) = verify(path, [layer])
    assert proved.verified is True, proved
    assert found.skipped == ()


def test_bfloat16_is_rounded_after_each_operator(tmp_path: Path) -> None:
    """It has 8 significant bits: 257, 258 and 259 become 256, 258 and 260, of two as near the even one."""
    small, large = (np.array(row, ml_dtypes.bfloat16) for row in ([[1, 2, 3]], [256]))
    nodes = f"b = Add(a, large) c = Sub(b, large) w = Cast<to=1>(c) {PRODUCT}"
    (layer,) = saved(tmp_path, nodes, {"a": small, "large": large}, x="float[5, 1]").layers
    assert layer.weight.load().tolist() == [[0], [2], [4]]


def test_an_operator_on_float16_computes_in_float32_and_rounds_once(tmp_path: Path) -> None:
    """The norm of four times 300 is 600; the sum of their squares, 360000, is more than float16 holds."""
    nodes = "n = ReduceL2<keepdims=1>(v, axis) w = Div(v, n) c = Cast<to=1>(w) y = Gemm<transB=1>(x, c)"
    constants = {"v": np.full((2, 4), 300, np.float16), "axis": np.array([1])}
    (layer,) = read(path := save(tmp_path, nodes, constants, x="float[1, 4]")).layers
    assert layer.weight.load().tolist() == [[0.5] * 4] * 2
    assert verify(path, [layer])[0].verified is True


def test_a_quotient_of_float16_is_not_rounded_before_it_is_quantised(tmp_path: Path) -> None:
    """The nearest float16 to 0.1 is 0.09998, so that 0.25 is 2.5006 steps, which as float16 would be 2.5: an even 2."""
    nodes = "q = QuantizeLinear(v, s, zero) c = Cast<to=1>(q) y = MatMul(x, c)"
    constants = {"v": np.array([[0.25, 1.85, 3.45]], np.float16), "s": TENTHS[0], "zero": np.int8(0)}
    (layer,) = read(path := save(tmp_path, nodes, constants, x="float[5, 1]")).layers
    assert layer.weight.load().tolist() == [[3], [19], [35]]
    assert verify(path, [layer])[0].verified is True


@pytest.mark.parametrize(("opset", "axis", "layers"), [(12, 0, 0), (12, 1, 0), (13, 0, 1)])
def test_softmax_is_computed_as_of_the_opset_that_has_one_axis(
    opset: int, axis: int, layers: int, tmp_path: Path
) -> None:
    found = saved(tmp_path, f"w = Softmax<axis={axis}>(v) [odd] y = MatMul(x, w)", {"v": SQUARE}, opset=opset)
    assert [each.reason for each in found.skipped] == (1 - layers) * [
        "it is made by Softmax of opset 12, which is not computed here"
    ]
    assert len(found.layers) == layers


def test_stacks_of_two_shapes_made_of_one_tensor_are_two_weights(tmp_path: Path) -> None:
    vector = np.arange(24, dtype=np.float32)
    nodes = "a = Reshape(v, one) y = MatMul(x, a) b = Reshape(v, two) z = MatMul(x, b)"
    constants = {"v": vector, "one": np.array([4, 3, 2]), "two": np.array([2, 3, 4])}
    first, second = saved(tmp_path, nodes, constants, x="float[1, 3]").layers
    for layer, shape in ((first, (4, 3, 2)), (second, (2, 3, 4))):
        right = vector.reshape(shape).transpose(0, 2, 1).reshape(8, 3)
        np.testing.assert_array_equal(layer.weight.load(), right)
    assert first.weight.key != second.weight.key


@pytest.mark.parametrize("opset", [13, 18, 19])
def test_a_stack_is_dequantised_along_any_axis_as_of_opset_13(opset: int, tmp_path: Path) -> None:
    nodes = "w = DequantizeLinear<axis=2>(u, s) y = MatMul(x, w)"
    (layer,) = saved(tmp_path, nodes, {"u": STACK, "s": SCALES}, opset=opset).layers
    np.testing.assert_array_equal(layer.weight.load(), np.concatenate([(each * SCALES).T for each in STACK]))


def test_what_branches_make_of_the_models_input_is_no_weight(tmp_path: Path) -> None:
    assert saved(tmp_path, f"s = {BRANCHES} y = MatMul(x, s)", {"yes": np.array(True)}).layers == ()


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("d = DequantizeLinear<axis=0>(u, four) [odd] z = MatMul(x, d)", "a scale of shape [4] for a tensor of shape"),
        ("c = Cast<to=99>(w) [odd] z = MatMul(x, c)", "the type of number 99 is not known to onnx"),
        ("rows = Cast<to=7>(x) i = Identity(u) [odd] z = Gather(i, rows)", "an embedding: rows are picked"),
        ("r = RandomNormalLike(w) [odd] z = MatMul(r, w)", "it is made from constants by RandomNormalLike"),
        ("r = RandomNormalLike(w) v = Neg(r) [odd] z = MatMul(x, v)", "it is made from constants by RandomNormalLike"),
        ("a = Mul(h, h) v = Cast<to=1>(a) [odd] z = MatMul(x, v)", "a result of Mul is too large for float16"),
        ("c = Cast<to=22>(w) v = Cast<to=1>(c) [odd] z = MatMul(x, v)", "engines differ in how Cast makes int4"),
    ],
    ids=[
        "length of scales",
        "unknown type",
        "table behind Identity",
        "random",
        "behind random",
        "too large",
        "fractions",
    ],
)
def test_one_odd_product_is_skipped_with_its_reason_and_the_rest_is_read(
    nodes: str, reason: str, tmp_path: Path
) -> None:
    constants = {"w": SQUARE, "u": SIGNED, "four": np.ones(4, np.float32), "h": np.full((IN, IN), 300, np.float16)}
    found = saved(tmp_path, f"{nodes} {PRODUCT}", constants)
    assert [layer.node for layer in found.layers] == ["product"]
    (skipped,) = found.skipped
    assert (skipped.node, skipped.reason[: len(reason)]) == ("odd", reason)


WIDE, NARROW, UNKNOWN = "float[1, 2, 8, 8]", "float[1, 2, 3, 3]", "float[1, 2, H, W]"
KERNEL = np.ones((OUT, 2, 3, 3), np.float32)


@pytest.mark.parametrize(("x", "declared", "layers"), [(WIDE, NARROW, 0), (NARROW, WIDE, 1), (UNKNOWN, NARROW, 1)])
def test_what_onnx_infers_of_a_map_counts_more_than_what_the_file_declares(
    x: str, declared: str, layers: int, tmp_path: Path
) -> None:
    found = saved(tmp_path, "map = Relu(x) y = Conv(map, w)", {"w": KERNEL}, x=x, declared=f"{declared} map")
    assert len(found.layers) == layers


def test_the_map_of_a_function_is_not_that_of_its_name_in_the_graph(tmp_path: Path) -> None:
    function = f"{FUNCTION} Convolve (x, w) => (y) {{ map = Relu(x) y = Conv(map, w) }}"
    constants = {"w": KERNEL, "tiny": np.zeros((1, 2, 3, 3), np.float32)}
    found = saved(tmp_path, "map = Relu(tiny) y = local.Convolve(x, w)", constants, x=WIDE, functions=function)
    assert found.layers == ()


def test_the_facts_of_a_weight_used_both_ways_are_those_of_each_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weight = np.ones((4, 6), np.float32)
    weight[1:3] = 0
    path = save(
        tmp_path,
        "[encoder] h = MatMul(x, w) t = Transpose(w) [decoder] y = MatMul(h, t)",
        {"w": weight},
        x="float[1, 4]",
    )
    sparsity.main([str(path), "--facts", "--format", "csv"])
    rows = csv.DictReader(capsys.readouterr().out.splitlines())
    facts = {(row["layer"], row["measure"]): float(row["value"]) for row in rows}
    names = ("dead_rows", "dead_columns", "two_of_four")
    assert [[facts[layer, name] for name in names] for layer in ("encoder", "decoder")] == [[0, 2, 1], [2, 0, 0.5]]


@pytest.mark.parametrize("arguments", ["x, i, s", "x, i, s, "])
def test_an_argument_that_a_call_omits_is_omitted_in_the_function(arguments: str, tmp_path: Path) -> None:
    """The zero points, which are zero then."""
    function = f"{FUNCTION} Linear (a, b, s, z) => (y) {{ w = DequantizeLinear(b, s, z) y = MatMul(a, w) }}"
    constants = {"i": np.arange(25, dtype=np.int8).reshape(5, 5), "s": np.float32(0.5)}
    path = save(tmp_path, f"y = local.Linear({arguments})", constants, functions=function)
    (layer,) = read(path).layers
    np.testing.assert_array_equal(layer.weight.load(), run(path, x=np.eye(5, dtype=np.float32))[0].T)
