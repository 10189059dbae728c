"""Packs: models with inputs and expected outputs, what verifies them, and packs that are damaged, wrong or hostile."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test import loader
from onnx.reference import ReferenceEvaluator

from export.__main__ import main
from export.pack import files as pack_files
from export.pack import verify
from study.catalogue import entry
from study.networks import build
from study.record_files import read_record, write_record
from study.records.export import ExportRecord
from study.records.pack import PackedOutput, PackRecord
from tests.conftest import ROOT, Trained
from tests.study.modules.test_building import SAMPLE
from tests.support.records import ENVIRONMENT, run_record

WEIGHTS = np.array([[0.5, 0.25], [0.25, 0.75]], np.float32)
GIVEN = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
EXPECTED = np.array([[0.5, 0.25], [0.25, 0.75], [0.75, 1.0]], np.float32)
"""By hand: the rows of the weights, and their sum."""


def model(folder: Path) -> onnx.ModelProto:
    """A product with `WEIGHTS`."""
    value = helper.make_tensor_value_info
    inputs, outputs = value("image", 1, ["batch", 2]), value("probabilities", 1, ["batch", 2])
    node = helper.make_node("MatMul", ["image", "w"], ["probabilities"])
    graph = helper.make_graph([node], "g", [inputs], [outputs], [numpy_helper.from_array(WEIGHTS, "w")])
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(made, folder / "model.onnx")
    return made


def seal(folder: Path, **changes: Any) -> None:
    """Write a valid pack.json for the files in the folder, wrong ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "pack.json")
    record = PackRecord(
        model=folder.name,
        expected="by hand",
        weights_sha256=None,
        seed=0,
        given="by hand",
        dataset=run_record("baseline", 0).dataset,
        images=3,
        inputs=("image",),
        outputs=(PackedOutput(name="probabilities", limit_abs=1e-5, limit_rel=0.0),),
        files={file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        environment=ENVIRONMENT,
    )
    write_record(folder / "pack.json", structs.replace(record, **changes))


def put(path: Path, array: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(numpy_helper.from_array(array).SerializeToString())


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of one model, made by hand."""
    folder = tmp_path / "packs" / "mine"
    folder.mkdir(parents=True)
    model(folder)
    (folder / "data.json").write_text('{"atol": 1e-05, "rtol": 0.0}')
    put(folder / "test_data_set_0" / "input_0.pb", GIVEN)
    put(folder / "test_data_set_0" / "output_0.pb", EXPECTED)
    seal(folder)
    return folder


def verified(capsys: pytest.CaptureFixture[str], *packs: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    capsys.readouterr()
    code = main(["verify", *map(str, packs)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_pack_made_by_hand_is_verified_whole_or_by_model(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"{pack}: largest difference 0.0e+00, 0% of its limit, the class of each of 3 images is the same\n"
    assert verified(capsys, pack.parent, pack) == (0, line * 2, "")


def test_a_changed_or_missing_file_is_named_before_any_is_loaded(
    pack: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("it was loaded")

    for name in ("check_model", "arrays"):
        monkeypatch.setattr(pack_files, name, load)
    monkeypatch.setattr(verify, "compared", load)
    shutil.copytree(pack, whole := pack.parent.parent / "whole")
    files = [path for path in pack.rglob("*") if path.is_file()]
    assert len(files) == 5
    for file in files:
        content = file.read_bytes()
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        code, output, error = verified(capsys, pack)
        assert (code, output, error.count("\n")) == (2, "", 1)
        assert str(file) in error
        file.unlink()
        code, output, error = verified(capsys, pack)
        assert (code, output) == (2, "")
        assert error.startswith(f"error: {pack}")
        shutil.copytree(whole, pack, dirs_exist_ok=True)


def test_an_output_that_differs_fails_and_the_line_says_how(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = pack / "test_data_set_0" / "output_0.pb"
    other = EXPECTED.copy()
    other[1, 1] += 0.25
    put(output, other)
    seal(pack)
    code, line, error = verified(capsys, pack)
    assert (code, error) == (1, "")
    assert "FAILED, largest difference 2.5e-01, 2.5e+04 times its limit" in line
    assert "the class of each of 3 images is the same: output 'probabilities' (float32 [3, 2]) differs" in line

    put(output, EXPECTED[:, ::-1].copy())
    seal(pack, outputs=(PackedOutput(name="probabilities", limit_abs=1.0, limit_rel=0.0),), images=1)
    code, line, _ = verified(capsys, pack)
    assert code == 1
    assert line.endswith("FAILED, largest difference 5.0e-01, 50% of its limit, another class for 3 of 3 images\n")

    put(output, EXPECTED[:2])
    seal(pack)
    code, line, _ = verified(capsys, pack)
    assert code == 1
    assert line.startswith(f"{pack}: FAILED, output 'probabilities' differs from PyTorch's: float32 [3, 2] instead of")


def test_a_model_that_does_not_run_fails(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(pack / "test_data_set_0" / "input_0.pb", np.zeros((3, 5), np.float32))
    seal(pack)
    code, line, error = verified(capsys, pack)
    assert (code, error, line.count("\n")) == (1, "", 1)
    assert "does not run it" in line


def test_the_record_of_another_model_is_no_record_of_this_one(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = pack.with_name("other")
    shutil.copytree(pack, other)
    put(other / "test_data_set_0" / "output_0.pb", EXPECTED * 2)
    seal(other, outputs=(PackedOutput(name="probabilities", limit_abs=9.0, limit_rel=0.0),))
    shutil.copy(other / "pack.json", pack)
    code, line, error = verified(capsys, pack.parent)
    assert (code, error.count("\n")) == (2, 1)
    assert f"{pack / 'test_data_set_0' / 'output_0.pb'}: expected sha256" in error
    assert line.startswith(f"{other}: largest difference")  # the others are verified all the same


def test_no_file_outside_the_pack_is_read(pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those who make a pack can seal it: what it says is checked too."""
    secret = pack.parent.parent / "secret"
    secret.write_bytes(EXPECTED.tobytes())
    path = pack / "test_data_set_0" / "output_0.pb"
    put(path, EXPECTED)
    external = TensorProto.FromString(path.read_bytes())
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    external.external_data.add(key="location", value=str(secret))
    path.write_bytes(external.SerializeToString())
    seal(pack)
    code, line, error = verified(capsys, pack)
    assert (code, line) == (2, "")
    assert "values are elsewhere" in error

    put(path, EXPECTED)
    made = model(pack)
    made.graph.initializer[0].CopyFrom(TensorProto(name="w", data_type=1, dims=[2, 2]))
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="../../secret")
    (pack / "model.onnx").write_bytes(made.SerializeToString())
    seal(pack)
    assert "expected weights inside" in verified(capsys, pack)[2]

    model(pack)
    seal(pack)
    record = read_record(pack / "pack.json", PackRecord, "")
    put(pack / "test_data_set_1" / "input_0.pb", GIVEN)
    assert "found another one" in verified(capsys, pack)[2]  # which onnx_test_runner would run
    write_record(pack / "pack.json", structs.replace(record, inputs=("image", "more")))
    assert "expected a file for each input and output" in verified(capsys, pack)[2]
    with pytest.raises(ValueError, match="matching regex"):
        write_record(pack / "pack.json", structs.replace(record, files={"../../secret": "0" * 64}))


def test_the_trained_models_are_packed_with_what_pytorch_computes(
    trained: Trained, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, output = trained.artifacts.root, tmp_path / "onnx" / "packs"
    words = ["pack", "gap", "--artifacts", str(root), "--output", str(output)]
    assert main(words) == 0
    pixels = np.fromfile(data / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte", np.uint8)[16 : 16 + 64 * 784]
    images = (pixels.reshape(64, 1, 28, 28) / np.float32(255)).astype(np.float32)
    network = build(entry("gap"))
    network.load_state_dict(torch.load(trained.artifacts.run("gap", 0).checkpoint, weights_only=True))
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(images)).softmax(1).numpy()

    (case,) = loader.load_model_tests(str(output.parent), output.name)  # as onnx's own tests are found
    folder = Path(str(case.model_dir))
    given, wanted = (onnx.load_tensor(folder / "test_data_set_0" / f"{name}_0.pb") for name in ("input", "output"))
    assert (case.name, given.name, wanted.name, case.atol, case.rtol) == (
        "test_gap",
        "image",
        "probabilities",
        1e-5,
        0.0,
    )
    np.testing.assert_array_equal(numpy_helper.to_array(given), images)
    np.testing.assert_allclose(numpy_helper.to_array(wanted), expected, atol=1e-6)
    outputs: Any = ReferenceEvaluator(str(folder / "model.onnx")).run(None, {given.name: images})
    np.testing.assert_allclose(outputs[0], numpy_helper.to_array(wanted), atol=case.atol, rtol=case.rtol)

    moved = shutil.copytree(output, tmp_path / "moved")
    elsewhere = ["verify", str(moved)]
    script = f"import sys; sys.modules['torch'] = None; from export.__main__ import main; main({elsewhere})"
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert result.stdout.startswith(f"{moved / 'test_gap'}: largest difference"), result.stderr
    assert "the class of each of 64 images is the same" in result.stdout

    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out == f"gap: {output / 'test_gap'} is current: nothing to do\n"
    (folder / "model.onnx").write_bytes(b"")
    assert main(words) == 0
    assert (folder / "model.onnx").read_bytes() == trained.artifacts.run("gap", 0).onnx.read_bytes()
    (folder / "notes.txt").touch()
    (folder / "model.onnx").unlink()
    assert main(words) == 2
    assert f"found {folder / 'notes.txt'}; choose another --output" in capsys.readouterr().err
    assert sorted(path.name for path in output.iterdir()) == ["test_gap"]


def test_a_file_that_computes_something_else_than_pytorch_is_not_packed(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its export.json says that it is right: the expected outputs are from the checkpoint, not from the file."""
    files = trained.copy(tmp_path / "copy").run("gap", 0)
    made = onnx.load(files.onnx)
    weights = made.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.5), weights.name))
    onnx.save(made, files.onnx)
    digest = hashlib.sha256(files.onnx.read_bytes()).hexdigest()
    write_record(files.export, structs.replace(read_record(files.export, ExportRecord, ""), onnx_sha256=digest))
    assert main(["pack", "gap", "--artifacts", str(tmp_path / "copy")]) == 1
    assert capsys.readouterr().err.startswith("error: gap: not packed: FAILED, largest difference ")
    assert list((tmp_path / "copy" / "pack").iterdir()) == []


def test_a_module_is_packed_with_the_inputs_of_its_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--input", "x=float32[batch,4]", "--artifacts", str(tmp_path)]
    assert main(["--module", f"{SAMPLE}:Linear", *words]) == 0
    assert main(["pack", "Linear", "--artifacts", str(tmp_path)]) == 0
    code, line, error = verified(capsys, tmp_path / "pack")
    assert (code, error) == (0, "")
    assert line.endswith("6 calls\n")
    pack = tmp_path / "pack" / "test_Linear"
    torch.manual_seed(0)
    weights = torch.nn.Linear(4, 3)
    shapes = []
    for folder in sorted(pack.glob("test_data_set_*")):
        given, wanted = (numpy_helper.to_array(onnx.load_tensor(folder / f"{n}_0.pb")) for n in ("input", "output"))
        shapes.append(given.shape)
        with torch.inference_mode():
            np.testing.assert_allclose(wanted, weights(torch.from_numpy(given.copy())).numpy(), atol=1e-6)
    assert shapes == [(1, 4), (1, 4), (2, 4), (2, 4), (7, 4), (7, 4)]
