"""The exported file: its form, its metadata, the proof that it computes the same, and what happens when it does not."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export import portable
from export.__main__ import export
from study import catalogue, checkpoints, images
from study.artifacts import Artifacts, RunFiles, read_json, sha256
from study.parity import compare
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
    assert [p.name for p in files.folder.glob("model*")] == ["model.onnx"]


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
    mended = run("export", "gap", "--artifacts", artifacts.root)
    assert mended.returncode == 0
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
    assert "unused" not in [i.name for i in model.graph.initializer]
    np.testing.assert_array_equal(evaluate(model), before)
