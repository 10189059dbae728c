"""The modules of nodes by their names, and by those of their weights; also after an engine has fused them."""

import onnx
import pytest
from onnx import TensorProto, helper

from study.onnx_modules import Modules, modules_of


def graph(*nodes: onnx.NodeProto, weights: tuple[str, ...] = ()) -> onnx.GraphProto:
    tensors = [helper.make_tensor(name, TensorProto.FLOAT, [1], [0.0]) for name in weights]
    return helper.make_graph(nodes, "g", [], [], tensors)


@pytest.fixture
def lenet() -> Modules:
    """As torch's exporter writes two convolutions with activations, and a layer."""
    make = helper.make_node
    return modules_of(
        graph(
            make("Conv", ["image", "conv1.weight", "conv1.bias"], ["conv2d"], name="node_conv2d"),
            make("Relu", ["conv2d"], ["relu"], name="node_relu"),
            make("Conv", ["relu", "block.conv2.weight"], ["conv2d_1"], name="node_conv2d_1"),
            make("Relu", ["conv2d_1"], ["relu_1"], name="node_relu_1"),
            make("Gemm", ["relu_1", "fc.weight"], ["linear"], name="node_linear"),
            weights=("conv1.weight", "conv1.bias", "block.conv2.weight", "fc.weight"),
        )
    )


@pytest.mark.parametrize(
    ("name", "kind", "module"),
    [
        ("node_conv2d", "Conv", "conv1"),
        ("node_relu", "Relu", None),
        ("relu_nchwc", "Conv", "conv1"),
        ("relu_1_nchwc", "Conv", "block.conv2"),
        ("fused node_linear", "FusedGemm", "fc"),
        ("node_conv2d_1/WithoutBiases", "Convolution", "block.conv2"),
        ("node_linear", "FullyConnected", "fc"),
        ("ReorderOutput_token_5", "ReorderOutput", None),
    ],
)
def test_the_name_of_a_fused_node_leads_to_the_weights(
    lenet: Modules, name: str, kind: str, module: str | None
) -> None:
    """ONNX Runtime's and OpenVINO's names of the same graph after optimisation."""
    assert lenet.of(name, kind) == module


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("layer1.0.conv1/node_conv2d", "layer1.0.conv1"),
        ("/Relu", ""),
        ("Relu", None),
    ],
)
def test_a_node_may_be_named_after_its_module(name: str, module: str | None) -> None:
    found = modules_of(graph(helper.make_node("Relu", ["x"], ["y"], name=name)))
    assert found.of(name, "Relu") == module


def test_a_node_without_a_name_is_called_as_onnxruntime_calls_it() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Gemm", ["y", "a.fc.weight"], ["z"])]
    assert modules_of(graph(*nodes, weights=("a.fc.weight",))).of("Gemm_1", "Gemm") == "a.fc"


def test_a_constant_whose_name_is_no_path_tells_nothing() -> None:
    node = helper.make_node("Add", ["x", "val_1"], ["y"], name="add")
    assert modules_of(graph(node, weights=("val_1",))).of("add", "Add") is None


def test_a_convolution_with_a_folded_normalisation_belongs_where_its_weights_are() -> None:
    node = helper.make_node("Conv", ["x", "block.conv.weight"], ["y"], name="block.bn/node_Conv_56")
    assert modules_of(graph(node, weights=("block.conv.weight",))).of("y_nchwc", "Conv") == "block.conv"
