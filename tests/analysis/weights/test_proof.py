"""ONNX Runtime as the judge of matrices that were read: all weights are square, so that no shape gives them away."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from analysis.weights import probe, proof
from analysis.weights.layers import Layer, read
from analysis.weights.proof import Proof, verify
from study.errors import StudyError

SIZE = 32
RANDOM = np.random.default_rng(7)
WEIGHT = RANDOM.normal(size=(SIZE, SIZE)).astype(np.float32)
BIAS = RANDOM.normal(size=SIZE).astype(np.float32)
INT8 = RANDOM.integers(-127, 128, (SIZE, SIZE)).astype(np.int8)
UINT8 = (INT8 + np.int16(128)).astype(np.uint8)
STEPS = RANDOM.uniform(0.01, 0.05, SIZE).astype(np.float32)
"""The scale of each column of INT8."""
CONSTANTS = {
    "w": WEIGHT,
    "v": WEIGHT[::-1].copy(),
    "bias": BIAS,
    "stack": RANDOM.normal(size=(3, SIZE, SIZE)).astype(np.float32),
    "map": WEIGHT.reshape(SIZE, 2, 4, 4),
    "point": WEIGHT[:, :, None, None],
    "half": WEIGHT.astype(np.float16),
    "narrow": WEIGHT.astype(ml_dtypes.bfloat16),
    "double": WEIGHT.astype(np.float64),
    "int8": INT8,
    "uint8": UINT8,
    "steps": STEPS,
    "step": np.float32(0.02),
    "zero": np.uint8(100),
    "zeros": RANDOM.integers(-9, 9, SIZE).astype(np.int8),
    "nothing": np.float32(0),
    "first half": (np.arange(SIZE) < SIZE / 2).astype(np.float32),
    "second half": (np.arange(SIZE)[:, None] >= SIZE / 2).astype(np.float32),
    "packed": RANDOM.integers(0, 256, (SIZE, 1, SIZE // 2)).astype(np.uint8),
    "scales": STEPS[:, None],
    "one": np.array([1], np.int64),
    "row": np.array([1, SIZE], np.int64),
    "rounds": np.int64(3),
    "no rounds": np.int64(0),
    "yes": np.True_,
    "far": np.float32(200),
    "rows": np.array([-1, SIZE], np.int64),
}
"""The initializers of every file: more than any has use for."""
DOMAINS = {"Fused": "com.microsoft", "Q": "com.microsoft", "Dynamic": "com.microsoft", "Linear": "ai.onnx.ml"}
DOMAINS |= {"MatMulNBits": "com.microsoft", "MatMulIntegerToFloat": "com.microsoft", "Twice": "local", "Once": "local"}


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node whose inputs and outputs are words; `-` is an input left out."""
    domains = [domain for start, domain in DOMAINS.items() if operator.startswith(start)]
    domain = (
        "" if operator in ("QuantizeLinear", "QLinearMatMul", "DynamicQuantizeLinear") or not domains else domains[0]
    )
    names = ["" if word == "-" else word.replace("_", " ") for word in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), domain=domain, **attributes)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None] = ("n", SIZE),
    functions: Sequence[onnx.FunctionProto] = (),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """A file with these nodes, CONSTANTS, the input x and the output y."""
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in CONSTANTS.items()]
    kind = TensorProto.INT64 if nodes[-1].op_type == "LinearClassifier" else TensorProto.UNDEFINED
    output = helper.make_tensor_value_info("y", kind, None) if kind else onnx.ValueInfoProto(name="y")
    graph = helper.make_graph(nodes, "network", inputs, [output], tensors)
    domains = {"": 21, "com.microsoft": 1, "ai.onnx.ml": 3, "local": 1}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions).SerializeToString()
    )
    return path


@dataclass(frozen=True)
class Changed:
    """A matrix of other numbers than those in the file."""

    numbers: NDArray[Any]
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, int]:
        return self.numbers.shape[0], self.numbers.shape[1]

    def load(self) -> NDArray[Any]:
        return self.numbers


def changed(layer: Layer, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Layer:
    weight: Any = Changed(change(layer.weight.load()))
    return replace(layer, weight=weight)


def turned(weight: NDArray[Any]) -> NDArray[Any]:
    """Each (SIZE, SIZE) matrix of a stack transposed."""
    return weight.reshape(-1, SIZE, SIZE).swapaxes(1, 2).reshape(weight.shape)


QUANTISE = node("QuantizeLinear", "x step zero", "q")
IMAGE = ("n", 2, 4, 4)
PATTERNS: dict[str, tuple[list[onnx.NodeProto], tuple[int | str | None, ...]]] = {
    "Gemm": ([node("Gemm", "x w")], ("n", SIZE)),
    "Gemm, transB, alpha, bias": ([node("Gemm", "x w bias", transB=1, alpha=0.5, beta=2.0)], ("n", SIZE)),
    "Gemm, bias from the input": ([node("Gemm", "x w x")], ("n", SIZE)),
    "Gemm, transA": ([node("Gemm", "x w", transA=1)], (SIZE, "n")),
    "Gemm, left": ([node("Gemm", "w x")], (SIZE, "n")),
    "Gemm, left, transA, transB": ([node("Gemm", "w x", transA=1, transB=1)], ("n", SIZE)),
    "MatMul": ([node("MatMul", "x w")], ("n", SIZE)),
    "MatMul, left": ([node("MatMul", "w x")], ("n", SIZE, None)),
    "MatMul, stack": ([node("MatMul", "x stack")], ("n", 3, 5, SIZE)),
    "MatMul, stack, left": ([node("MatMul", "stack x")], (SIZE, "n")),
    "FusedGemm": ([node("FusedGemm", "x w bias", activation="Relu")], ("n", SIZE)),
    "FusedMatMul": ([node("FusedMatMul", "x w", transA=1, transB=1, alpha=3.0)], ("n", SIZE, 6)),
    "Conv, the whole map": ([node("Conv", "x map bias")], IMAGE),
    "FusedConv": ([node("FusedConv", "x map bias", activation="Relu")], IMAGE),
    "Conv, pointwise": ([node("Conv", "x point", strides=[2, 1])], ("n", SIZE, 5, 3)),
    "float16": ([node("Cast", "x", "h", to=10), node("MatMul", "h half", "z"), node("Cast", "z", to=1)], ("n", SIZE)),
    "float64": ([node("Cast", "x", "d", to=11), node("MatMul", "d double")], ("n", SIZE)),
    "QDQ": (
        [node("DequantizeLinear", "int8 steps zeros", "d", axis=1), node("MatMul", "x d")],
        ("n", SIZE),
    ),
    "QDQ, transB": (
        [node("DequantizeLinear", "int8 steps zeros", "d", axis=0), node("Gemm", "x d", transB=1)],
        ("n", SIZE),
    ),
    "QGemm": (
        [QUANTISE, node("QGemm", "q step zero int8 steps zeros - step zero", transB=1)],
        ("n", SIZE),
    ),
    "QLinearMatMul": ([QUANTISE, node("QLinearMatMul", "q step zero int8 steps zeros step zero")], ("n", SIZE)),
    "MatMulInteger": (
        [
            node("DynamicQuantizeLinear", "x", "q s z"),
            node("MatMulInteger", "q uint8 z zero", "i"),
            node("Cast", "i", to=1),
        ],
        ("n", SIZE),
    ),
    "MatMulIntegerToFloat": (
        [
            node("DynamicQuantizeLinear", "x", "q s z"),
            node("MatMulIntegerToFloat", "q int8 s steps z zeros bias"),
        ],
        ("n", SIZE),
    ),
    "DynamicQuantizeMatMul": ([node("DynamicQuantizeMatMul", "x int8 steps zeros bias")], ("n", SIZE)),
    "MatMulNBits": (
        [node("MatMulNBits", "x packed scales", K=SIZE, N=SIZE, bits=4, block_size=SIZE, accuracy_level=4)],
        ("n", SIZE),
    ),
    "LinearRegressor": (
        [node("LinearRegressor", "x", coefficients=WEIGHT.ravel().tolist(), intercepts=BIAS.tolist(), targets=SIZE)],
        ("n", SIZE),
    ),
    "LinearClassifier": (
        [
            node(
                "LinearClassifier",
                "x",
                "y scores",
                coefficients=WEIGHT.ravel().tolist(),
                intercepts=BIAS.tolist(),
                classlabels_ints=list(range(SIZE)),
                post_transform="SOFTMAX",
            )
        ],
        ("n", SIZE),
    ),
}


def one(folder: Path, pattern: str) -> tuple[Path, Layer]:
    path = save(folder / "model.onnx", *PATTERNS[pattern])
    (layer,) = read(path, pointwise=True).layers
    return path, layer


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_matrix_is_proved_in_every_pattern_and_refuted_when_turned(pattern: str, tmp_path: Path) -> None:
    path, layer = one(tmp_path, pattern)
    assert layer.operator == pattern.partition(",")[0] or pattern in ("float16", "float64") or "QDQ" in pattern
    right, wrong = verify(path, [layer, changed(layer, turned)])
    assert (right.verified, right.reason, right.inputs_seen) == (True, "", SIZE)
    assert right.error is not None
    assert right.error < 1e-6
    assert wrong.verified is False
    assert wrong.error is not None
    assert wrong.error > 0.1


def test_two_classes_with_one_row_of_weights(tmp_path: Path) -> None:
    attributes = {"coefficients": WEIGHT[0].tolist(), "intercepts": [3.0], "classlabels_ints": [0, 1]}
    path = save(tmp_path / "m.onnx", [node("LinearClassifier", "x", "y s", post_transform="LOGISTIC", **attributes)])
    (layer,) = read(path).layers
    assert layer.weight.shape == (1, SIZE)
    assert [each.verified for each in verify(path, [layer, changed(layer, np.negative)])] == [True, False]


@pytest.mark.parametrize("pattern", ["Gemm", "QDQ", "QGemm", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulNBits"])
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


def test_the_scale_of_a_matmulinteger_is_its_columns_own_but_positive(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMulInteger")
    assert verify(path, [changed(layer, lambda weight: weight * STEPS[:, None])])[0].verified is True
    assert verify(path, [changed(layer, np.negative)])[0].verified is False


def test_a_matrix_of_another_shape_is_refuted_with_both_shapes(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMul")
    wrong = "y is not x W^T: the matrix is 32 x 31, but x has 32 columns and y has 32"
    assert verify(path, [changed(layer, lambda weight: weight[:, :-1])]) == [Proof(False, None, wrong)]


def test_a_matrix_of_zeros_is_proved_and_refuted(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [node("Mul", "w nothing", "z"), node("MatMul", "x z")])
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


# Where a layer is


def graph(nodes: Sequence[onnx.NodeProto], outputs: str, **inputs: int) -> onnx.GraphProto:
    """The body of a branch or loop; its inputs are of these types, scalars but for float."""
    given = [
        helper.make_tensor_value_info(name, kind, None if kind == TensorProto.FLOAT else ())
        for name, kind in inputs.items()
    ]
    return helper.make_graph(nodes, "body", given, [onnx.ValueInfoProto(name=name) for name in outputs.split()])


def function(name: str, inputs: str, nodes: Sequence[onnx.NodeProto], **attributes: Any) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 21), ("local", 1))]
    return helper.make_function("local", name, inputs.split(), ["y"], nodes, opsets, **attributes)


def test_each_call_of_a_function_is_proved_with_its_own_matrix(tmp_path: Path) -> None:
    inner = function("Once", "a m", [node("Gemm", "a m", "g", transB=1), node("Tanh", "g")])
    outer = function("Twice", "a m k", [node("Once", "a m", "b"), node("Once", "b k")])
    path = save(tmp_path / "m.onnx", [node("Twice", "x w v", "z"), node("Twice", "z v w")], functions=[inner, outer])
    layers = read(path).layers
    np.testing.assert_array_equal([layer.weight.load() for layer in layers], [WEIGHT, *2 * [WEIGHT[::-1]], WEIGHT])
    assert [each.verified for each in verify(path, layers)] == [True] * 4
    other = [changed(layer, lambda weight: weight[::-1]) for layer in layers]  # the matrix of another call
    assert [each.verified for each in verify(path, other)] == [False] * 4


def test_an_attribute_may_be_the_calls(tmp_path: Path) -> None:
    gemm = node("Gemm", "m a")
    gemm.attribute.append(onnx.AttributeProto(name="transB", ref_attr_name="t", type=onnx.AttributeProto.INT))
    once = function("Once", "a m", [gemm], attributes=["t"])
    path = save(tmp_path / "model.onnx", [node("Once", "x w", t=1)], functions=[once])
    (layer,) = read(path).layers
    assert [each.verified for each in verify(path, [layer, changed(layer, turned)])] == [True, False]


def test_the_whole_model_multiplies_with_the_matrices_that_were_read(tmp_path: Path) -> None:
    """ONNX Runtime runs all of it and resolves every name by itself, in a loop, a branch and functions."""
    branches = {
        "then_branch": graph([node("MatMul", "a m", "p"), node("Once", "p k", "t")], "t"),
        "else_branch": graph([node("Relu", "a", "r")], "r"),
    }
    functions = [
        function("Once", "a m", [node("Gemm", "a m", "g", transB=1), node("Tanh", "g")]),
        function("Twice", "a m k c", [node("If", "c", **branches)]),
    ]
    body = [node("Identity", "go", "on"), node("MatMul", "s turned", "u"), node("Twice", "u w v yes", "t")]
    loop = graph(body, "on t", i=TensorProto.INT64, go=TensorProto.BOOL, s=TensorProto.FLOAT)
    nodes = [node("Transpose", "w", "turned"), node("Loop", "rounds yes x", "z", body=loop), node("Once", "z w")]
    path = save(tmp_path / "model.onnx", nodes, functions=functions)
    layers = read(path).layers
    assert [layer.operator for layer in layers] == ["MatMul", "MatMul", "Gemm", "Gemm"]
    assert [each.verified for each in verify(path, layers)] == [True] * 4

    first, second, third, last = (layer.weight.load() for layer in layers)
    x = y = RANDOM.normal(size=(4, SIZE)).astype(np.float32) / SIZE
    for _ in range(3):
        y = np.tanh(y @ first.T @ second.T @ third.T)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], np.tanh(y @ last.T), atol=1e-4)


# What cannot be tried


def test_a_type_without_kernel_is_named(tmp_path: Path) -> None:
    nodes = [node("Cast", "x", "h", to=16), node("MatMul", "h narrow", "z"), node("Cast", "z", to=1)]
    path = save(tmp_path / "m.onnx", nodes)
    (untried,) = verify(path, read(path).layers)
    assert untried.verified is None
    assert untried.reason.startswith("ONNX Runtime cannot run the layer: Could not find an implementation for MatMul")


def test_constants_of_another_opset_than_the_layers_are_not_tried(tmp_path: Path) -> None:
    older = function("Once", "m", [node("Transpose", "m")])
    older.opset_import[0].version = 13
    path = save(tmp_path / "m.onnx", [node("Once", "w", "t"), node("MatMul", "x t")], functions=[older])
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


def test_shapes_that_do_not_fit_are_the_users_mistake(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMul")
    assert verify(path, [layer], {"x": (1, SIZE)})[0].verified is True
    with pytest.raises(StudyError, match="has no input 'z'; it has: 'x'"):
        verify(path, [layer], {"z": (1, SIZE)})


def test_weights_beside_the_model_are_found_and_nothing_is_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    path = save(folder / "model.onnx", [node("MatMul", "x w"), node("MatMul", "y v", "z")])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}
    assert len(before) == 2
    monkeypatch.chdir(folder)
    layers = read(Path("model.onnx")).layers
    assert [each.verified for each in verify(Path("model.onnx"), layers)] == [True, True]
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()} == before
