"""`python -m export check`: its output, its exit codes, and files that are not models."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from export import check
from tests.conftest import ROOT, Trained
from tests.export.test_rules import good


@pytest.fixture
def portable(tmp_path: Path) -> Path:
    path = tmp_path / "good.onnx"
    onnx.save(good(), path)
    return path


def checked(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    code = check.main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_projects_own_exports_are_portable(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    files = [trained.artifacts.run(name, 0).onnx for name in ("baseline", "gap")]
    code, output, errors = checked(capsys, *files)
    assert (code, errors) == (0, "")
    assert output == "".join(f"{file}: portable (rules R1-R10, R13)\n" for file in files)


def test_the_violations_of_a_file_are_a_block_with_the_fixes(
    portable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = good()
    model.ir_version = 10
    model.graph.node[0].doc_string = "mine"
    model.graph.node[0].metadata_props.add(key="a", value="b")
    onnx.save(model, tmp_path / "bad.onnx")
    code, output, errors = checked(capsys, tmp_path / "bad.onnx", portable)
    assert (code, errors) == (1, "")
    assert output.splitlines() == [
        f"{tmp_path / 'bad.onnx'}: breaks R3, R9",
        "  R3  expected IR version 8 or lower, found 10",
        "      breaks: ONNX Runtime 1.15 to 1.17 refuse what is above 9",
        "      fix:    model.ir_version = 8",
        "  R9  node '/conv/Sub' (Sub) has a doc string",
        "  R9  node '/conv/Sub' (Sub) has metadata",
        "      breaks: no runtime, but it reveals details of the machine that made the file",
        "      fix:    clear doc_string and metadata_props of the graph and of everything in it",
        f"{portable}: portable (rules R1-R10, R13)",
    ]


def test_another_opset_can_be_expected(portable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(portable)
    model.opset_import[0].version = 17
    onnx.save(model, portable)
    assert checked(capsys, portable)[0] == 1
    assert checked(capsys, portable, "--opset", "17")[0] == 0


def test_a_file_that_is_not_a_model_is_an_error_and_the_others_are_checked(
    portable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.onnx").write_bytes(portable.read_bytes()[:-9])
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31 + 1)
    bad = [tmp_path / f"{name}.onnx" for name in ("cut", "text", "empty", "folder", "huge", "missing")]
    code, output, errors = checked(capsys, *bad, Path("/dev/zero"), portable)
    assert (code, output) == (2, f"{portable}: portable (rules R1-R10, R13)\n")
    for path, line in zip([*bad, "/dev/zero"], errors.splitlines(), strict=True):
        assert line.startswith(f"error: {path}: ")


def test_weights_in_another_file_are_a_violation_and_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = good()
    weight = model.graph.initializer[1]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/dev/zero")
    onnx.save(model, tmp_path / "outside.onnx")
    code, output, errors = checked(capsys, tmp_path / "outside.onnx")
    assert (code, errors) == (1, "")
    assert "  R1  tensor 'weight' lies in another file\n" in output


def test_a_name_from_a_file_cannot_control_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = good()
    model.graph.node[0].name = "a\x1b[2Jb\n"
    model.graph.node[0].op_type = "\x07"
    onnx.save(model, tmp_path / "bad.onnx")
    _, output, _ = checked(capsys, tmp_path / "bad.onnx")
    assert r"node 'a\x1b[2Jb\n' (\x07)" in output
    assert all(line.isprintable() for line in output.splitlines())


def test_it_needs_no_torch_no_onnxruntime_and_no_unicode_output(portable: Path) -> None:
    """Rule R12 too: the path is not ASCII, standard output is."""
    path = portable.rename(portable.with_name("gr\u00fcn.onnx"))
    script = f"""
import sys
sys.modules.update(dict.fromkeys(["torch", "onnxruntime", "torchvision"]))  # importing one now fails
from export.__main__ import main
sys.exit(main(["check", {str(path)!r}]))
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("gr\\xfcn.onnx: portable (rules R1-R10, R13)\n")
