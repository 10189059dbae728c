"""Any torch module becomes an ONNX file that is proven to compute the same, or is refused in one line."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import module_file
from export.__main__ import main
from export.module_reference import in_torch, subject_of
from study.artifacts import Artifacts
from study.entry import Entry
from study.errors import StudyError
from study.files import sha256
from study.modules.building import rebuild
from study.modules.files import ModuleFiles, module_files
from study.onnx_graph import dimensions
from study.record_files import read_record
from study.records.module import ModuleRecord
from tests.study.modules.sample import Linear
from tests.study.modules.test_building import SAMPLE


def export(root: Path, name: str, *words: str) -> ModuleRecord:
    assert main(["--module", f"{SAMPLE}:{name}", "--artifacts", str(root), *words]) == 0
    return read_record(files(root, name).record, ModuleRecord, "")


def files(root: Path, name: str) -> ModuleFiles:
    return module_files(Artifacts(root), name)


def signature(path: Path) -> dict[str, object]:
    graph = onnx.load(path, load_external_data=False).graph
    return {value.name: dimensions(value.type) for value in (*graph.input, *graph.output)}


def test_named_dimensions_inputs_and_outputs_are_those_of_the_module(tmp_path: Path) -> None:
    words = ["--input", "x=float32[batch,n,2]", "--input", "mask=bool[batch,n]", "--input", "unused=int64[batch]"]
    record = export(tmp_path, "ThreeOutputs", *words, "--size", "n=4")
    free = {"x": ("batch", "n", 2), "mask": ("batch", "n"), "unused": ("batch",)}
    assert signature(files(tmp_path, "ThreeOutputs").onnx) == free | {
        "kept": ("batch", "n", 2),
        "mask_out": ("batch", "n"),
        "count": ("batch",),
    }
    session = onnxruntime.InferenceSession(files(tmp_path, "ThreeOutputs").onnx)
    x, mask = np.arange(12, dtype=np.float32).reshape(2, 3, 2), np.array([[True, False, True], [False, True, False]])
    kept, again, count = session.run(None, {"x": x, "mask": mask, "unused": np.zeros(2, np.int64)})
    np.testing.assert_array_equal(kept, np.where(mask[:, :, None], 0, x))
    np.testing.assert_array_equal(again, mask)
    np.testing.assert_array_equal(count, [2, 1])
    assert (record.batches, record.fixed, record.notes) == ((1, 2, 7), {}, ())
    assert [one.shape for one in record.parity] == [("batch", "n", 2), ("batch", "n"), ("batch",)]


def test_the_sequence_of_a_recurrent_layer_stays_free(tmp_path: Path) -> None:
    record = export(tmp_path, "Recurrent", "--input", "x=float32[batch,time,3]", "--size", "time=6")
    x = np.random.default_rng(0).random((3, 9, 3), np.float32)
    (found,) = onnxruntime.InferenceSession(files(tmp_path, "Recurrent").onnx).run(None, {"x": x})
    with torch.inference_mode():
        expected = rebuild(record).network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_loop_over_the_batch_fixes_it_at_one_and_says_so(tmp_path: Path) -> None:
    record = export(tmp_path, "OneByOne", "--input", "x=float32[batch,4]")
    assert record.fixed == {"batch": 1}
    assert record.batches == (1,)
    assert "the file is fixed at batch=1" in record.notes[-1]
    assert signature(files(tmp_path, "OneByOne").onnx)["x"] == (1, 4)


def test_an_export_is_repeated_only_if_something_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--input", "x=float32[batch,4]", "--weights", str(tmp_path / "w.pt")]
    network = Linear()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    first = export(tmp_path, "Linear", *words)
    assert first.seed is None
    assert first.random == first.notes == ()
    assert first.weights_sha256 == sha256(tmp_path / "w.pt")
    export(tmp_path, "Linear", *words)
    assert "is current: nothing to do" in capsys.readouterr().out
    with torch.no_grad():
        network.fc.bias.add_(1)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    second = export(tmp_path, "Linear", *words)
    assert second.onnx_sha256 != first.onnx_sha256
    card = files(tmp_path, "Linear").card.read_text()
    assert second.onnx_sha256 in card
    assert str(tmp_path) not in card, "it has no private path"


def test_large_weights_lie_beside_the_file_and_two_exports_are_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_file, "LARGE", 0)
    monkeypatch.setattr(module_file, "KEPT", 0)
    words = ["--input", "ids=int64[batch,n]:0..9", "--size", "n=4"]
    record = export(tmp_path / "one", "Tied", *words)
    again = export(tmp_path / "two", "Tied", *words)
    assert (record.onnx_sha256, record.data_sha256) == (again.onnx_sha256, again.data_sha256)
    place = files(tmp_path / "one", "Tied")
    assert record.data_sha256 == sha256(place.data)
    assert record.bytes == place.onnx.stat().st_size + place.data.stat().st_size
    assert record.parameters == 40, "tied weights count once"
    names = ["model.md", "model.onnx", "model.onnx.data", "module.json"]
    assert sorted(path.name for path in place.folder.iterdir()) == names
    props = {one.key: one.value for one in onnx.load(place.onnx, load_external_data=False).metadata_props}
    assert props["weights"] == "random, torch.manual_seed(0)"
    assert props["inputs"] == "ids=int64[batch,n]:0..9"
    assert str(SAMPLE.parent) not in json.dumps(props)


def test_a_variant_of_a_module_is_refused_and_not_ignored(tmp_path: Path) -> None:
    words = ["--module", f"{SAMPLE}:Linear", "--input", "x=float32[batch,4]", "--artifacts", str(tmp_path)]
    with pytest.raises(StudyError, match=r"--int8 is for models that are trained here.*python -m export compact"):
        main([*words, "--int8", "dynamic"])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("name", "inputs", "reason"),
    [
        ("Dropping", ["x=float32[batch,4]"], r"in evaluation mode it drops out at sample.py:\d+"),
        (
            "Noisy",
            ["x=float32[batch,4]"],
            r"draws random numbers, aten.rand_like at sample.py:\d+; take them as an input",
        ),
        (
            "NoisyAtLargeBatches",
            ["x=float32[batch,4]"],
            r"^NoisyAt.*: expected the same .*draws random numbers, aten.rand",
        ),
        ("Overwriting", ["x=float32[batch,4]"], "^Overwriting: it changes its input 'x' in place; write x = x.mul"),
        ("Counting", ["x=float32[batch,4]"], "changes its buffer 'calls'; take it as an input and return it"),
        ("Leaving", ["x=float32[batch,4]"], r"does not run with x=float32\[batch,4\] at batch 1 \(SystemExit: 3"),
        ("Linear", ["x=float32[batch,5]"], r"does not run with x=float32\[batch,5\] at batch 1 \(RuntimeError: mat1"),
        (
            "Encoder",  # a token alone, which is drawn as padding or as none
            ["x=float32[batch,1,4]", "hidden=bool[batch,1]"],
            r"does not run with .*; hidden is drawn at random: .*, such as --input hidden=bool\[batch,1\]:false$",
        ),
    ],
)
def test_a_module_without_a_result_of_its_own_is_refused(name: str, inputs: Sequence[str], reason: str) -> None:
    subject = subject_of(Entry(name, f"{SAMPLE}:{name}", inputs=tuple(inputs)))
    with pytest.raises(StudyError, match=reason):
        in_torch(subject, subject.build())


def test_an_output_that_is_the_same_for_all_inputs_is_said_to_prove_little() -> None:
    subject = subject_of(Entry("mine", f"{SAMPLE}:Untrained", inputs=("x=float32[batch,4]",)))
    (note,) = in_torch(subject, subject.build()).notes
    assert note.startswith("output 'logits' is the same for all inputs, so that its proof shows little")
