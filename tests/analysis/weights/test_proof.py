"""The comparison with what ONNX Runtime multiplies with: right matrices are proved, wrong ones refuted."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis import sparsity
from analysis.weights import proof
from analysis.weights.layers import Layer, read
from analysis.weights.proof import Proof, verify
from tests.support import notation
from tests.support.squares import (
    CONSTANTS,
    PATTERNS,
    RANDOM,
    SIZE,
    STEPS,
    TYPES,
    WEIGHT,
    changed,
    one,
    save,
    turned,
)


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


def test_the_map_of_a_convolution_in_a_branch_may_be_one_outside(tmp_path: Path) -> None:
    branches = (
        "then_branch = a () => (float[] k) { k = Conv(x, map) }, else_branch = b () => (float[] l) { l = Neg(x) }"
    )
    more = {"yes": np.array(True)}
    path = notation.save(tmp_path, f"y = If(yes)<{branches}>", CONSTANTS | more, x="float[1, 2, 4, 4]")
    (layer,) = read(path).layers
    assert verify(path, [layer])[0].verified is True


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
    assert refuted == Proof(False, None, "y is not x W^T: only one of them is finite", SIZE)
    assert unknown.verified is False
    monkeypatch.setitem(CONSTANTS, "w", WEIGHT * np.float32(np.nan))
    path, layer = one(tmp_path, "MatMul")
    other = changed(layer, lambda weight: weight * 0 + np.float32(2e-8))
    assert verify(path, [other]) == [Proof(None, None, "its weights are not finite")]


def test_of_a_very_large_matrix_some_inputs_are_proved_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "MOST_ELEMENTS", 7 * 2 * SIZE)
    path, layer = one(tmp_path, "Gemm, transB, alpha, bias")
    right, wrong = verify(path, [layer, changed(layer, turned)])
    assert (right.verified, right.inputs_seen) == (True, 7)
    assert wrong.verified is False


def test_the_x_of_a_batched_einsum_counts_once_for_each_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One input of x is 4 x 8 numbers, and has 4 x 3 outputs."""
    monkeypatch.setattr(proof, "MOST_ELEMENTS", 5 * (4 * 8 + 4 * 3))
    stack = RANDOM.normal(size=(4, 8, 3)).astype(np.float32)
    nodes = 'y = Einsum<equation = "nbi,bio->nbo">(x, w)'
    (layer,) = read(path := notation.save(tmp_path, nodes, {"w": stack}, x="float[2, 4, 8]")).layers
    assert [(each.verified, each.inputs_seen) for each in verify(path, [layer])] == [(True, 5)]


CENTRED = "m = ReduceMean<keepdims=1>(v, axis) c = Sub(v, m)"
DEVIATION = "s = Mul(c, c) t = ReduceMean<keepdims=1>(s, axis) a = Add(t, tiny) d = Sqrt(a)"


@pytest.mark.parametrize("nodes", [CENTRED, f"{CENTRED} {DEVIATION} w = Div(c, d)"], ids=["centred", "standardised"])
def test_outputs_that_are_the_error_of_rounding_are_left_out_and_wrong_ones_refuted(nodes: str, tmp_path: Path) -> None:
    """The mean of 33 times 0.1 is 0.1, or the next number: the rest is 0, or as large as that divided by itself."""
    rows = RANDOM.normal(size=(4, 33)).astype(np.float32)
    rows[1] = 0.1
    product = f"{nodes} y = Gemm<transB=1>(x, {'w' if 'Div' in nodes else 'c'})"
    constants = {"v": rows, "axis": np.array([1]), "tiny": np.float32(1e-10)}
    (layer,) = read(path := notation.save(tmp_path, product, constants, x="float[1, 33]")).layers
    right = layer.weight.load()
    assert verify(path, [layer])[0].verified is True
    for row, wrong in ((1, right[1] + np.float32(0.1)), (0, right[0] * np.float32(1.001)), (2, right[3])):
        other = np.concatenate([right[:row], wrong[None], right[row + 1 :]])
        assert verify(path, [changed(layer, partial(instead, other))])[0].verified is False


def test_a_matrix_that_is_nothing_but_the_error_of_rounding_is_not_tried(tmp_path: Path) -> None:
    constants = {"v": np.full((2, 33), 0.1, np.float32), "axis": np.array([1])}
    nodes = f"{CENTRED} y = Gemm<transB=1>(x, c)"
    (layer,) = read(path := notation.save(tmp_path, nodes, constants, x="float[1, 33]")).layers
    other = changed(layer, lambda weight: weight * 0 + np.float32(2e-8))
    assert verify(path, [other]) == [Proof(None, None, "its weights are no larger than the errors of rounding")]


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


def instead(other: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    assert other.shape == weight.shape
    return other


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
