"""Fully-connected layers as exporters write them: each operator pattern, and the matrices that must be found in it.

`exported` has torch's two exporters, `exported_runtime` ONNX Runtime's optimiser, `exported_others`
scikit-learn and Keras, `handmade` what none of them writes.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from analysis.weights.layers import Layer, Weights, read
from analysis.weights.proof import verify
from study.onnx_graph import bodies
from tests.support import exported, exported_others, exported_runtime, handmade
from tests.support.exported import Expected, run
from tests.support.study import save_graph

SOURCES = (exported, exported_runtime, exported_others, handmade)
PATTERNS = {name: build for source in SOURCES for name, build in source.PATTERNS.items()}
WITHOUT_LAYERS = {name: build for source in SOURCES for name, build in getattr(source, "WITHOUT_LAYERS", {}).items()}


def built(expected: Expected) -> Weights:
    """What is read of a file, once it is shown to run and to hold the operators that it stands for."""
    assert all(output is not None for output in run(expected))
    operators = Counter(node.op_type for body in bodies(onnx.load(expected.path)) for node in body.node)
    assert set(expected.operators) <= set(operators)
    assert {operator for _, operator in expected.skipped} <= set(operators)
    weights = read(expected.path, pointwise=expected.pointwise)
    assert_skipped(expected, weights)
    return weights


def assert_skipped(expected: Expected, weights: Weights) -> None:
    for node, operator in expected.skipped:
        assert any(each.operator == operator and each.node.endswith(node) for each in weights.skipped), weights.skipped
    assert all(each.reason and "\n" not in each.reason for each in weights.skipped)
    assert len({(each.node, each.operator) for each in weights.skipped}) == len(weights.skipped)


def assert_weight(layer: Layer, weight: NDArray[np.float32], exact: bool) -> None:
    """The whole matrix, and each of its numbers once in its blocks."""
    matrix = layer.weight.load()
    assert layer.weight.shape == matrix.shape == weight.shape
    assert matrix.dtype == (np.float64 if layer.weight.dtype == "float64" else np.float32)
    tolerance = (0, 0) if exact else (1e-6, 1e-7 * float(np.abs(weight).max()))
    np.testing.assert_allclose(matrix, weight, *tolerance)
    blocks = [np.asarray(block) for block in layer.weight.blocks()]
    assert layer.weight.size == matrix.size
    assert all(block.ndim == 2 for block in blocks)
    numbers = np.concatenate([block.ravel() for block in blocks])
    np.testing.assert_array_equal(np.sort(numbers), np.sort(matrix, axis=None))


@pytest.mark.parametrize("name", PATTERNS)
def test_the_layers_of_a_pattern_are_found_with_the_right_values(name: str, tmp_path: Path) -> None:
    expected = PATTERNS[name](tmp_path)
    layers = built(expected).layers
    for layer, weight in zip(layers, expected.weights.values(), strict=True):
        assert_weight(layer, weight, expected.exact)

    names = [layer.name for layer in layers]
    assert not expected.named or names == list(expected.weights)
    assert len(set(names)) == len(names)
    assert all(layer.name and layer.pattern and layer.tensor for layer in layers)
    several = len(expected.operators) > 1
    assert [layer.operator for layer in layers] == list(expected.operators) * (1 if several else len(layers))
    assert not expected.dtype or {layer.weight.dtype for layer in layers} == {expected.dtype}
    assert [layer.role for layer in layers] == [expected.roles.get(key, "fc") for key in expected.weights]
    tied = {index: names[first] for index, first in expected.tied.items()}
    assert [layer.tied_to for layer in layers] == [tied.get(index, "") for index in range(len(layers))]

    for proof in verify(expected.path, layers):
        unknown = proof.verified is None and "Could not find an implementation" in proof.reason
        assert proof.verified is True or (unknown and "bfloat16" in name), proof


@pytest.mark.parametrize("name", WITHOUT_LAYERS)
def test_a_pattern_that_is_no_layer_is_none(name: str, tmp_path: Path) -> None:
    assert built(WITHOUT_LAYERS[name](tmp_path)).layers == ()


def test_no_two_patterns_have_the_same_name() -> None:
    assert len(PATTERNS) == sum(len(source.PATTERNS) for source in SOURCES)


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


def test_layers_whose_nodes_have_one_name_get_different_names(tmp_path: Path) -> None:
    square = np.eye(3, dtype=np.float32)
    products = [
        helper.make_node("MatMul", ["image", "a"], ["h"], "product"),
        helper.make_node("MatMul", ["h", "b"], ["y"], "product"),
    ]
    save_graph(tmp_path / "m.onnx", products, [numpy_helper.from_array(square * i, n) for i, n in enumerate("ab")])
    first, second = read(tmp_path / "m.onnx").layers
    assert first.name != second.name
    assert (first.tensor, second.tensor) == ("a", "b")
