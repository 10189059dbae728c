"""ONNX Runtime as the judge of matrices that were read: all weights are square, so that no shape gives them away."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from analysis.weights.layers import Layer, read
from analysis.weights.proof import verify as module
from analysis.weights.proof.residual import Proof
from analysis.weights.proof.verify import verify
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


def proofs(path: Path) -> list[bool | None]:
    return [proof.verified for proof in verify(path, read(path).layers)]


QUANTISE = node("QuantizeLinear", "x step zero", "q")
IMAGE = ("n", 2, 4, 4)
FORMS: dict[str, tuple[list[onnx.NodeProto], tuple[int | str | None, ...]]] = {
    "Gemm": ([node("Gemm", "x w")], ("n", SIZE)),
    "Gemm, transB, alpha, bias": ([node("Gemm", "x w bias", transB=1, alpha=0.5, beta=2.0)], ("n", SIZE)),
    "Gemm, bias from the input": ([node("Gemm", "x w x")], ("n", SIZE)),
    "Gemm, transA": ([node("Gemm", "x w", transA=1)], (SIZE, "n")),
    "Gemm, left": ([node("Gemm", "w x")], (SIZE, "n")),
    "Gemm, left, transA, transB": ([node("Gemm", "w x", transA=1, transB=1)], ("n", SIZE)),
    "MatMul": ([node("MatMul", "x w")], ("n", SIZE)),
    "MatMul, rank 1": ([node("MatMul", "x w")], (SIZE,)),
    "MatMul, rank 4": ([node("MatMul", "x w")], ("n", 2, None, SIZE)),
    "MatMul, left": ([node("MatMul", "w x")], ("n", SIZE, None)),
    "MatMul, left, rank 1": ([node("MatMul", "w x")], (SIZE,)),
    "MatMul, stack": ([node("MatMul", "x stack")], ("n", 3, 5, SIZE)),
    "MatMul, stack, the same rows": ([node("MatMul", "x stack")], ("n", SIZE)),
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


@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_is_proved_in_every_form_and_refuted_when_turned(form: str, tmp_path: Path) -> None:
    nodes, shape = FORMS[form]
    path = save(tmp_path / "model.onnx", nodes, shape)
    (layer,) = read(path, pointwise=True).layers
    assert layer.operator == form.partition(",")[0] or form in ("float16", "float64") or "QDQ" in form
    (proof,) = verify(path, [layer])
    assert (proof.verified, proof.reason) == (True, "")
    assert proof.error is not None
    assert proof.error < (1e-2 if form == "float16" else 1e-6)
    (proof,) = verify(path, [changed(layer, turned)])
    assert proof.verified is False
    assert proof.error is not None
    assert proof.error > 0.1


def test_two_classes_with_one_row_of_weights(tmp_path: Path) -> None:
    attributes = {"coefficients": WEIGHT[0].tolist(), "intercepts": [3.0], "classlabels_ints": [0, 1]}
    path = save(tmp_path / "m.onnx", [node("LinearClassifier", "x", "y s", post_transform="LOGISTIC", **attributes)])
    layers = read(path).layers
    assert [layer.weight.shape for layer in layers] == [(1, SIZE)]
    assert proofs(path) == [True]
    assert not verify(path, [changed(layers[0], np.negative)])[0].verified


def one(tmp_path: Path, form: str) -> tuple[Path, Layer]:
    path = save(tmp_path / "model.onnx", *FORMS[form])
    (layer,) = read(path).layers
    return path, layer


@pytest.mark.parametrize("form", ["Gemm", "QDQ", "QGemm", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulNBits"])
def test_a_scale_that_is_wrong_by_one_part_in_a_hundred_is_refuted(tmp_path: Path, form: str) -> None:
    path, layer = one(tmp_path, form)
    (proof,) = verify(path, [changed(layer, lambda weight: weight * np.float32(1.01))])
    assert proof.verified is False
    assert proof.error is not None
    assert 0.003 < proof.error < 0.01  # of |x| |W|^T, which is more than x W^T


def test_a_zero_point_that_is_wrong_by_one_is_refuted(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "QDQ")
    assert verify(path, [changed(layer, lambda weight: weight + STEPS[:, None])])[0].verified is False


def test_the_scale_of_a_matmulinteger_is_its_columns_own_but_positive(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMulInteger")
    assert verify(path, [changed(layer, lambda weight: weight * STEPS[:, None])])[0].verified is True
    assert verify(path, [changed(layer, np.negative)])[0].verified is False


def test_a_matrix_of_another_shape_is_refuted_with_both_shapes(tmp_path: Path) -> None:
    path, layer = one(tmp_path, "MatMul")
    (proof,) = verify(path, [changed(layer, lambda weight: weight[:, :-1])])
    wrong = "y is not x W^T: the matrix is 32 x 31, but x has 32 columns and y has 32"
    assert proof == Proof(False, None, wrong)


def test_a_matrix_of_zeros_is_proved_and_refuted(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [node("Mul", "w nothing", "z"), node("MatMul", "x z")])
    (layer,) = read(path).layers
    assert verify(path, [layer]) == [Proof(True, 0.0, "", SIZE)]
    assert verify(path, [changed(layer, lambda weight: weight + 1)])[0].verified is False


def loud(weight: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([weight[:1] * 1e5, weight[1:]])


def some_zeroed(weight: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.abs(weight) < 0.05, 0, weight)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda weight: np.concatenate([weight[:1], weight[1:] * 0]),
        lambda weight: np.concatenate([weight[:1], weight[1:] * np.float32(1.1)]),
        some_zeroed,
    ],
)
def test_what_is_wrong_in_some_outputs_is_not_hidden_by_a_far_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    monkeypatch.setitem(CONSTANTS, "w", loud(WEIGHT.T).T)
    path = save(tmp_path / "model.onnx", [node("MatMul", "x w")])
    (layer,) = read(path).layers
    assert verify(path, [layer])[0].verified is True
    assert verify(path, [changed(layer, wrong)])[0].verified is False


def test_an_input_that_never_changes_proves_nothing(tmp_path: Path) -> None:
    nodes = [node("Mul", "x nothing", "a"), node("Add", "a bias", "b"), node("MatMul", "b w")]
    path = save(tmp_path / "model.onnx", nodes)
    (layer,) = [found for found in read(path).layers if found.operator == "MatMul"]
    assert verify(path, [layer]) == [Proof(None, None, "its input did not change")]


def test_an_input_that_hardly_changes_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONSTANTS, "far", np.float32(1e6))
    path = save(tmp_path / "model.onnx", [node("Add", "x far", "a"), node("MatMul", "a w")])
    (proof,) = verify(path, read(path).layers)
    assert proof == Proof(None, None, "its input hardly changed, which is lost in rounding")


def test_inputs_that_are_always_zero_are_not_counted_as_seen(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [node("Mul", "x first_half", "a"), node("MatMul", "a w")])
    (proof,) = verify(path, read(path).layers)
    assert (proof.verified, proof.inputs_seen) == (True, SIZE // 2)


# Where a layer is


def graph(nodes: Sequence[onnx.NodeProto], outputs: str, **inputs: int) -> onnx.GraphProto:
    """The body of a branch or loop; its inputs are of these types, scalars but for float."""
    given = [
        helper.make_tensor_value_info(name, kind, None if kind == TensorProto.FLOAT else ())
        for name, kind in inputs.items()
    ]
    return helper.make_graph(nodes, "body", given, [onnx.ValueInfoProto(name=name) for name in outputs.split()])


def choice(inputs: str = "c") -> onnx.NodeProto:
    branches = {
        "then_branch": graph([node("MatMul", "x w", "t")], "t"),
        "else_branch": graph([node("Gemm", "x v", "e", transB=1)], "e"),
    }
    return node("If", inputs, **branches)


MEAN = [node("ReduceMean", "x", "m", keepdims=0), node("Greater", "m nothing", "c")]
"""c, which is true of some of the inputs tried and false of others."""


def rounds(count: str, body: Sequence[onnx.NodeProto]) -> onnx.NodeProto:
    """So many rounds of a body that takes s and leaves t; the first s is x."""
    going = node("Identity", "go", "on")
    return node(
        "Loop", f"{count} yes x", body=graph([going, *body], "on t", i=TensorProto.INT64, go=TensorProto.BOOL, s=1)
    )


STEP = [node("MatMul", "s w", "p"), node("Tanh", "p", "t")]


def test_both_branches_are_proved_if_inputs_lead_to_both(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [*MEAN, choice()])
    layers = read(path).layers
    assert [layer.place[-1][0] for layer in layers] == ["else_branch", "then_branch"]
    assert [proof.verified for proof in verify(path, layers)] == [True, True]
    assert [proof.verified for proof in verify(path, [changed(each, turned) for each in layers])] == [False, False]


def test_a_branch_that_is_never_taken_is_not_tried(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [choice("yes")])
    other, taken = verify(path, read(path).layers)
    assert taken.verified is True
    assert other == Proof(None, None, "the branch was not taken")


def test_a_loop_is_proved_over_all_its_rounds(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [rounds("rounds", STEP)])
    (layer,) = read(path).layers
    assert verify(path, [layer])[0].verified is True
    assert verify(path, [changed(layer, turned)])[0].verified is False


def test_a_loop_without_rounds_is_not_tried(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [rounds("no_rounds", STEP)])
    assert verify(path, read(path).layers) == [Proof(None, None, "the loop did not run")]


def test_a_branch_in_a_loop_is_proved(tmp_path: Path) -> None:
    branches = {"then_branch": graph(STEP, "t"), "else_branch": graph([node("Relu", "s", "r")], "r")}
    path = save(tmp_path / "model.onnx", [rounds("rounds", [node("If", "go", "t", **branches)])])
    assert proofs(path) == [True]


def test_a_vector_in_a_loop_is_no_matrix_of_all_rounds(tmp_path: Path) -> None:
    body = [node("MatMul", "w s", "p"), node("Tanh", "p", "t")]
    path = save(tmp_path / "model.onnx", [rounds("rounds", body)], (SIZE,))
    (layer,) = read(path).layers
    assert verify(path, [layer])[0].verified is True
    assert verify(path, [changed(layer, turned)])[0].verified is False


def test_a_scan_is_proved_whatever_the_axes_of_its_outputs(tmp_path: Path) -> None:
    body = graph([node("MatMul", "e w", "t"), node("Add", "s t", "u")], "u t", s=1, e=1)
    scan = node("Scan", "bias x", "last y", body=body, num_scan_inputs=1, scan_output_axes=[1])
    assert proofs(save(tmp_path / "model.onnx", [scan])) == [True]


def function(name: str, inputs: str, nodes: Sequence[onnx.NodeProto], **attributes: Any) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 21), ("local", 1))]
    return helper.make_function("local", name, inputs.split(), ["y"], nodes, opsets, **attributes)


def test_each_call_of_a_function_is_proved_with_its_own_matrix(tmp_path: Path) -> None:
    inner = function("Once", "a m", [node("Gemm", "a m", "g", transB=1), node("Tanh", "g")])
    outer = function("Twice", "a m k", [node("Once", "a m", "b"), node("Once", "b k")])
    path = save(tmp_path / "m.onnx", [node("Twice", "x w v", "z"), node("Twice", "z v w")], functions=[inner, outer])
    layers = read(path).layers
    np.testing.assert_array_equal([layer.weight.load() for layer in layers], [WEIGHT, *2 * [WEIGHT[::-1]], WEIGHT])
    assert [proof.verified for proof in verify(path, layers)] == [True] * 4
    other = [changed(layer, lambda weight: weight[::-1]) for layer in layers]  # the matrix of another call
    assert [proof.verified for proof in verify(path, other)] == [False] * 4


def test_an_attribute_may_be_the_calls(tmp_path: Path) -> None:
    gemm = node("Gemm", "m a")
    gemm.attribute.append(onnx.AttributeProto(name="transB", ref_attr_name="t", type=onnx.AttributeProto.INT))
    once = function("Once", "a m", [gemm], attributes=["t"])
    assert proofs(save(tmp_path / "model.onnx", [node("Once", "x w", t=1)], functions=[once])) == [True]


def test_a_branch_in_a_function_in_a_loop_is_proved(tmp_path: Path) -> None:
    branches = {
        "then_branch": graph([node("MatMul", "a m", "t")], "t"),
        "else_branch": graph([node("Relu", "a", "r")], "r"),
    }
    once = function("Once", "a m c", [node("If", "c", **branches)])
    body = [node("Once", "s w yes", "o"), node("Tanh", "o", "t")]
    assert proofs(save(tmp_path / "model.onnx", [rounds("rounds", body)], functions=[once])) == [True]


# What cannot be tried


def test_a_layer_whose_input_is_always_zero_is_not_tried(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [node("Mul", "x nothing", "z"), node("MatMul", "z w")])
    assert verify(path, read(path).layers) == [Proof(None, None, "its input is zero whatever that of the model is")]


def test_a_layer_whose_weights_meet_zeros_alone_is_not_tried(tmp_path: Path) -> None:
    nodes = [node("Mul", "x first_half", "z"), node("Mul", "w second_half", "m"), node("MatMul", "z m")]
    path = save(tmp_path / "model.onnx", nodes)
    assert verify(path, read(path).layers) == [Proof(None, None, "its input is zero wherever its weights are not")]


def test_a_layer_that_only_some_inputs_reach_is_tried_with_those(tmp_path: Path) -> None:
    nodes = [node("Sub", "x far", "d"), node("Relu", "d", "z"), node("MatMul", "z w")]
    assert proofs(save(tmp_path / "model.onnx", nodes)) == [True]


def test_values_that_are_not_finite_prove_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [node("Div", "x nothing", "z"), node("MatMul", "z w")])
    assert verify(path, read(path).layers) == [Proof(None, None, "its values are not finite")]


def test_a_type_without_kernel_is_named(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", [node("Cast", "x", "h", to=16), node("MatMul", "h narrow", "z"), node("Cast", "z", to=1)]
    )
    (proof,) = verify(path, read(path).layers)
    assert proof.verified is None
    assert proof.reason.startswith("ONNX Runtime cannot run the model: Could not find an implementation for MatMul")


def test_what_breaks_with_one_layer_leaves_the_others_their_proofs(tmp_path: Path) -> None:
    """A row longer in every round, the values of one cannot be stacked."""
    body = [node("Concat", "s x", "t", axis=0), node("MatMul", "t w", "unused")]
    path = save(
        tmp_path / "model.onnx", [node("MatMul", "x v", "z"), rounds("rounds", body), node("MatMul", "y w", "u")]
    )
    first, looped, last = verify(path, read(path).layers)
    assert (first.verified, last.verified) == (True, True)
    assert looped.verified is None
    assert looped.reason.startswith("ONNX Runtime cannot run the model with its values as outputs: ")


def test_a_layer_that_is_not_where_it_says_is_not_tried(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [node("Relu", "x", "z"), node("MatMul", "z w")])
    (layer,) = read(path).layers
    elsewhere = [replace(layer, place=(("", 0),)), replace(layer, place=(("", 9),)), layer]
    found = verify(path, elsewhere)
    assert [proof.verified for proof in found] == [None, None, True]
    assert found[0].reason == "expected MatMul where the layer is, found Relu"


@pytest.mark.parametrize("word", [b"transB", b"Tanh"])
def test_names_that_are_no_text_are_a_reason_and_print_nothing(
    tmp_path: Path, word: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "model.onnx", [node("Tanh", "x", "t"), node("Gemm", "t w", transB=1)])
    layers = read(path).layers
    path.write_bytes(path.read_bytes().replace(word, b"\xc5" + word[1:]))
    (proof,) = verify(path, layers)
    assert proof.verified is None
    assert proof.reason
    assert capfd.readouterr() == ("", "")


# What the model is run with


def test_dimensions_that_nobody_gives_are_guessed(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x rows", "r"), node("MatMul", "r w")]
    assert proofs(save(tmp_path / "model.onnx", nodes, ("n", "k", 3))) == [True]  # 4 x 8 x 3 are three rows


def test_a_dimension_that_no_guess_fits_is_asked_for(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x row", "r"), node("MatMul", "r w")]
    path = save(tmp_path / "model.onnx", nodes, ("n", "k", 2))
    layers = read(path).layers
    (proof,) = verify(path, layers)
    assert proof.verified is None
    assert proof.reason.endswith("its inputs' shapes were guessed: give them with --shape")
    assert verify(path, layers, {"x": (2, 8, 2)})[0].verified is True


def test_a_batch_of_one_is_tried_too(tmp_path: Path) -> None:
    assert proofs(save(tmp_path / "m.onnx", [node("Reshape", "x row", "r"), node("MatMul", "r w")])) == [True]


def test_shapes_that_do_not_fit_are_the_users_mistake(tmp_path: Path) -> None:
    nodes = [node("Cast", "x", "h", to=16), node("MatMul", "h narrow", "z"), node("Cast", "z", to=1)]
    path = save(tmp_path / "model.onnx", nodes)  # which does not run: the mistake is seen before
    layer = read(path).layers[0]
    with pytest.raises(StudyError, match="has no input 'z'; it has: 'x'"):
        verify(path, [layer], {"z": (1, SIZE)})


def test_inputs_that_are_too_large_are_not_made(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", [node("MatMul", "x w")], (2**40, SIZE))
    (proof,) = verify(path, read(path).layers)
    assert proof.verified is None
    assert f"its inputs take {2**40 * SIZE * 4} bytes, more than {256 * 2**20}" in proof.reason


@pytest.mark.parametrize("dtype", [TensorProto.STRING, TensorProto.COMPLEX64])
def test_inputs_that_cannot_be_made_are_named(tmp_path: Path, dtype: int) -> None:
    path = save(tmp_path / "model.onnx", [node("Cast", "x", "f", to=1), node("MatMul", "f w")], dtype=dtype)
    (proof,) = verify(path, read(path).layers)
    assert proof.verified is None
    assert "input" in proof.reason


def test_a_file_that_is_too_large_for_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, layer = one(tmp_path, "MatMul")
    monkeypatch.setattr(module, "MOST_FILE_BYTES", path.stat().st_size - 1)
    assert "more than 2 GiB" in verify(path, [layer])[0].reason


def test_without_onnx_runtime_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, layer = one(tmp_path, "MatMul")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install onnxruntime" in verify(path, [layer])[0].reason


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
    assert proofs(Path("model.onnx")) == [True, True]
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()} == before
