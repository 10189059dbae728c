"""Weights are stored as their nonzero values where that is smaller, and the commands say what they did."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from analysis.weights.layers import read
from export.compact import command
from export.compact.removal import NothingError
from export.compact.sparse import store_sparsely
from study.artifacts import Artifacts
from study.errors import StudyError
from study.files import sha256
from study.record_files import read_record
from study.records.compact import CompactRecord
from study.variants import Variant
from tests.export.compact.test_removal import f, network, two_layers, weights
from tests.support.modules import write_module


def diagonal(size: int) -> onnx.ModelProto:
    """Two layers of which the first is sparse enough: `size` of size * size weights are not zero."""
    return two_layers(np.eye(size, 2), np.zeros(size), np.ones((2, size)))


def test_the_sparse_form_is_taken_where_it_is_smaller() -> None:
    model = diagonal(20)
    dense = weights(model)["a.weight"]
    first, second = store_sparsely(model)
    assert (first.tensor, first.elements, first.nonzero) == ("a.weight", 40, 2)
    assert (first.dense_bytes, first.sparse_bytes) == (40 * 4, 2 * 12)
    assert (second.tensor, second.sparse_bytes) == ("b.weight", 40 * 12)
    (sparse,) = model.graph.sparse_initializer
    assert numpy_helper.to_array(sparse.indices).tolist() == [0, 3]
    assert "a.weight" not in weights(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = f([[3, 4]])
    assert session.run(None, {"x": x})[0].tolist() == [[7 + 10, 7 + 20]]
    assert dense.sum() == 2


def test_a_weight_of_zeros_alone_takes_no_bytes() -> None:
    model = two_layers(np.zeros((20, 2)), np.zeros(20), np.ones((2, 20)))
    first, _ = store_sparsely(model)
    assert (first.nonzero, first.sparse_bytes) == (0, 0)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": f([[3, 4]])})[0].tolist() == [[10, 20]]


def test_a_third_of_nonzero_weights_is_too_many() -> None:
    with pytest.raises(NothingError, match="the sparsest weight has 50% zeros"):
        store_sparsely(two_layers([[1, 0], [0, 1]], [0, 0], [[1, 2], [3, 4]]))


def test_the_command_writes_a_file_and_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(diagonal(20).SerializeToString())
    assert command.main([str(file)]) == 0
    made = tmp_path / "m-compact.onnx"
    record = read_record(made.with_suffix(".json"), CompactRecord, "")
    assert (record.source_sha256, record.onnx_sha256) == (sha256(file), sha256(made))
    assert (record.removed[0].before, record.removed[0].after) == (20, 2)
    assert record.max_rel_difference <= 1e-6
    assert "a 20 -> 2 units (18 constant, 0 unused)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.json", "expected a name that ends in .onnx"),
        ("", "expected a name that ends in .onnx"),
        ("folder.onnx", "expected the name of a file"),
        ("mine.onnx", "its record would replace .*mine.json"),
        ("m.onnx", "expected another file than"),
    ],
)
def test_nothing_else_is_replaced(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "m.onnx").write_bytes(diagonal(20).SerializeToString())
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "mine.json").write_text('{"my": "settings"}')
    with pytest.raises(StudyError, match=message):
        command.main([str(tmp_path / "m.onnx"), "-o", str(tmp_path / name)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.onnx", "m.onnx", "mine.json"]


def test_a_record_of_this_command_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(diagonal(20).SerializeToString())
    assert [command.main([str(tmp_path / "m.onnx"), "-o", str(tmp_path / "o.onnx")]) for _ in range(2)] == [0, 0]


def test_the_reader_of_weights_finds_the_same_ones_in_a_sparse_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(diagonal(20).SerializeToString())
    assert command.main([str(tmp_path / "m.onnx"), "--sparse"]) == 0
    one, other = (read(tmp_path / name).layers for name in ("m.onnx", "m-sparse.onnx"))
    assert [layer.weight.load().tolist() for layer in one] == [layer.weight.load().tolist() for layer in other]


def test_a_file_that_would_be_larger_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The constant of one unit becomes a bias of 100 numbers, as many as the weights that go with the unit."""
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "a", "c"], ["h"], transB=1),
        onnx.helper.make_node("Gemm", ["h", "b"], ["y"], transB=1),
    ]
    file = tmp_path / "m.onnx"
    tensors = {"a": f([[1], [0]]), "c": f([5, 6]), "b": f(np.ones((100, 2)))}
    file.write_bytes(network(nodes, tensors, ["n", 1]).SerializeToString())
    assert command.main([str(file)]) == 0
    assert "nothing gained: the new file would have" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.filterwarnings("error")
def test_infinite_weights_give_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.onnx"
    model = two_layers([[1, 2], [0, 0], [0, 0], [0, 0]], [1, 1, 1, 1], [[1, np.inf, -np.inf, 2], [1, 2, 3, 4]])
    file.write_bytes(model.SerializeToString())
    assert command.main([str(file)]) == 0
    assert capsys.readouterr().err == ""


def test_nothing_to_remove_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(two_layers([[1, 0], [0, 1]], [0, 0], [[1, 2], [3, 4]]).SerializeToString())
    assert command.main([str(file)]) == 0
    assert (
        "nothing to remove: none of 2 units between two layers is dead; no file is written" in capsys.readouterr().out
    )
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("first", "second", "written", "note"),
    [
        (np.eye(20, 2) + np.eye(20, 2, -18), np.ones((2, 20)), "a 20 -> 4 units", "nothing to store sparsely"),
        (np.tile([1, 0, 0, 0, 0, 0, 0, 0, 0, 1.0], (20, 1)), np.ones((2, 20)), "160 of 200 zeros", "nothing to remove"),
    ],
)
def test_what_applies_is_written_although_the_other_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: Any, second: Any, written: str, note: str
) -> None:
    file = tmp_path / "m.onnx"
    model = two_layers(first, np.zeros(20), second)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = first.shape[1]
    file.write_bytes(model.SerializeToString())
    assert command.main([str(file), "--remove-dead", "--sparse"]) == 0
    lines = capsys.readouterr().out
    assert written in lines
    assert f"note: {note}" in lines
    assert (tmp_path / "m-compact-sparse.onnx").is_file()


def test_a_module_is_named_and_gets_the_inputs_of_its_proof(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    dead = np.ones((3, 2), np.float32)
    dead[1] = 0
    write_module(artifacts, "mine", {"a": dead, "b": np.ones((2, 3), np.float32)}, inputs=("image=float32[batch,2]",))
    graph = onnx.load(artifacts.root / "modules" / "mine" / "model.onnx")
    assert graph.graph.input[0].name == "image"
    assert command.main(["mine", "--artifacts", str(tmp_path), "--shape", "image=4,2"]) == 0
    record = read_record(artifacts.zeros("mine") / "compact.json", CompactRecord, "")
    assert (record.removed[0].layer, record.removed[0].after) == ("a", 2)


def test_a_trained_model_is_exported_by_its_own_command(artifacts: Artifacts) -> None:
    with pytest.raises(StudyError, match="trained model: run `python -m export baseline --remove-dead`"):
        command.main(["baseline", "--artifacts", str(artifacts.root)])


def test_sparse_and_int8_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="--sparse and --int8: give one of them"):
        command.main([str(tmp_path / "m.onnx"), "--sparse", "--int8", "dynamic"])


def test_variants_are_named_after_what_was_done() -> None:
    assert Variant(remove_dead=True, int8="static").name == "compact-int8-static"
    assert Variant(remove_dead=True).options == " --remove-dead"
