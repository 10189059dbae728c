"""The model that proves a layer: where its node and constants are copied from, and when that is not possible."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from analysis.weights import probe
from analysis.weights.layers import read
from analysis.weights.proof import Proof, verify
from study.errors import StudyError
from study.onnx_given import Given
from tests.support import notation
from tests.support.notation import FUNCTION
from tests.support.squares import CONSTANTS, IMAGE, QUANTISE, RANDOM, SIZE, STEPS, WEIGHT, changed, one, save, turned

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
