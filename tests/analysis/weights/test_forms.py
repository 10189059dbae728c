"""Fully-connected layers as exporters write them: each form of file, and the matrices that must be found in it.

`exported` has torch's two exporters, `exported_runtime` ONNX Runtime's quantisation and optimiser, `exported_others`
scikit-learn and Keras, `handmade` what none of them writes. A file is built once, when a test first asks for it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from analysis.weights.layers import Weights, read
from analysis.weights.proof import verify
from tests.support import exported, exported_others, exported_runtime, handmade
from tests.support.exported import Expected, run
from tests.support.synthetic import save_graph

SOURCES = (exported, exported_runtime, exported_others, handmade)
FORMS = {name: build for source in SOURCES for name, build in source.FORMS.items()}
Form = Callable[[str], Expected]


@pytest.fixture(scope="session")
def form(tmp_path_factory: pytest.TempPathFactory) -> Form:
    """What is in a form's file, which is built when it is first asked for."""
    built: dict[str, Expected] = {}

    def get(name: str) -> Expected:
        if name not in built:
            built[name] = FORMS[name](tmp_path_factory.mktemp("form"))
        return built[name]

    return get


@pytest.fixture(scope="session")
def found(form: Form) -> Callable[[str], Weights]:
    """What is read from a form's file, once."""
    results: dict[str, Weights] = {}

    def get(name: str) -> Weights:
        if name not in results:
            expected = form(name)
            results[name] = read(expected.path, pointwise=expected.pointwise)
        return results[name]

    return get


Found = Callable[[str], Weights]
every_form = pytest.mark.parametrize("name", FORMS)


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of the file, also in local functions and in graphs inside nodes."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                waiting.extend(attribute.g.node)


def test_no_two_forms_have_the_same_name() -> None:
    assert len(FORMS) == sum(len(source.FORMS) for source in SOURCES)


@every_form
def test_the_file_runs_and_is_of_the_form_that_it_stands_for(name: str, form: Form) -> None:
    expected = form(name)
    for output in run(expected):
        assert output is not None
    operators = Counter(node.op_type for node in nodes(onnx.load(expected.path)))
    if expected.weights:
        assert set(expected.operators) <= set(operators)
    for _, operator in expected.skipped:
        assert operators[operator] >= 1


@pytest.mark.parametrize("name", exported_runtime.QUANTISED)
def test_a_quantised_weight_lies_within_the_rounding_of_the_weight_before(name: str, form: Form) -> None:
    """Of the fixtures, not of the reader: a wrong order of integers, scales or axes would be far from it."""
    expected = form(name)
    assert expected.originals
    for layer, original in expected.originals.items():
        assert np.all(np.abs(expected.weights[layer] - original) <= expected.rounding[layer] * 1.0001)
        assert np.any(expected.weights[layer] != original)


@every_form
def test_the_layers_are_found_in_the_order_of_the_nodes(name: str, form: Form, found: Found) -> None:
    expected = form(name)
    layers = found(name).layers
    names = [layer.name for layer in layers]
    if expected.named:
        assert names == list(expected.weights)
    assert len(names) == len(set(names)) == len(expected.weights)
    assert all(names)


UNPROVED = {"bfloat16": "Could not find an implementation", "branch": "the branch was not taken"}
"""What ONNX Runtime cannot be asked on this data and processor, by a word of the form's name."""


@every_form
def test_onnx_runtime_proves_the_matrices(name: str, form: Form, found: Found) -> None:
    layers = found(name).layers
    for proof in verify(form(name).path, layers):
        reasons = [reason for word, reason in UNPROVED.items() if word in name and reason in proof.reason]
        assert proof.verified is True or (proof.verified is None and reasons), proof


@every_form
def test_the_matrices_are_those_of_the_model(name: str, form: Form, found: Found) -> None:
    expected = form(name)
    for layer, weight in zip(found(name).layers, expected.weights.values(), strict=True):
        matrix = layer.weight.load()
        assert layer.weight.shape == matrix.shape == weight.shape
        assert matrix.dtype == (np.float64 if layer.weight.dtype == "float64" else np.float32)
        if expected.exact:
            np.testing.assert_array_equal(matrix, weight)
        else:
            np.testing.assert_allclose(matrix, weight, rtol=1e-6, atol=1e-7 * float(np.abs(weight).max()))


@every_form
def test_the_blocks_of_a_matrix_hold_each_of_its_weights_once(name: str, found: Found) -> None:
    for layer in found(name).layers:
        blocks = [np.asarray(block) for block in layer.weight.blocks()]
        matrix = layer.weight.load()
        assert layer.weight.size == matrix.size
        assert all(block.ndim == 2 for block in blocks)
        np.testing.assert_array_equal(
            np.sort(np.concatenate([block.ravel() for block in blocks])), np.sort(matrix, axis=None)
        )


@every_form
def test_a_layer_says_which_operator_it_is_how_it_is_stored_and_what_it_is_for(
    name: str, form: Form, found: Found
) -> None:
    expected = form(name)
    layers = found(name).layers
    operators = expected.operators * (len(layers) if len(expected.operators) == 1 else 1)
    assert [layer.operator for layer in layers] == list(operators)[: len(layers)]
    if expected.dtype:
        assert {layer.weight.dtype for layer in layers} <= {expected.dtype}
    assert [layer.role for layer in layers] == [expected.roles.get(key, "fc") for key in expected.weights]
    assert all(layer.form for layer in layers)
    assert all(layer.tensor for layer in layers)


@every_form
def test_a_layer_that_shares_its_tensor_with_an_earlier_one_says_so(name: str, form: Form, found: Found) -> None:
    layers = found(name).layers
    tied = {i: layers[j].name for i, j in form(name).tied.items()}
    assert [layer.tied_to for layer in layers] == [tied.get(i, "") for i in range(len(layers))]


@every_form
def test_what_is_no_layer_is_named_with_a_reason(name: str, form: Form, found: Found) -> None:
    skipped = found(name).skipped
    for node, operator in form(name).skipped:
        assert any(item.operator == operator and item.node.endswith(node) for item in skipped), skipped
    assert all(item.reason and "\n" not in item.reason for item in skipped)
    assert len({(item.node, item.operator) for item in skipped}) == len(skipped)


SCOPES = "pkg.torch.onnx.name_scopes"


@pytest.mark.parametrize(
    ("initializer", "node", "scopes", "name"),
    [
        ("fc1.weight", "node_linear", "['', 'fc1', 'linear']", "fc1"),
        ("body.fc1.weight", "/body/Gemm", "", "body.fc1"),
        ("val_0", "node_MatMul_1", "['', 'encoder', 'encoder.fc1', 'linear']", "encoder.fc1"),
        ("val_0", "node_MatMul_1", "['', 'linear']", "node_MatMul_1"),
        ("val_0", "node_MatMul_1", "['linear']", "node_MatMul_1"),
        ("val_0", "node_MatMul_1", "[]", "node_MatMul_1"),
        ("val_0", "node_MatMul_1", "(((", "node_MatMul_1"),
        ("val_0", "node_MatMul_1", "[['a'], 3, None]", "node_MatMul_1"),
        ("onnx::MatMul_23", "/encoder/fc1/MatMul", "", "encoder.fc1"),
        ("onnx::MatMul_23", "/body/body.0/MatMul", "", "body.0"),
        ("onnx::MatMul_23", "/net/body/body.0/body.0.1/MatMul", "", "net.body.0.1"),
        ("onnx::MatMul_23", "/encoder/layers.0/fc/MatMul", "", "encoder.layers.0.fc"),
        ("onnx::MatMul_23", "/body/body1.0/MatMul", "", "body.body1.0"),
        ("onnx::MatMul_23", "/0/MatMul", "", "0"),
        ("onnx::MatMul_23", "/MatMul_1", "", "/MatMul_1"),
        ("kernel", "sequential/dense/MatMul", "", "sequential.dense"),
        ("kernel", "product", "", "product"),
        ("kernel", "", "", "kernel"),
    ],
)
def test_a_layer_is_called_by_its_module_as_far_as_the_file_knows_it(
    tmp_path: Path, initializer: str, node: str, scopes: str, name: str
) -> None:
    product = helper.make_node("MatMul", ["image", initializer], ["y"], node)
    if scopes:
        product.metadata_props.add(key=SCOPES, value=scopes)
    save_graph(tmp_path / "m.onnx", [product], [numpy_helper.from_array(np.ones((3, 2), np.float32), initializer)])
    (layer,) = read(tmp_path / "m.onnx").layers
    assert layer.name == name


def test_layers_whose_nodes_have_one_name_are_told_apart(tmp_path: Path) -> None:
    square = np.eye(3, dtype=np.float32)
    products = [
        helper.make_node("MatMul", ["image", "a"], ["h"], "product"),
        helper.make_node("MatMul", ["h", "b"], ["y"], "product"),
    ]
    save_graph(tmp_path / "m.onnx", products, [numpy_helper.from_array(square * i, n) for i, n in enumerate("ab")])
    first, second = read(tmp_path / "m.onnx").layers
    assert first.name != second.name
    assert (first.tensor, second.tensor) == ("a", "b")


def test_a_sum_of_constants_is_a_weight(tmp_path: Path) -> None:
    weight = np.arange(9, dtype=np.float32).reshape(3, 3)
    twice = helper.make_node("Add", ["fc.weight", "fc.weight"], ["twice"])
    product = helper.make_node("MatMul", ["image", "twice"], ["y"], "/fc/MatMul")
    save_graph(tmp_path / "m.onnx", [twice, product], [numpy_helper.from_array(weight, "fc.weight")])
    (layer,) = read(tmp_path / "m.onnx").layers
    np.testing.assert_array_equal(layer.weight.load(), 2 * weight.T)


def test_an_input_with_a_default_can_be_told_from_an_input_without(tmp_path: Path) -> None:
    """Of two inputs of rank 2 only the one that is an initializer too holds a weight."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3, 3]) for n in ("x", "fc.weight")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 3])
    product = helper.make_node("MatMul", ["x", "fc.weight"], ["y"], "/fc/MatMul")
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "fc.weight")
    for tensors in ([weight], []):
        graph = helper.make_graph([product], "network", values, [output], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        weights = read(tmp_path / "m.onnx")
        assert len(weights.layers) == len(tensors)
        assert len(weights.skipped) == 1 - len(tensors)
