"""`python -m export check`: what it says of a file, its exit codes, and what it does with files that are none."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from export import check
from tests.conftest import ROOT, Trained, run
from tests.export.test_rules import good


@pytest.fixture
def portable(tmp_path: Path) -> Path:
    path = tmp_path / "good.onnx"
    onnx.save(good(), path)
    return path


def outcome(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    code = check.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_projects_own_exports_are_portable(trained: Trained) -> None:
    """By the command as a user runs it, where standard output is ASCII."""
    files = [trained.artifacts.run(name, 0).onnx for name in ("baseline", "gap")]
    done = run("export", "check", *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"{file}: portable (rules R1-R10, R13)\n" for file in files)


def test_a_file_that_breaks_rules_is_told_of_in_a_block(
    portable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = good()
    model.ir_version = 10
    model.graph.node[0].doc_string = "mine"
    onnx.save(model, tmp_path / "bad.onnx")
    code, said, errors = outcome(capsys, tmp_path / "bad.onnx", portable)
    assert (code, errors) == (1, "")
    lines = said.splitlines()
    assert lines[0] == f"{tmp_path / 'bad.onnx'}: breaks R3, R9"
    assert lines[1:4] == [
        "  R3  expected IR version 8 or lower, found 10",
        "      breaks: ONNX Runtime 1.15 to 1.17 refuse what is above 9",
        "      mend:   model.ir_version = 8",
    ]
    assert lines[4] == "  R9  node '/conv/Sub' (Sub) has a doc string"
    assert lines[7:] == [f"{portable}: portable (rules R1-R10, R13)"]


def test_another_opset_can_be_meant(portable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(portable)
    model.opset_import[0].version = 17
    onnx.save(model, portable)
    assert outcome(capsys, portable)[0] == 1
    assert outcome(capsys, portable, "--opset", "17")[0] == 0


def test_what_is_no_model_is_named_and_the_others_are_checked(
    portable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.onnx").write_bytes(portable.read_bytes()[:-9])
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31 + 1)
    bad = [tmp_path / f"{name}.onnx" for name in ("cut", "text", "empty", "folder", "huge", "missing")]
    code, said, errors = outcome(capsys, *bad, Path("/dev/zero"), portable)
    assert code == 2
    assert said == f"{portable}: portable (rules R1-R10, R13)\n"
    told = errors.splitlines()
    assert len(told) == 7
    for path, line in zip([*bad, "/dev/zero"], told, strict=True):
        assert line.startswith(f"error: {path}: ")


def test_weights_in_another_file_are_a_break_and_not_looked_for(
    portable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = good()
    weight = model.graph.initializer[1]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/dev/zero")
    onnx.save(model, tmp_path / "outside.onnx")
    code, said, errors = outcome(capsys, tmp_path / "outside.onnx")
    assert (code, errors) == (1, "")
    assert "  R1  tensor 'weight' lies in another file\n" in said


def test_names_from_a_file_cannot_command_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = good()
    model.graph.node[0].name = "a\x1b[2Jb\n"
    model.graph.node[0].op_type = "\x07"
    onnx.save(model, tmp_path / "bad.onnx")
    _, said, _ = outcome(capsys, tmp_path / "bad.onnx")
    assert r"node 'a\x1b[2Jb\n' (\x07)" in said
    assert all(line.isprintable() for line in said.splitlines())


def test_it_needs_no_torch_and_no_onnxruntime(portable: Path) -> None:
    """Rule R12 too: the path is not ASCII, standard output is."""
    path = portable.rename(portable.with_name("gr\u00fcn.onnx"))
    script = f"""
import sys
sys.modules.update(dict.fromkeys(["torch", "onnxruntime", "torchvision"]))  # importing one now fails
from export.__main__ import main
sys.exit(main(["check", {str(path)!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("gr\\xfcn.onnx: portable (rules R1-R10, R13)\n")
