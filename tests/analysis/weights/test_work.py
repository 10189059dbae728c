"""Multiply-accumulates with a nonzero weight, counted by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from analysis.weights.work import Work, work
from export.compact.sparse import store_sparsely


def save(path: Path, nodes: list[onnx.NodeProto], tensors: dict[str, np.ndarray[Any, Any]], shape: list[Any]) -> Path:
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "network", [image], [result], stored)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return path


def network(path: Path) -> Path:
    """A convolution of 3 x 3 over 6 x 6, half of it zero, and 10 weights a place of 4 x 4, a tenth of them not zero."""
    kernel, matrix = np.ones((2, 1, 3, 3), np.float32), np.zeros((10, 32), np.float32)
    kernel[0], matrix[0] = 0, 1
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["maps"]),
        helper.make_node("Flatten", ["maps"], ["rows"]),
        helper.make_node("Gemm", ["rows", "matrix"], ["y"], transB=1),
    ]
    return save(path, nodes, {"kernel": kernel, "matrix": matrix}, ["batch", 1, 6, 6])


def test_convolutions_count_at_every_place_of_their_output(tmp_path: Path) -> None:
    assert work(network(tmp_path / "m.onnx")) == Work(16 * 18 + 320, 16 * 9 + 32)


def test_weights_that_are_stored_sparsely_count_the_same(tmp_path: Path) -> None:
    model = onnx.load(network(tmp_path / "m.onnx"))
    store_sparsely(model)
    (tmp_path / "sparse.onnx").write_bytes(model.SerializeToString())
    assert work(tmp_path / "sparse.onnx") == work(tmp_path / "m.onnx")


@pytest.mark.parametrize(("zero", "nonzero"), [(0, 2), (7, 3)])
def test_a_quantised_weight_is_zero_at_its_zero_point(tmp_path: Path, zero: int, nonzero: int) -> None:
    """Two products on rows of three tokens, with the same four weights."""
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "codes": np.array([[0, 1], [7, 0]], np.int8),
        "scale": np.ones((), np.float32),
    }
    tensors["zero"] = np.array(zero, np.int8)
    assert work(save(tmp_path / "m.onnx", nodes, tensors, ["batch", 3, 2])) == Work(2 * 3 * 4, 2 * 3 * nonzero)


def test_what_is_not_certain_has_no_count(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    assert work(save(tmp_path / "m.onnx", nodes, {"w": np.ones((2, 2), np.float32)}, ["batch", "n", 2])) is None
    assert work(tmp_path / "nothing.onnx") is None
