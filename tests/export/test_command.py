"""The exported file: its form, its metadata, the proof that it computes the same, and what happens when it does not."""

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.__main__ import calibration_images, export
from export.conversion import convert
from export.parity import LEAST, images_for
from export.portable import edits as portable
from export.portable import opsets
from export.portable.rules import violations
from study import catalogue, checkpoints
from study.artifacts import Artifacts, RunFiles, read_json, sha256
from study.data import tensors as images
from study.errors import StudyError
from study.networks import build
from study.parity import compare
from study.variants import STANDARD, Variant
from tests.conftest import Trained, run

MODELS = ("baseline", "gap")


@pytest.fixture(params=MODELS)
def files(request: pytest.FixtureRequest, trained: Trained) -> RunFiles:
    return trained.artifacts.run(request.param, 0)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# ---- the file


def test_names_shapes_and_versions_are_those_of_the_contract(files: RunFiles) -> None:
    model = onnx.load(files.onnx, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    described = [helper.printable_value_info(v) for v in (*model.graph.input, *model.graph.output)]
    assert described == ["%image[FLOAT, batchx1x28x28]", "%probabilities[FLOAT, batchx10]"]
    assert not [i for i in model.graph.initializer if i.data_location == TensorProto.EXTERNAL]
    assert sorted(p.name for p in files.folder.glob("model*")) == ["model.md", "model.onnx"]


def test_only_operators_that_load_everywhere(trained: Trained) -> None:
    def of(name: str) -> list[str]:
        return operators(onnx.load(trained.artifacts.run(name, 0).onnx))

    features = ["Sub", "Div", *["Conv", "Relu", "MaxPool"] * 2]
    assert of("baseline") == [*features, "Flatten", "Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]
    assert of("gap") == [*features, "Conv", "Relu", "Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten", "Softmax"]


def test_the_initializers_are_the_checkpoint_bit_for_bit(files: RunFiles) -> None:
    state = torch.load(files.checkpoint, weights_only=True)
    model = onnx.load(files.onnx)
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    assert set(state) <= set(stored)
    for name, tensor in state.items():
        assert stored[name].tobytes() == tensor.numpy().tobytes(), name
    others = {name: float(array) for name, array in stored.items() if name not in state}
    assert sorted(others.values()) == [pytest.approx(0.2860), pytest.approx(0.3530)], "mean and std, nothing else"


def test_no_path_of_this_machine_is_in_the_file(files: RunFiles) -> None:
    content = files.onnx.read_bytes()
    for trace in (b".py", b"File ", b"site-packages", str(Path.cwd()).encode(), b"stack_trace"):
        assert trace not in content
    model = onnx.load(files.onnx)
    assert not [n.name for n in model.graph.node if n.metadata_props or n.doc_string]


def test_the_file_says_what_it_is(files: RunFiles) -> None:
    trained = read_json(files.record, "run/1", "")
    told = {p.key: p.value for p in onnx.load(files.onnx).metadata_props}
    assert (told["model"], told["seed"]) == (files.model, "0")
    assert told["classes"].split(", ")[0::9] == ["T-shirt/top", "Ankle boot"]
    assert float(told["test_error"]) == trained["test_error"]
    assert int(told["parameters"]) == trained["parameters"]
    assert told["checkpoint_sha256"] == sha256(files.checkpoint)
    assert f"torch {torch.__version__}" in told["versions"]


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_any_batch_size_through_one_session(files: RunFiles, data: Path, batch: int) -> None:
    pictures, _ = images.load(data, train=False)
    batch_of = (pictures[:batch].float() / 255).numpy()
    session = onnxruntime.InferenceSession(files.onnx.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"image": batch_of})
    network = checkpoints.load(catalogue.entry(files.model), files)
    expected = torch.softmax(network(torch.from_numpy(batch_of)), 1).detach().numpy()
    assert found.shape == (batch, 10)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


# ---- the proof


def test_the_proof_is_over_all_test_images(files: RunFiles) -> None:
    record = read_json(files.export, "export/1", "")
    assert record["parity"]["images"] == 10_000
    assert 0 < record["parity"]["max_abs_difference"] <= 1e-5
    assert record["parity"]["argmax_mismatches"] == 0
    assert record["test_error_onnxruntime"] == pytest.approx(read_json(files.record, "run/1", "")["test_error"])
    assert record["onnx_sha256"] == sha256(files.onnx)
    assert record["bytes"] == files.onnx.stat().st_size
    assert (record["opset"], record["ir_version"]) == (18, 8)


def test_compare_by_hand() -> None:
    expected = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]], np.float32)
    found = np.array([[0.6, 0.4], [0.4, 0.6], [0.1, 0.9]], np.float32)
    result = compare(expected, found)
    assert (result.images, result.argmax_mismatches) == (3, 1)
    assert result.max_abs_difference == pytest.approx(0.1)
    assert not result.holds(1e-5)
    assert compare(expected, expected).holds(0)
    assert not compare(expected, np.full_like(expected, np.nan)).holds(1)


@pytest.mark.parametrize("amount", [1e-3, float("nan")])
def test_a_file_that_computes_something_else_is_not_left(
    trained: Trained, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amount: float
) -> None:
    from export import conversion

    convert = conversion.convert

    def wrong(*args: object) -> onnx.ModelProto:
        model = convert(*args)  # type: ignore[arg-type]
        bias = next(i for i in model.graph.initializer if i.dims == [10])
        values = numpy_helper.to_array(bias) + np.array([amount] + [0] * 9, np.float32)
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        return model

    monkeypatch.setattr(conversion, "convert", wrong)
    files = trained.copy(tmp_path / "a").run("gap", 0)
    assert files.onnx.exists()
    record = export(catalogue.entry("gap"), files, *images.load(data, train=False))
    assert set(record) == {"parity"}
    assert not files.onnx.exists()
    assert not files.export.exists()


def test_the_proof_of_a_large_network_is_over_its_first_images() -> None:
    """By the multiply-accumulates that the networks' own descriptions tell."""
    images = torch.zeros(10_000, 1, 28, 28, dtype=torch.uint8)
    for name, expected in {
        "baseline": (10_000, 10_000),
        "tuned": (20_000 / 4.24, 10_000),
        "mini-vgg": (20_000 / 26.0, 50_000 / 26.0),
        "convnet-7x7": (LEAST, 50_000 / 89.5),
    }.items():
        found = images_for(build(catalogue.entry(name)).eval(), images)
        assert found == pytest.approx(expected, rel=0.01), name
        assert images_for(build(catalogue.entry(name)).eval(), images[:20]) == (20, 20)


# ---- other forms

VARIANTS = [
    Variant(opset=17),
    Variant(opset=22, input="uint8"),
    Variant(simplify=True),
    Variant(int8="static"),
    Variant(int8="dynamic"),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_is_what_was_asked_for_and_lies_beside_the_standard_form(
    trained: Trained, data: Path, tmp_path: Path, variant: Variant
) -> None:
    standard = trained.copy(tmp_path / "a").run("gap", 0)
    before = standard.onnx.read_bytes(), standard.export.read_bytes(), standard.card.read_bytes()
    files = standard.of(variant)
    pictures, labels = images.load(data, train=False)
    calibration = calibration_images(data, "fashion-mnist") if variant.int8 == "static" else None
    record = export(catalogue.entry("gap"), files, pictures[:1000], labels[:1000], calibration)

    assert before == (standard.onnx.read_bytes(), standard.export.read_bytes(), standard.card.read_bytes())
    assert (record["variant"], standard.variants()) == (variant.record(), [STANDARD, variant])
    assert read_json(files.export, "export/1", "")["onnx_sha256"] == sha256(files.onnx)
    assert variant.name in files.card.read_text()
    model = onnx.load(files.onnx)
    assert [(o.domain, o.version) for o in model.opset_import if not o.domain] == [("", variant.opset)]
    assert model.ir_version == (10 if variant.opset == 22 else 8)
    described = helper.printable_value_info(model.graph.input[0])
    assert described == f"%image[{'UINT8' if variant.input == 'uint8' else 'FLOAT'}, batchx1x28x28]"
    assert (record["parity"]["images"], record["parity"]["argmax_mismatches"] == 0) == (1000, not variant.int8)
    if variant.int8:
        assert len(files.onnx.read_bytes()) < len(before[0])
        assert record["test_error_onnxruntime"] == pytest.approx(
            read_json(files.record, "run/1", "")["test_error"], abs=0.03
        )
    else:
        assert record["parity"]["max_abs_difference"] <= 1e-5
        assert violations(files.onnx.read_bytes(), variant.opset) == []


def test_the_network_of_1998_goes_to_every_opset_that_can_be_asked_for() -> None:
    """It has Pad and Pow, for which the converter knows no way below 18."""
    network = build(catalogue.entry("lenet5-1998")).eval()
    picture = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    made = convert(network, (1, 28, 28), {})

    def run_in(opset: int) -> np.ndarray:
        model = onnx.ModelProto()
        model.CopyFrom(made)
        model = opsets.bring_to(model, opset)
        content = model.SerializeToString()
        assert violations(content, opset) == []
        found: np.ndarray = onnxruntime.InferenceSession(content).run(None, {"image": picture})[0]
        return found

    for opset in opsets.OPSETS:
        np.testing.assert_array_equal(run_in(opset), run_in(18))


def test_an_opset_that_cannot_be_is_refused_before_anything_is_done(trained: Trained) -> None:
    for opset in ("13", "27", "-1"):
        refused = run("export", "gap", "--opset", opset, "--artifacts", trained.artifacts.root)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "expected 14 to 26" in refused.stderr


def test_without_onnxslim_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxslim", None)
    with pytest.raises(StudyError, match="pip install onnxslim"):
        convert(build(catalogue.entry("gap")).eval(), (1, 28, 28), {}, Variant(simplify=True))


def test_a_network_whose_file_would_break_a_rule_is_refused() -> None:
    class Squares(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (image * image).flatten(1)

    with pytest.raises(StudyError, match=r"Squares: its ONNX file would break rule R8: node .* one value as both"):
        convert(Squares(), (1, 4, 4), {})


# ---- again, stale, broken


def test_two_exports_give_the_same_bytes(trained: Trained, data: Path, tmp_path: Path) -> None:
    test = images.load(data, train=False)
    made = []
    for folder in ("a", "b"):
        files = trained.copy(tmp_path / folder).run("gap", 0)
        export(catalogue.entry("gap"), files, test[0][:500], test[1][:500])
        made.append(files.onnx.read_bytes())
    assert made[0] == made[1] == trained.artifacts.run("gap", 0).onnx.read_bytes()


def test_what_is_current_is_left_alone_and_what_is_not_is_made_again(trained: Trained, tmp_path: Path) -> None:
    artifacts = trained.copy(tmp_path / "a")
    files = artifacts.run("gap", 0)
    again = run("export", "gap", "--artifacts", artifacts.root)
    assert again.stdout == f"gap seed 0: {files.onnx} is current: nothing to do\n"
    before = files.onnx.read_bytes()
    files.onnx.write_bytes(before[:-1])
    # rule R12: the exporter prints a check mark where it is let
    mended = run("export", "gap", "--artifacts", artifacts.root, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert mended.returncode == 0
    assert mended.stdout.isascii()
    assert f"wrote {files.onnx}" in mended.stdout
    assert files.onnx.read_bytes() == before


def test_mistakes_are_one_line(trained: Trained, tmp_path: Path) -> None:
    nothing = run("export", "--artifacts", tmp_path)
    assert nothing.returncode == 2
    assert "run `python -m train` first" in nothing.stderr
    unknown = run("export", "gpa", "--artifacts", tmp_path)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)

    artifacts = trained.copy(tmp_path / "a")
    files = artifacts.run("gap", 0)
    files.onnx.unlink()
    files.checkpoint.write_bytes(b"\x80\x04not a checkpoint")
    refused = run("export", "gap", "--artifacts", artifacts.root)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert f"{files.checkpoint}: expected sha256" in refused.stderr
    assert not files.onnx.exists()


def test_a_checkpoint_that_runs_code_is_not_unpickled(trained: Trained, tmp_path: Path) -> None:
    """Even where its run.json vouches for it."""
    files = trained.copy(tmp_path / "a").run("gap", 0)
    flag = tmp_path / "executed"

    class Exploit:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(flag),)  # type: ignore[return-value]

    old = sha256(files.checkpoint)
    torch.save({"conv1.weight": Exploit()}, files.checkpoint)
    files.record.write_text(files.record.read_text().replace(old, sha256(files.checkpoint)))
    refused = run("export", "gap", "--artifacts", Artifacts(tmp_path / "a").root)
    assert refused.returncode == 2
    assert "does not hold the weights of" in refused.stderr
    assert not flag.exists()


# ---- the edits, on graphs made by hand


def graph(nodes: list[onnx.NodeProto], constants: dict[str, list[int]]) -> onnx.ModelProto:
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
    "a reshape of no zero": (helper.make_node("Reshape", ["h", "c"], ["y"], allowzero=1), [-1, 2, 9], "Reshape"),
    "a mean of one axis": (helper.make_node("ReduceMean", ["h", "c"], ["y"], keepdims=1), [3], "ReduceMean"),
    "a mean without axes kept": (helper.make_node("ReduceMean", ["h", "c"], ["y"], keepdims=0), [2, 3], "ReduceMean"),
}


@pytest.mark.parametrize("case", EDITED)
def test_an_edit_keeps_what_the_graph_computes(case: str) -> None:
    node, constant, expected = EDITED[case]
    model = graph([helper.make_node("Relu", ["x"], ["h"]), node], {"c": constant, "unused": [1]})
    before = evaluate(model)
    portable.bring_to_portable_form(model, weights_prefix="network.")
    assert operators(model) == ["Relu", expected]
    assert not [a for n in model.graph.node for a in n.attribute if a.name == "allowzero"]
    assert "unused" not in [i.name for i in model.graph.initializer]
    np.testing.assert_array_equal(evaluate(model), before)
