"""A matrix that any operator repeats over a batch is one matrix: its weights count once.

x (batch, rows, IN) goes through one product; fed with the identity for each item, ONNX Runtime makes that matrix as
often as the batch has items.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.weights.layers import read
from analysis.weights.proof import verify
from tests.support.notation import FUNCTION, run, save

IN, OUT, BATCH = 5, 3, 4
RANDOM = np.random.default_rng(5)
W = RANDOM.standard_normal((IN, OUT)).astype(np.float32)
"""As MatMul has it."""
BYTES = RANDOM.integers(-127, 128, (IN, OUT)).astype(np.int8)
CONSTANTS: dict[str, Any] = {
    "v": W,
    "turned": W.T,
    "item": W[None],
    "two": np.stack([W, 2 * W]),
    "i": BYTES,
    "s": np.array([1, 0.5, 2], np.float32),
    "all": np.array([BATCH, IN, OUT]),
    "all_turned": np.array([BATCH, OUT, IN]),
    "times": np.array([BATCH, 1, 1]),
    "sizes": np.array([IN, OUT]),
    "sizes_turned": np.array([OUT, IN]),
    "zeros": np.zeros(BATCH, np.int64),
    "stored": np.stack([W] * BATCH),
}
PRODUCT = "y = MatMul(x, w)"
ITEMS = "n = Shape<start=0, end=1>(x)"
MANY, MANY_TURNED = (f"{ITEMS} a = Concat<axis=0>(n, {sizes})" for sizes in ("sizes", "sizes_turned"))
"""Shapes of as many matrices as x has items."""
ONES = "o = ConstantOfShape<value=float[1]{1.0}>(times)"
REPEAT = f"""{FUNCTION} Repeat (a, b, c) => (e)
    {{ n = Shape<start=0, end=1>(b) d = Concat<axis=0>(n, c) e = Expand(a, d) }}"""
CASES = {
    "Expand": "w = Expand(v, all)",
    "Expand of one item": "w = Expand(item, times)",
    "Expand, then transposed": "e = Expand(turned, all_turned) w = Transpose<perm=[0, 2, 1]>(e)",
    "Expand, then scaled": "e = Expand(v, all) w = Neg(e)",
    "Expand of integers, then dequantised": "e = Expand(i, all) w = DequantizeLinear<axis=2>(e, s)",
    "Expand to as many as x has": f"{MANY} w = Expand(v, a)",
    "the same, then transposed": f"{MANY_TURNED} e = Expand(turned, a) w = Transpose<perm=[0, 2, 1]>(e)",
    "the same, then cast": f"{MANY} h = Cast<to=11>(v) e = Expand(h, a) w = Cast<to=1>(e)",
    "the same in a function": "w = local.Repeat(v, x, sizes)",
    "Tile": "w = Tile(item, times)",
    "Concat": "w = Concat<axis=0>(item, item, item, item)",
    "Gather": "w = Gather(two, zeros)",
    "ones times it": f"{ONES} w = Mul(o, v)",
    "stored as often": "w = Identity(stored)",
}


@pytest.mark.parametrize("name", CASES)
def test_a_matrix_that_is_repeated_over_a_batch_counts_once(name: str, tmp_path: Path) -> None:
    path = save(tmp_path, f"{CASES[name]} {PRODUCT}", CONSTANTS, x=f"float[N, R, {IN}]", functions=REPEAT)
    (layer,) = read(path).layers
    x = np.stack([np.eye(IN, dtype=np.float32)] * BATCH)
    (y,) = run(path, x=x)
    assert layer.weight.shape == (OUT, IN)
    np.testing.assert_array_equal(y, np.stack([layer.weight.load().T] * BATCH))
    assert [(each.verified, each.reason) for each in verify(path, [layer])] == [(True, "")]


def test_a_stack_that_is_repeated_is_that_stack(tmp_path: Path) -> None:
    """A matrix for each head, the same for all images."""
    many = {**CONSTANTS, "all": np.array([BATCH, 2, IN, OUT])}
    path = save(tmp_path, f"e = Expand(two, all) w = Neg(e) {PRODUCT}", many, x=f"float[N, 2, R, {IN}]")
    (layer,) = read(path).layers
    np.testing.assert_array_equal(layer.weight.load(), -np.concatenate([W.T, 2 * W.T]))
    assert verify(path, [layer])[0].verified is True


def test_a_stack_in_which_one_number_differs_counts_all_of_them(tmp_path: Path) -> None:
    stack = np.zeros((3, 2**10, 2**9), np.float32)
    stack[2, -1, -1] = 1
    (layer,) = read(save(tmp_path, "y = MatMul(x, w)", {"w": stack}, x="float[N, R, 1024]")).layers
    assert layer.weight.shape == (3 * 2**9, 2**10)


def test_a_huge_number_of_copies_costs_nothing(tmp_path: Path) -> None:
    many = {**CONSTANTS, "all": np.array([2**40, IN, OUT])}
    path = save(tmp_path, f"w = Expand(v, all) {PRODUCT}", many, x=f"float[N, R, {IN}]")
    (layer,) = read(path).layers
    np.testing.assert_array_equal(layer.weight.load(), W.T)
    assert verify(path, [layer])[0].verified is True


@pytest.mark.parametrize("column", [W[:, :1], W[:1]], ids=["column", "row"])
def test_a_vector_that_a_computed_shape_may_repeat_within_the_matrix_is_not_read(column: Any, tmp_path: Path) -> None:
    nodes = f"{MANY} w = Expand(column, a) {PRODUCT}"
    path = save(tmp_path, nodes, {**CONSTANTS, "column": column}, x=f"float[N, R, {IN}]")
    assert read(path).layers == ()


def test_a_constant_that_is_expanded_and_multiplied_by_a_weight_is_the_input_of_that_layer(tmp_path: Path) -> None:
    """The queries of a detector: the same for each image."""
    nodes = f"{MANY_TURNED} q = Expand(turned, a) y = MatMul(q, v)"
    (layer,) = read(save(tmp_path, nodes, CONSTANTS, x=f"float[N, R, {IN}]")).layers
    np.testing.assert_array_equal(layer.weight.load(), W.T)
    assert layer.operand == 1
