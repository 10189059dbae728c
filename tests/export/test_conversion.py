"""The exported file: its form, its metadata, its variants, and the edits that make it portable."""

import copy
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export import conversion
from export.conversion import convert, finished
from export.exporter import export
from export.parity import run_onnx
from export.portable import edits, folding, opsets
from export.portable.rules import violations
from export.portable.simplification import simplify
from export.quantisation import calibration_images
from study import catalogue, checkpoints
from study.artifacts import RunFiles
from study.data import tensors
from study.errors import StudyError
from study.files import sha256
from study.networks import build
from study.record_files import read_record
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.variants import OPSETS, STANDARD, Variant
from tests.conftest import Trained


@pytest.fixture
def files(trained: Trained) -> RunFiles:
    return trained.artifacts.run("gap", 0)


@pytest.fixture(scope="module")
def from_torch(trained: Trained) -> onnx.ModelProto:
    """The output of torch's exporter for the trained network, which all variants start from."""
    network = checkpoints.load(catalogue.entry("gap"), trained.artifacts.run("gap", 0))
    return conversion.from_torch(network, (1, 28, 28))


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# ---- the standard form


def test_names_shapes_and_versions_are_those_of_the_contract(files: RunFiles) -> None:
    model = onnx.load(files.onnx, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    described = [helper.printable_value_info(v) for v in (*model.graph.input, *model.graph.output)]
    assert described == ["%image[FLOAT, batchx1x28x28]", "%probabilities[FLOAT, batchx10]"]
    assert not [i for i in model.graph.initializer if i.data_location == TensorProto.EXTERNAL]
    assert sorted(p.name for p in files.folder.glob("model*")) == ["model.md", "model.onnx"]


def test_only_operators_that_every_runtime_loads(trained: Trained) -> None:
    def of(name: str) -> list[str]:
        return operators(onnx.load(trained.artifacts.run(name, 0).onnx))

    features = ["Sub", "Div", *["Conv", "Relu", "MaxPool"] * 2]
    assert of("baseline") == [*features, "Flatten", "Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]
    assert of("gap") == [*features, "Conv", "Relu", "Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten", "Softmax"]


def test_the_initializers_are_the_checkpoint_bit_for_bit(trained: Trained) -> None:
    for model in ("baseline", "gap"):
        files = trained.artifacts.run(model, 0)
        state = torch.load(files.checkpoint, weights_only=True)
        stored = {i.name: numpy_helper.to_array(i) for i in onnx.load(files.onnx).graph.initializer}
        assert {name: stored[name].tobytes() for name in state} == {n: t.numpy().tobytes() for n, t in state.items()}
        others = sorted(float(array) for name, array in stored.items() if name not in state)
        assert others == [pytest.approx(0.2860), pytest.approx(0.3530)], "mean and std, nothing else"


def test_no_path_of_this_machine_is_in_the_file(files: RunFiles) -> None:
    content = files.onnx.read_bytes()
    for trace in (b".py", b"File ", b"site-packages", str(Path.cwd()).encode(), b"stack_trace"):
        assert trace not in content
    model = onnx.load(files.onnx)
    assert not [n.name for n in model.graph.node if n.metadata_props or n.doc_string]


def test_the_metadata_describes_the_run(files: RunFiles) -> None:
    run = read_record(files.record, RunRecord, "")
    metadata = {p.key: p.value for p in onnx.load(files.onnx).metadata_props}
    assert (metadata["model"], metadata["seed"]) == ("gap", "0")
    assert metadata["classes"].split(", ")[0::9] == ["T-shirt/top", "Ankle boot"]
    assert float(metadata["test_error"]) == run.test_error
    assert int(metadata["parameters"]) == run.parameters
    assert metadata["checkpoint_sha256"] == sha256(files.checkpoint)
    assert f"torch {torch.__version__}" in metadata["versions"]


def test_one_session_computes_any_batch_size_as_the_checkpoint(files: RunFiles, data: Path) -> None:
    session = onnxruntime.InferenceSession(files.onnx.read_bytes(), providers=["CPUExecutionProvider"])
    network = checkpoints.load(catalogue.entry(files.model), files)
    images = tensors.load(data, train=False)[0][:64].float() / 255
    for batch in (1, 7, 64):
        (result,) = session.run(["probabilities"], {"image": images[:batch].numpy()})
        expected = torch.softmax(network(images[:batch]), 1).detach().numpy()
        assert result.shape == (batch, 10)
        np.testing.assert_allclose(result, expected, atol=1e-5)
        np.testing.assert_allclose(result.sum(1), 1, atol=1e-5)


def test_a_network_whose_file_would_break_a_rule_is_refused() -> None:
    class Distances(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (image - image.transpose(2, 3).flatten(2).unsqueeze(3)).flatten(1)

    with pytest.raises(
        StudyError, match=r"^Distances: its ONNX file would break rule R8 of .*: node .* broadcasts \[batch, 1"
    ):
        finished(convert(Distances(), (1, 1, 4), {}), "Distances", STANDARD)


# ---- variants

VARIANTS = [
    Variant(opset=17),
    Variant(opset=22, input="uint8"),
    Variant(simplify=True),
    Variant(int8="static"),
    Variant(int8="dynamic"),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_is_written_beside_the_standard_form(
    trained: Trained,
    data: Path,
    from_torch: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: Variant,
) -> None:
    monkeypatch.setattr(conversion, "from_torch", lambda *_: copy.deepcopy(from_torch))
    standard = trained.copy(tmp_path / "a").run("gap", 0)
    before = standard.onnx.read_bytes(), standard.export.read_bytes(), standard.card.read_bytes()
    files = standard.of(variant)
    images, labels = tensors.load(data, train=False)
    calibration = calibration_images(data, "fashion-mnist") if variant.int8 == "static" else None
    record = export(catalogue.entry("gap"), files, images[:1000], labels[:1000], calibration)

    assert before == (standard.onnx.read_bytes(), standard.export.read_bytes(), standard.card.read_bytes())
    assert (record.variant, standard.variants()) == (variant, [STANDARD, variant])
    assert read_record(files.export, ExportRecord, "") == record
    assert record.onnx_sha256 == sha256(files.onnx)
    assert variant.name in files.card.read_text()
    model = onnx.load(files.onnx)
    assert [(o.domain, o.version) for o in model.opset_import if not o.domain] == [("", variant.opset)]
    assert model.ir_version == (10 if variant.opset == 22 else 8)
    described = helper.printable_value_info(model.graph.input[0])
    assert described == f"%image[{'UINT8' if variant.input == 'uint8' else 'FLOAT'}, batchx1x28x28]"
    assert (record.parity.images, record.parity.argmax_mismatches == 0) == (1000, not variant.int8)
    if variant.int8:
        assert len(files.onnx.read_bytes()) < len(before[0])
        run = read_record(files.record, RunRecord, "")
        assert record.test_error_onnxruntime == pytest.approx(run.test_error, abs=0.03)
    else:
        assert record.parity.max_abs_difference <= 1e-5
        assert violations(files.onnx.read_bytes(), variant.opset) == []


def test_the_network_of_1998_goes_to_every_supported_opset() -> None:
    """It has Pad and Pow, which the converter does not convert below opset 18."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    exported = convert(build(catalogue.entry("lenet5-1998")).eval(), (1, 28, 28), {})

    def computed(opset: int) -> np.ndarray:
        model = onnx.ModelProto()
        model.CopyFrom(exported)
        content = opsets.convert(model, opset).SerializeToString()
        assert violations(content, opset) == []
        return run_onnx(content, images)  # on one thread: several add in another order each time

    expected = computed(18)
    for opset in OPSETS:
        np.testing.assert_array_equal(computed(opset), expected)


def test_without_onnxslim_the_message_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxslim", None)
    with pytest.raises(StudyError, match="pip install onnxslim"):
        simplify(onnx.ModelProto())


# ---- the edits, on graphs made by hand


def graph(nodes: list[onnx.NodeProto], constants: Mapping[str, int | list[int]]) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "hand-made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()],
        value_info=[helper.make_tensor_value_info("h", TensorProto.FLOAT, ["batch", 2, 3, 3])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def evaluate(model: onnx.ModelProto) -> np.ndarray:
    x = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3)
    outputs: list[np.ndarray] = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})  # type: ignore[assignment]
    return outputs[0]


EDITED = {
    "a flatten": (helper.make_node("Reshape", ["h", "c"], ["y"], allowzero=1), [-1, 18], "Flatten"),
    "a global average": (helper.make_node("ReduceMean", ["h", "c"], ["y"], keepdims=1), [-1, -2], "GlobalAveragePool"),
    "a reshape that splits images": (helper.make_node("Reshape", ["h", "c"], ["y"]), [-1, 6], "Reshape"),
    "another reshape": (helper.make_node("Reshape", ["h", "c"], ["y"]), [-1, 2, 9], "Reshape"),
    "a reshape without a zero": (helper.make_node("Reshape", ["h", "c"], ["y"], allowzero=1), [-1, 2, 9], "Reshape"),
    "a mean of one axis": (
        helper.make_node("ReduceMean", ["h", "c"], ["y"], keepdims=1),
        [3],
        "Reshape AveragePool Reshape",
    ),
    "a mean of the channels": (
        helper.make_node("ReduceMean", ["h", "c"], ["y"], keepdims=0),
        [-3],
        "Reshape AveragePool Reshape",
    ),
    "a mean of two axes apart": (
        helper.make_node("ReduceMean", ["h", "c"], ["y"], keepdims=0),
        [1, -1],
        "Reshape AveragePool Reshape AveragePool Flatten",
    ),
    "a mean of everything": (helper.make_node("ReduceMean", ["h"], ["y"]), [1], "ReduceMean"),
    "a mean of the images": (helper.make_node("ReduceMean", ["h", "c"], ["y"]), [0], "ReduceMean"),
    "a square": (helper.make_node("Mul", ["h", "h"], ["y"]), [1], "Pow"),
    "a mean without axes kept": (
        helper.make_node("ReduceMean", ["h", "c"], ["y"], keepdims=0),
        [2, 3],
        "GlobalAveragePool Flatten",
    ),
}


def test_an_edit_keeps_what_the_graph_computes() -> None:
    for name, (node, constant, expected) in EDITED.items():
        model = graph([helper.make_node("Relu", ["x"], ["h"]), node], {"c": constant, "unused": [1]})
        before = evaluate(model)
        edits.make_portable(model, weights_prefix="network.")
        assert operators(model) == ["Relu", *expected.split()], name
        assert not [a for n in model.graph.node for a in n.attribute if a.name == "allowzero"], name
        assert "unused" not in [i.name for i in model.graph.initializer], name
        np.testing.assert_array_equal(evaluate(model), before, name)


def test_a_folded_scalar_stays_a_scalar() -> None:
    """As an index of rank 1 it would add an axis to the result."""
    nodes = [
        helper.make_node("Shape", ["x"], ["size"], start=2, end=3),
        helper.make_node("ReduceMax", ["size"], ["scalar"], keepdims=0),
        helper.make_node("Sub", ["scalar", "one"], ["last"]),
        helper.make_node("Gather", ["x", "last"], ["y"], axis=2),
    ]
    model = graph(nodes, {"one": 1})
    before = evaluate(model)
    folding.fold(model, {"x": np.zeros((2, 2, 3, 3), np.float32)}, {"x": np.zeros((3, 2, 3, 3), np.float32)})
    assert operators(model) == ["Gather"]
    np.testing.assert_array_equal(evaluate(model), before)


def test_a_reshape_that_infers_one_dimension_does_not_infer_the_batch_too() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["size"], start=0, end=1),
        helper.make_node("Concat", ["size", "rest"], ["target"], axis=0),
        helper.make_node("Relu", ["x"], ["h"]),
        helper.make_node("Reshape", ["h", "target"], ["y"]),
    ]
    model = graph(nodes, {"rest": [-1, 3]})
    before = evaluate(model)
    folding.fold(model, {"x": np.zeros((2, 2, 3, 3), np.float32)}, {"x": np.zeros((3, 2, 3, 3), np.float32)})
    np.testing.assert_array_equal(evaluate(model), before)


def test_a_weight_is_renamed_within_branches_too() -> None:
    branch = helper.make_graph(
        [helper.make_node("Add", ["x", "network.w"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    model = graph([helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)], {})
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "network.w"))
    before = evaluate(model)
    edits.rename_weights(model.graph, "network.")
    assert [tensor.name for tensor in model.graph.initializer] == ["yes", "w"]
    np.testing.assert_array_equal(evaluate(model), before)


@pytest.mark.parametrize("size", [(4, 3, 5, 5), (4, 3, 7), (4, 3)])
def test_batch_normalisation_becomes_a_product_and_a_sum_with_constants_rounded_once(size: tuple[int, ...]) -> None:
    """A mean of 1,000 deviations: in float32 throughout, the offset would be wrong in its third digit."""
    random = np.random.default_rng(0)
    weights = {"scale": random.normal(size=3), "bias": random.normal(size=3), "mean": [1e3, -1e-3, 7]}
    weights |= {"variance": [1.0, 1e-9, 100]}
    constants = {name: np.array(values, np.float32) for name, values in weights.items()}
    node = helper.make_node("BatchNormalization", ["x", *constants], ["y"], epsilon=1e-5)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *size[1:]]) for name in "xy"]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:], tensors),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    edits.make_portable(model, weights_prefix="")
    assert operators(model) == ["Mul", "Add"]
    found = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    exact = {name: value.astype(np.float64) for name, value in constants.items()}
    factor = exact["scale"] / np.sqrt(exact["variance"] + float(np.float32(1e-5)))
    shape = (3,) + (1,) * (len(size) - 2)
    np.testing.assert_array_equal(found["y_factor"], factor.astype(np.float32).reshape(shape))
    offset = exact["bias"] - exact["mean"] * factor
    np.testing.assert_array_equal(found["y_offset"], offset.astype(np.float32).reshape(shape))
    assert violations(model.SerializeToString()) == []
    x = random.normal(size=size).astype(np.float32)
    (result,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(result, x * factor.reshape(shape) + offset.reshape(shape), rtol=1e-6, atol=1e-4)
