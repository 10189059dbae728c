"""Quantised models: operators, weights, results, metadata, reproducibility."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor

from export.parity import run_onnx
from export.portable.rules import violations
from export.quantisation import calibration_images, quantise
from study.data import tensors
from study.errors import StudyError
from tests.conftest import ROOT, Trained


@pytest.fixture(scope="module")
def calibration(data: Path) -> Tensor:
    return calibration_images(data, "fashion-mnist")


@pytest.fixture(scope="module")
def floats(trained: Trained) -> ModelProto:
    return onnx.load(trained.artifacts.run("baseline", 0).onnx)


@pytest.fixture(scope="module")
def quantised(floats: ModelProto, calibration: Tensor) -> dict[str, ModelProto]:
    return {"static": quantise(floats, calibration, "static"), "dynamic": quantise(floats, None, "dynamic")}


def test_it_has_only_operators_of_the_standard_and_no_newer_versions(quantised: dict[str, ModelProto]) -> None:
    for model in quantised.values():
        assert violations(model.SerializeToString()) == []
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
        assert model.ir_version == 8
        assert {node.domain for node in model.graph.node} == {""}
        assert not [i for i in model.graph.initializer if i.data_location == TensorProto.EXTERNAL]


def test_the_products_are_in_integers_and_the_softmax_is_not(quantised: dict[str, ModelProto]) -> None:
    operators = {method: [node.op_type for node in model.graph.node] for method, model in quantised.items()}
    assert (operators["dynamic"].count("ConvInteger"), operators["dynamic"].count("MatMulInteger")) == (2, 3)
    assert not {"Conv", "Gemm", "MatMul"} & set(operators["dynamic"])
    assert operators["static"][-1] == operators["dynamic"][-1] == "Softmax"
    dequantised = {n.output[0] for n in quantised["static"].graph.node if n.op_type == "DequantizeLinear"}
    products = [n for n in quantised["static"].graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(products) == 5
    assert all(set(node.input) <= dequantised for node in products)


def test_weights_have_seven_bits_and_a_scale_a_channel(quantised: dict[str, ModelProto], floats: ModelProto) -> None:
    stored = {i.name: numpy_helper.to_array(i) for i in quantised["static"].graph.initializer}
    given = {i.name: numpy_helper.to_array(i) for i in floats.graph.initializer}
    weight, scale = stored["conv2.weight_quantized"], stored["conv2.weight_scale"]
    assert weight.dtype == np.int8
    assert scale.shape == (16,)
    assert np.abs(weight.astype(int)).max() == 64
    np.testing.assert_allclose(scale, np.abs(given["conv2.weight"]).max((1, 2, 3)) / 64, rtol=1e-6)
    np.testing.assert_allclose(weight * scale.reshape(-1, 1, 1, 1), given["conv2.weight"], atol=scale.max() / 2 + 1e-7)


def test_it_computes_nearly_the_same_and_is_a_third_as_large(
    quantised: dict[str, ModelProto], floats: ModelProto, data: Path
) -> None:
    images, labels = (part[:2000] for part in tensors.load(data, train=False))
    exact = run_onnx(floats.SerializeToString(), images).argmax(1)
    for model in quantised.values():
        predicted = run_onnx(model.SerializeToString(), images).argmax(1)
        assert 0 < (predicted != exact).sum() < 60, "of 2,000"
        assert abs((predicted != labels.numpy()).mean() - (exact != labels.numpy()).mean()) < 0.01
        assert model.ByteSize() < floats.ByteSize() / 3


def test_only_with_dynamic_quantisation_the_result_depends_on_the_batch(
    quantised: dict[str, ModelProto], data: Path
) -> None:
    images = tensors.load(data, train=False)[0][:16]
    for method, depends in (("static", False), ("dynamic", True)):
        model = quantised[method].SerializeToString()
        together, alone = run_onnx(model, images), run_onnx(model, images, batch=1)
        assert (np.abs(together - alone).max() > 1e-4) == depends


def test_the_metadata_is_that_of_the_float_model_and_the_method(
    quantised: dict[str, ModelProto], floats: ModelProto
) -> None:
    of_floats = {p.key: p.value for p in floats.metadata_props}
    methods = {
        "static": "static, QDQ, activations uint8, weights int8 of 7 bits a channel, "
        "calibrated on the first 512 training images",
        "dynamic": "dynamic, activations uint8 with the range of each batch, weights uint8 of 7 bits a tensor",
    }
    for method, model in quantised.items():
        assert {p.key: p.value for p in model.metadata_props} == {**of_floats, "int8": methods[method]}
        assert model.producer_name == floats.producer_name


AGAIN = """
import hashlib, sys, onnx, torch
from export.quantisation import quantise
model, images = onnx.load(sys.argv[1]), torch.load(sys.argv[2])
for method in "static", "dynamic":
    print(hashlib.sha256(quantise(model, images, method).SerializeToString(deterministic=True)).hexdigest())
"""


def test_two_processes_make_the_same_bytes_and_print_nothing(
    trained: Trained, calibration: Tensor, tmp_path: Path
) -> None:
    torch.save(calibration[:64].clone(), tmp_path / "images.pt")
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-c", AGAIN, str(trained.artifacts.run("gap", 0).onnx), str(tmp_path / "images.pt")]
    printed = set()
    for seed in "1", "2":
        own = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "TMPDIR": str(tmp_path / "temporary")}
        result = subprocess.run(command, env={**os.environ, **own}, cwd=tmp_path, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
        printed.add(result.stdout)
    assert len(printed) == 1
    assert len(printed.pop().split()) == 2
    left = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert set(left) <= {".ses"}, "which ONNX Runtime writes when it is imported"


def test_it_does_not_change_the_model_or_the_logging_of_the_caller(floats: ModelProto) -> None:
    before, handlers = floats.SerializeToString(), logging.root.handlers[:]
    quantise(floats, None, "dynamic")
    assert floats.SerializeToString() == before
    assert logging.root.handlers == handlers


def test_a_model_without_products_is_refused() -> None:
    shape: list[str | int | None] = ["batch", 4]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "probabilities")]
    node = helper.make_node("Softmax", ["image"], ["probabilities"])
    model = helper.make_model(
        helper.make_graph([node], "g", value[:1], value[1:]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    with pytest.raises(StudyError, match="expected a model with Conv, Gemm, MatMul to quantise, found none"):
        quantise(model, None, "dynamic")


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_a_weight_that_several_layers_share_is_quantised_in_each(method: Literal["static", "dynamic"]) -> None:
    """The linear layer w of 784 inputs twice, on the image and on its half, and s twice in a row."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(784, 10)) / 28, "s": random.normal(size=(10, 10)) / 3, "half": np.array(0.5)}
    nodes = [
        helper.make_node("Flatten", ["image"], ["rows"]),
        helper.make_node("Mul", ["rows", "half"], ["dark"]),
        helper.make_node("Gemm", ["rows", "w"], ["a"]),
        helper.make_node("Gemm", ["dark", "w"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("MatMul", ["c", "s"], ["d"]),
        helper.make_node("MatMul", ["d", "s"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    images = torch.tensor(random.integers(256, size=(64, 1, 28, 28)), dtype=torch.uint8)
    x = images.numpy().reshape(64, 784) / 255
    exact = x @ weights["w"] * 1.5 @ weights["s"] @ weights["s"]
    found = run_onnx(quantise(model, images, method).SerializeToString(), images)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
