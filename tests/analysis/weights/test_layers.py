"""Fully-connected layers read from ONNX files made by hand, and from files that are none."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from analysis.weights.layers import Layer, read
from study.errors import StudyError
from tests.support.study import save_graph, write_model

WEIGHT = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
"""(out, in) = (2, 3): y = (x1 + 2 x2 + 3 x3, 4 x1 + 5 x2 + 6 x3)."""


def read_layer(path: Path, node: onnx.NodeProto, *tensors: onnx.TensorProto) -> Layer:
    """The one layer of a file with this one node."""
    save_graph(path / "model.onnx", [node], list(tensors))
    (layer,) = read(path / "model.onnx").layers
    return layer


@pytest.mark.parametrize(("stored", "transposed"), [(WEIGHT, 1), (WEIGHT.T, 0)])
def test_gemm_with_its_constant_on_the_right(tmp_path: Path, stored: np.ndarray, transposed: int) -> None:
    node = helper.make_node("Gemm", ["image", "fc1.weight"], ["y"], transB=transposed)
    layer = read_layer(tmp_path, node, numpy_helper.from_array(stored, "fc1.weight"))
    assert layer.name == "fc1"
    np.testing.assert_array_equal(layer.weight.load(), WEIGHT)


@pytest.mark.parametrize(("stored", "transposed"), [(WEIGHT, 0), (WEIGHT.T, 1)])
def test_gemm_with_its_constant_on_the_left(tmp_path: Path, stored: np.ndarray, transposed: int) -> None:
    node = helper.make_node("Gemm", ["fc1.weight", "image"], ["y"], transA=transposed)
    np.testing.assert_array_equal(
        read_layer(tmp_path, node, numpy_helper.from_array(stored, "fc1.weight")).weight.load(), WEIGHT
    )


def test_gemm_without_attributes_stores_in_by_out(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["image", "w"], ["y"])
    assert read_layer(tmp_path, node, numpy_helper.from_array(WEIGHT, "w")).weight.shape == (3, 2)


def test_gemm_multiplies_its_weight_by_alpha(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["image", "w"], ["y"], transB=1, alpha=0.5)
    np.testing.assert_array_equal(
        read_layer(tmp_path, node, numpy_helper.from_array(WEIGHT, "w")).weight.load(), WEIGHT / 2
    )


def test_matmul_with_its_constant_on_the_right(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["image", "w"], ["y"])
    np.testing.assert_array_equal(
        read_layer(tmp_path, node, numpy_helper.from_array(WEIGHT.T, "w")).weight.load(), WEIGHT
    )


def test_matmul_with_its_constant_on_the_left(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["w", "image"], ["y"])
    np.testing.assert_array_equal(
        read_layer(tmp_path, node, numpy_helper.from_array(WEIGHT, "w")).weight.load(), WEIGHT
    )


@pytest.mark.parametrize(
    ("node", "constant_left"),
    [
        (helper.make_node("Gemm", ["image", "w"], ["y"], transB=1, alpha=2.0), False),
        (helper.make_node("Gemm", ["image", "w"], ["y"]), False),
        (helper.make_node("Gemm", ["w", "image"], ["y"], transA=1), True),
        (helper.make_node("MatMul", ["image", "w"], ["y"]), False),
        (helper.make_node("MatMul", ["w", "image"], ["y"]), True),
    ],
    ids=["gemm-alpha-transB", "gemm", "gemm-left-transA", "matmul", "matmul-left"],
)
def test_the_weight_is_what_the_node_multiplies_by(tmp_path: Path, node: onnx.NodeProto, constant_left: bool) -> None:
    """Square, where no shape tells a transposed matrix: the reference evaluator does."""
    square = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 10]], np.float32)
    weight = read_layer(tmp_path, node, numpy_helper.from_array(square, "w")).weight.load()
    x = np.array([[1, 0, 2], [0, 1, -1], [3, 1, 1]], np.float32)
    (y,) = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"image": x})
    np.testing.assert_array_equal(y, weight @ x if constant_left else x @ weight.T)


def test_a_weight_may_be_the_output_of_a_constant_node(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT))
    product = helper.make_node("Gemm", ["image", "w"], ["y"], name="/head/Gemm", transB=1)
    save_graph(tmp_path / "model.onnx", [constant, product], [])
    (layer,) = read(tmp_path / "model.onnx").layers
    assert layer.name == "head"
    np.testing.assert_array_equal(layer.weight.load(), WEIGHT)


@pytest.mark.parametrize(
    ("initializer", "node", "name"),
    [
        ("body.fc1.weight", "/body/Gemm", "body.fc1"),
        ("onnx::MatMul_23", "/fc2/MatMul", "fc2"),
        ("coefficient", "", "coefficient"),
    ],
)
def test_a_layer_is_called_as_its_initializer_otherwise_as_its_node(
    tmp_path: Path, initializer: str, node: str, name: str
) -> None:
    product = helper.make_node("MatMul", ["image", initializer], ["y"], name=node)
    assert read_layer(tmp_path, product, numpy_helper.from_array(WEIGHT, initializer)).name == name


def test_layers_come_in_the_order_of_the_nodes(tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx", {"z": np.ones((4, 3), np.float32), "a": np.ones((2, 4), np.float32)})
    assert [layer.name for layer in read(tmp_path / "m.onnx").layers] == ["z", "a"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_weight_keeps_its_floating_point_type(tmp_path: Path, dtype: str) -> None:
    node = helper.make_node("MatMul", ["image", "w"], ["y"])
    assert read_layer(tmp_path, node, numpy_helper.from_array(WEIGHT.astype(dtype), "w")).weight.dtype == dtype


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, [2, 3], WEIGHT.ravel())
    layer = read_layer(tmp_path, helper.make_node("Gemm", ["image", "w"], ["y"], transB=1), tensor)
    assert layer.weight.dtype == "bfloat16"
    assert layer.weight.load().dtype == np.float32
    np.testing.assert_array_equal(layer.weight.load(), WEIGHT)


def test_a_network_of_convolutions_has_no_fully_connected_layer(tmp_path: Path) -> None:
    write_model(tmp_path / "gap.onnx", {})
    assert read(tmp_path / "gap.onnx").layers == ()


@pytest.mark.parametrize(
    ("nodes", "tensors"),
    [
        ([helper.make_node("MatMul", ["image", "image"], ["y"])], {}),
        ([helper.make_node("MatMul", ["v", "w"], ["y"])], {"v": WEIGHT.T, "w": WEIGHT}),
        ([helper.make_node("Gather", ["table", "image"], ["y"])], {"table": WEIGHT}),
        ([helper.make_node("MatMul", ["image", "vector"], ["y"])], {"vector": WEIGHT[0]}),
        ([helper.make_node("MatMul", ["image", "w"], ["y"], domain="elsewhere")], {"w": WEIGHT}),
    ],
    ids=["attention", "constant-expression", "embedding", "vector", "another-operator-of-that-name"],
)
def test_what_is_no_product_with_one_constant_matrix_is_no_layer(
    tmp_path: Path, nodes: list[onnx.NodeProto], tensors: dict[str, np.ndarray]
) -> None:
    save_graph(tmp_path / "m.onnx", nodes, [numpy_helper.from_array(array, name) for name, array in tensors.items()])
    assert read(tmp_path / "m.onnx").layers == ()


def whole(tmp_path: Path) -> bytes:
    write_model(tmp_path / "whole.onnx", {"fc1": WEIGHT})
    return (tmp_path / "whole.onnx").read_bytes()


def rejected(path: Path, content: bytes) -> str:
    """The one line with which a file of this content is refused."""
    path.write_bytes(content)
    with pytest.raises(StudyError) as error:
        read(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    content = whole(tmp_path)
    for length in range(len(content) - 10):  # the last bytes are the opset, without which the graph is whole
        rejected(tmp_path / "cut.onnx", content[:length])


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    for seed in range(50):
        rejected(tmp_path / "noise.onnx", np.random.default_rng(seed).bytes(1000))


@pytest.mark.parametrize("content", [b"", b"not a model\n", b"{}", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    rejected(tmp_path / "other.onnx", content)


def test_a_damaged_byte_ends_in_layers_or_in_a_refusal_but_never_in_a_traceback(tmp_path: Path) -> None:
    content = whole(tmp_path)
    refused = 0
    for position in range(len(content)):
        for value in (0x00, 0x7F, 0xFF):
            (tmp_path / "damaged.onnx").write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
            try:
                read(tmp_path / "damaged.onnx")
            except StudyError:
                refused += 1
    assert refused > 100


def test_a_graph_that_does_not_say_its_ir_version_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(whole(tmp_path))
    model.ClearField("ir_version")
    assert "IR version" in rejected(tmp_path / "anonymous.onnx", model.SerializeToString())


def tensor_of_shape(dims: list[int], values: int) -> onnx.TensorProto:
    raw = np.ones(values, np.float32).tobytes()
    return onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=raw)


@pytest.mark.parametrize(("dims", "values"), [([2, 3], 5), ([2, 3], 7), ([-1, 3], 6), ([2**40, 2**40], 6)])
def test_a_weight_that_does_not_fit_its_shape_is_refused(tmp_path: Path, dims: list[int], values: int) -> None:
    save_graph(
        tmp_path / "m.onnx", [helper.make_node("MatMul", ["image", "w"], ["y"])], [tensor_of_shape(dims, values)]
    )
    rejected(tmp_path / "m.onnx", (tmp_path / "m.onnx").read_bytes())


@pytest.mark.parametrize("count", [6, 6000])
def test_values_of_another_type_than_the_tensor_says_are_refused(tmp_path: Path, count: int) -> None:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT16, dims=[count // 2, 2], float_data=[1.0] * count)
    save_graph(tmp_path / "m.onnx", [helper.make_node("MatMul", ["image", "w"], ["y"])], [tensor])
    rejected(tmp_path / "m.onnx", (tmp_path / "m.onnx").read_bytes())


def test_a_gemm_whose_constant_is_no_matrix_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["image", "w"], ["y"])
    save_graph(tmp_path / "m.onnx", [node], [tensor_of_shape([1, 2, 3], 6)])
    assert "[1, 2, 3]" in rejected(tmp_path / "m.onnx", (tmp_path / "m.onnx").read_bytes())


def test_a_node_without_inputs_is_refused(tmp_path: Path) -> None:
    save_graph(tmp_path / "m.onnx", [helper.make_node("Gemm", [], ["y"])], [])
    rejected(tmp_path / "m.onnx", (tmp_path / "m.onnx").read_bytes())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"nowhere\.onnx cannot be read"):
        read(tmp_path / "nowhere.onnx")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        read(tmp_path)
