"""The scale of a MatMulInteger's weight, wherever in the graph its result is multiplied with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.inputs.onnx_file import describe
from analysis.measures.layer import weight_statistics
from analysis.measures.sparsity import MEASURES, of, parse
from analysis.weights.layers import Layer, read
from analysis.weights.proof import verify
from analysis.weights.quantisation import Scale
from tests.support.notation import FUNCTION, run, save

KNOWN, RELATIVE, UNKNOWN = Scale
ROWS, IN, OUT = 7, 6, 4
RANDOM = np.random.default_rng(5)
INTEGERS = RANDOM.integers(-9, 10, (IN, OUT)).astype(np.int8)
STEPS = np.array([0.5, 0.25, 1, 0.125], np.float32)
TABLE = RANDOM.integers(0, 256, (9, IN)).astype(np.uint8)
A = 0.03
"""Scale of x."""
CONSTANTS: dict[str, Any] = {
    "w": INTEGERS,
    "left": INTEGERS.T.copy(),
    "table": TABLE,
    "steps": STEPS,
    "row": STEPS[None],
    "column": STEPS[:, None],
    "folded": STEPS * np.float32(A),
    "gamma": STEPS[::-1].copy(),
    "step": np.float32(0.25),
    "a": np.float32(A),
    "again": np.float32(A),
    "az": np.uint8(120),
    "points": np.array([1, 0, -2, 3], np.int8),
    "whole": np.array([5, -3, 2, 100], np.int32),
    "bias": np.array([5, -3, 2, 100], np.float32),
    "rows": RANDOM.uniform(1, 2, (ROWS, 1)).astype(np.float32),
    "seven": RANDOM.uniform(1, 2, ROWS).astype(np.float32),
    "each": RANDOM.uniform(1, 2, (ROWS, OUT)).astype(np.float32),
    "wide": RANDOM.uniform(1, 2, (IN, OUT)).astype(np.float32),
    "one": np.array([1]),
    "shape": np.array([-1, OUT]),
    "yes": np.True_,
}
DYNAMIC = "q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, w, z) f = Cast<to=1>(i)"
STATIC = "q = QuantizeLinear(x, a, az) i = MatMulInteger(q, w, az) f = Cast<to=1>(i)"
WORDS = (
    "n = Cast<to=7>(x) k = ReduceMax<keepdims=0>(n, one) r = Gather(table, k) i = MatMulInteger(r, w) f = Cast<to=1>(i)"
)
SCALED = f"{FUNCTION} Scaled (i, s) => (y) {{ f = Cast<to=1>(i) y = Mul(f, s) }}"
PRODUCT = f"{FUNCTION} Product (q, w, z) => (f) {{ i = MatMulInteger(q, w, z) f = Cast<to=1>(i) }}"
WHOLE = f"""{FUNCTION} Whole (x, w, t) => (y) {{ q, s, z = DynamicQuantizeLinear(x) f = local.Product(q, w, z)
    b = Mul(s, t) y = Mul(f, b) }}"""
FUNCTIONS = f"{SCALED} {PRODUCT} {WHOLE}"
QUANTISED = "q, s, z = DynamicQuantizeLinear(x)"
BRANCH = "same () => (float[] g) { g = Mul(f, folded) }"
PART = "part () => (float[] p) { p = Mul(f, step) }"

CASES: dict[str, tuple[str, Any, Scale]] = {
    "one product of both scales": (f"{DYNAMIC} b = Mul(s, steps) y = Mul(f, b)", STEPS, KNOWN),
    "the other way round": (f"{DYNAMIC} b = Mul(row, s) y = Mul(b, f)", STEPS, KNOWN),
    "one scale": (f"{DYNAMIC} b = Mul(s, step) y = Mul(f, b)", 0.25, KNOWN),
    "two products": (f"{DYNAMIC} g = Mul(f, s) y = Mul(g, steps)", STEPS, KNOWN),
    "two products, the weight's first": (f"{DYNAMIC} g = Mul(f, steps) y = Mul(g, s)", STEPS, KNOWN),
    "a bias in floats between them": (f"{DYNAMIC} g = Mul(f, s) h = Add(g, bias) y = Mul(h, steps)", STEPS, KNOWN),
    "two constants": (f"{STATIC} g = Mul(f, a) y = Mul(g, steps)", STEPS, KNOWN),
    "two constants, one of another name": (f"{STATIC} b = Mul(again, steps) y = Mul(f, b)", STEPS * A, RELATIVE),
    "one folded constant": (f"{STATIC} y = Mul(f, folded)", STEPS * A, RELATIVE),
    "one folded constant for all outputs": (f"{STATIC} y = Mul(f, step)", 0.25, RELATIVE),
    "a bias in integers": (f"{STATIC} j = Add(i, whole) g = Cast<to=1>(j) y = Mul(folded, g)", STEPS * A, RELATIVE),
    "DequantizeLinear of the integers": (f"{STATIC} y = DequantizeLinear(i, folded)", STEPS * A, RELATIVE),
    "one constant for both": (f"{STATIC} g = Mul(f, a) y = Mul(g, a)", A, KNOWN),
    "constants of nodes": (
        f"c = Constant<value_float = {A}>() v = Constant<value_floats = [{','.join(map(str, STEPS))}]>() "
        f"{STATIC.replace('a, az', 'c, az')} g = Mul(f, v) y = Mul(g, c)",
        STEPS,
        KNOWN,
    ),
    "a quantised embedding": (f"{WORDS} b = Mul(a, steps) y = Mul(f, b)", STEPS * A, RELATIVE),
    "a factor of the next layer": (f"{DYNAMIC} b = Mul(s, steps) g = Mul(f, b) y = Mul(g, gamma)", STEPS, KNOWN),
    "one behind a bias": (f"{STATIC} g = Mul(f, folded) h = Add(g, bias) y = Mul(h, gamma)", STEPS * A, RELATIVE),
    "a gate": (f"{STATIC} g = Mul(f, folded) h = MatMul(x, wide) y = Mul(g, h)", STEPS * A, RELATIVE),
    "another factor for each row of x": (f"{STATIC} g = Mul(f, rows) y = Mul(g, steps)", STEPS, RELATIVE),
    "one that is computed": (f"{STATIC} m = ReduceMax(x, one) b = Mul(m, steps) y = Mul(f, b)", STEPS, RELATIVE),
    "the constant on the left": (
        f"{QUANTISED} t = Transpose(q) i = MatMulInteger(left, t, , z) f = Cast<to=1>(i) y = Mul(f, column)",
        STEPS,
        RELATIVE,
    ),
    "the product in a function": (
        f"{QUANTISED} f = local.Product(q, w, z) b = Mul(s, steps) y = Mul(f, b)",
        STEPS,
        KNOWN,
    ),
    "the scale in a function": (f"{DYNAMIC} b = Mul(s, steps) y = local.Scaled(i, b)", STEPS, KNOWN),
    "all of it in functions": ("y = local.Whole(x, w, steps)", STEPS, KNOWN),
    "in branches": (f"{STATIC} y = If(yes)<then_branch = {BRANCH}, else_branch = {BRANCH}>", STEPS * A, RELATIVE),
    "no scale": (f"{DYNAMIC} y = Identity(f)", 1, UNKNOWN),
    "the input's scale alone": (f"{DYNAMIC} y = Mul(f, s)", 1, UNKNOWN),
    "a bias and no scale": (f"{STATIC} j = Add(i, whole) g = Cast<to=1>(j) y = Relu(g)", 1, UNKNOWN),
    "a computed scale for each output": (f"{STATIC} m = MatMul(x, wide) b = Mul(m, a) y = Mul(f, b)", 1, UNKNOWN),
    "a divisor for each output": (f"{STATIC} g = Div(f, steps) y = Mul(g, a)", 1, UNKNOWN),
    "DequantizeLinear of each row of x": (f"{STATIC} y = DequantizeLinear<axis=0>(i, seven)", 1, UNKNOWN),
    "a factor for each number": (f"{STATIC} y = Mul(f, each)", 1, UNKNOWN),
    "two scales": (f"{STATIC} g = Mul(f, steps) h = Mul(f, gamma) y = Add(g, h)", 1, UNKNOWN),
    "a divisor behind one for all outputs": (f"{STATIC} g = Mul(f, step) y = Div(g, steps)", 1, UNKNOWN),
    "a factor behind one for all outputs and a Reshape": (
        f"{STATIC} g = Mul(f, step) h = Reshape(g, shape) y = Mul(h, steps)",
        1,
        UNKNOWN,
    ),
    "a factor behind one for all outputs and a bias": (
        f"{STATIC} g = Mul(f, step) h = Add(g, bias) y = Mul(h, steps)",
        1,
        UNKNOWN,
    ),
    "one for all outputs, a bias and an activation": (
        f"{STATIC} g = Mul(f, step) h = Add(g, bias) y = Relu(h)",
        0.25,
        RELATIVE,
    ),
    "a factor behind branches": (
        f"{STATIC} g = If(yes)<then_branch = {PART}, else_branch = {PART}> y = Mul(g, steps)",
        1,
        UNKNOWN,
    ),
    "two scales, one of them behind a Reshape": (
        f"{DYNAMIC} g = Mul(f, step) r = Reshape(f, shape) b = Mul(s, steps) h = Mul(r, b) y = Add(g, h)",
        1,
        UNKNOWN,
    ),
    "more factors than a quantiser writes": (
        f"{STATIC} f0 = Mul(f, steps) {' '.join(f'f{n + 1} = Mul(f{n}, again)' for n in range(20))} y = Identity(f20)",
        1,
        UNKNOWN,
    ),
}
"""Nodes from x, the scale, and how far it is known."""


def found(folder: Path, nodes: str) -> tuple[Path, Layer]:
    """The layer of a file that ONNX Runtime runs."""
    path = save(folder, nodes, CONSTANTS, x=f"float[{ROWS}, {IN}]", functions=FUNCTIONS)
    run(path, x=RANDOM.uniform(0, 8, (ROWS, IN)).astype(np.float32))
    (layer,) = (each for each in read(path).layers if each.operator == "MatMulInteger")
    return path, layer


@pytest.mark.parametrize("name", CASES)
def test_the_scale_of_the_integers_is_found_or_known_to_be_missing(name: str, tmp_path: Path) -> None:
    nodes, scale, known = CASES[name]
    path, layer = found(tmp_path, nodes)
    expected = INTEGERS.T * np.reshape(scale, (-1, 1))
    np.testing.assert_allclose(layer.weight.load(), expected, rtol=1e-6)
    assert layer.weight.scale is known
    (proved,) = verify(path, [layer])
    assert proved.verified is True, proved


def test_matrices_of_a_stack_with_scales_of_their_own_have_none_in_common(tmp_path: Path) -> None:
    stack = {"w": np.stack([INTEGERS] * 2 + [-INTEGERS]), "own": np.array([1e-3, 1, 10], np.float32).reshape(3, 1, 1)}
    nodes = "q = Cast<to=2>(x) i = MatMulInteger(q, w) f = Cast<to=1>(i) g = Mul(f, a) y = Mul(g, own)"
    (layer,) = read(save(tmp_path, nodes, CONSTANTS | stack, x=f"float[3, N, {IN}]")).layers
    assert (layer.weight.shape, layer.weight.scale) == ((3 * OUT, IN), UNKNOWN)


def test_the_zero_points_of_the_outputs_count_too(tmp_path: Path) -> None:
    _, layer = found(tmp_path, f"{QUANTISED} i = MatMulInteger(q, w, z, points) f = Cast<to=1>(i) y = Mul(f, folded)")
    np.testing.assert_allclose(layer.weight.load().T, (INTEGERS - CONSTANTS["points"]) * CONSTANTS["folded"], rtol=1e-6)


def test_a_measure_that_depends_on_a_missing_scale_has_a_reason_instead_of_a_value(tmp_path: Path) -> None:
    every = parse("all")
    for nodes, kept in (
        (CASES["one folded constant"][0], {measure.name for measure in every if measure.scale_free}),
        (CASES["no scale"][0], {"l0", "exact_zeros"}),
    ):
        path, _ = found(tmp_path, nodes)
        file, _ = describe("m", path, every, facts=True)
        (described,) = file.layers
        values = dict(zip(every, described.values, strict=True))
        assert {measure.name for measure, value in values.items() if value.value is not None} == kept
        assert all(bool(value.reason) == (value.value is None) for value in values.values())
        right = INTEGERS.T * (STEPS[:, None] if "hoyer" in kept else 1)
        for name in kept:
            assert values[MEASURES[name]].value == pytest.approx(of(MEASURES[name], right).value, rel=1e-6)


def test_statistics_that_depend_on_a_missing_scale_are_none(tmp_path: Path) -> None:
    scaled, relative, unknown = (
        weight_statistics(found(tmp_path, CASES[name][0])[1].weight).named()
        for name in ("one scale", "one folded constant for all outputs", "no scale")
    )
    absolute = {f"near_zero({threshold})" for threshold in ("1e-08", "1e-06", "0.0001", "0.001")}
    assert {name for name in scaled if relative[name] != scaled[name]} == absolute
    assert {name for name in scaled if unknown[name] != scaled[name]} == absolute | {
        "near_zero(0.01 rms)",
        "effective_weights",
    }
    assert all(relative[name] is None for name in absolute)
    assert unknown["effective_weights"] is unknown["near_zero(0.01 rms)"] is None
