"""`python -m export check`: its output, its exit codes, and files that are not models."""

import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from export import check
from export.conformance.runtimes import constraints
from export.portable.engines import ONNX_RUNTIME
from export.portable.remedies import STRIP
from export.portable.rules import OWN
from study.errors import StudyError
from tests.conftest import ROOT, Trained
from tests.support.rules import good


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


def test_a_foreign_file_fails_on_what_breaks_a_runtime_and_only_there(
    portable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = good()
    model.ir_version = 10
    model.graph.node[0].doc_string = "mine"
    model.graph.node[0].metadata_props.add(key="a", value="b")
    bad = tmp_path / "bad.onnx"
    onnx.save(model, bad)
    runtimes = "--runtimes", "onnxruntime,onnxruntime-1.16,tract,openvino-c++"
    code, output, errors = checked(capsys, bad, portable, *runtimes)
    assert (code, errors) == (1, "")
    reason = "R3: expected IR version 8 or lower, found 10; ONNX Runtime reads it from 1.18 on"
    assert output.splitlines() == [
        f"{bad}: breaks in 1 of 4 runtimes",
        "  R3  expected IR version 8 or lower, found 10; ONNX Runtime reads it from 1.18 on",
        "      breaks: ONNX Runtime 1.16.3",
        "      fix:    model.ir_version = 8",
        "  only differs from the portable form (rules R1-R10, R13):",
        "  R9  node '/conv/Sub' (Sub) has a doc string",
        "  R9  node '/conv/Sub' (Sub) has metadata",
        *(f"      {'' if n else 'fix:':7} {line}" for n, line in enumerate(STRIP.code.splitlines())),
        "  (fixes go between `import numpy, onnx; model = onnx.load(FILE)` and `onnx.save(model, FILE)`)",
        "  loads in, as expected from its opset, IR version and operators (not tried):",
        "    runtime              loads  reason",
        f"    -------------------  -----  {'-' * len(reason)}",
        f"    ONNX Runtime {constraints()['onnxruntime']}  yes",
        f"    ONNX Runtime 1.16.3  no     {reason}",
        f"    OpenVINO {constraints()['openvino']}    yes",
        f"    tract {constraints()['tract']}         yes",
        f"{portable}: portable (rules R1-R10, R13)",
    ]
    code, output, _ = checked(capsys, bad, "--runtimes", "onnxruntime,tract")
    assert (code, output.splitlines()[0]) == (0, f"{bad}: breaks in none of 2 runtimes")


def test_a_file_of_this_project_has_to_keep_every_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = good()
    model.graph.node[0].doc_string = "mine"
    onnx.save(model, tmp_path / "model.onnx")
    assert checked(capsys, tmp_path / "model.onnx")[0] == 0
    for key in OWN:
        model.metadata_props.add(key=key, value="1")
    onnx.save(model, tmp_path / "model.onnx")
    code, output, _ = checked(capsys, tmp_path / "model.onnx")
    assert code == 1
    assert "breaks R9, which every file of this project keeps; breaks in none of 11 runtimes" in output


def test_a_model_of_several_inputs_outputs_and_free_sizes_breaks_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As recognisers and voice detectors have them; OpenCV 4 and tract need sizes, ncnn the portable form."""
    value = onnx.helper.make_tensor_value_info
    shape: list[str | int | None] = ["n", 3, "height", "width"]
    nodes = [onnx.helper.make_node("Add", ["a", "b"], ["sum"]), onnx.helper.make_node("Relu", ["sum"], ["relu"])]
    inputs, outputs = ([value(name, 1, shape) for name in names] for names in (("a", "b"), ("sum", "relu")))
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", inputs, outputs), ir_version=7)
    model.opset_import[0].version = 11
    onnx.save(model, tmp_path / "model.onnx")
    code, output, _ = checked(capsys, tmp_path / "model.onnx")
    lines = output.splitlines()
    assert code == 0
    assert lines[0].endswith("breaks in none of 11 runtimes")
    assert "  R4  it has 2 inputs" in lines
    assert "python -m" not in output
    table = lines[lines.index("  loads in, as expected from its opset, IR version and operators (not tried):") + 1 :]
    assert [line.split("  ")[-1].strip() for line in table].count("yes") == 8
    reasons = [line.split(" not known  ")[1] for line in table if " not known " in line]
    assert reasons == [
        *["it runs some models with R4: 'a' has no fixed size in axes 2, 3 and 3 more"] * 2,
        "it runs models in the portable form",
    ]


def test_another_opset_can_be_expected(portable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(portable)
    model.opset_import[0].version = 17
    onnx.save(model, portable)
    assert "R2  expected opset 18, found 17" in checked(capsys, portable)[1]
    code, output, _ = checked(capsys, portable, "--opset", "17")
    assert (code, output) == (0, f"{portable}: portable (rules R1-R10, R13)\n")


def test_a_file_that_is_not_a_model_is_an_error_and_the_others_are_checked(
    portable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.onnx").write_bytes(portable.read_bytes()[:-9])
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31 + 1)
    os.mkfifo(tmp_path / "pipe.onnx")
    bad = [tmp_path / f"{name}.onnx" for name in ("cut", "text", "empty", "folder", "huge", "missing", "pipe")]
    code, output, errors = checked(capsys, *bad, Path("/dev/zero"), portable)
    assert (code, output) == (2, f"{portable}: portable (rules R1-R10, R13)\n")
    for path, line in zip([*bad, "/dev/zero"], errors.splitlines(), strict=True):
        assert line.startswith(f"error: {path}: ")


def test_an_opset_that_does_not_exist_is_a_mistake(portable: Path) -> None:
    with pytest.raises(StudyError, match="--opset: expected 14 to 26"):
        check.main([str(portable), "--opset", "99"])


def test_an_unknown_runtime_is_a_mistake(portable: Path) -> None:
    with pytest.raises(StudyError, match="no runtime is called 'netscape'; there are: onnxruntime, "):
        check.main([str(portable), "--runtimes", "netscape"])


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


def test_missing_weights_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(good(), tmp_path / "a.onnx", save_as_external_data=True, location="w.data", size_threshold=0)
    assert "lies in another file" in checked(capsys, tmp_path / "a.onnx")[1]
    (tmp_path / "w.data").unlink()
    code, output, errors = checked(capsys, tmp_path / "a.onnx")
    place = str(tmp_path / "w.data")
    assert (code, output) == (2, "")
    assert errors == f"error: {tmp_path / 'a.onnx'}: its weights are missing: {place!r}; put that file there\n"


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


def test_the_page_has_the_versions_that_the_check_knows() -> None:
    page = (ROOT / "docs" / "portability.md").read_text()
    table = re.findall(r"^\| (\d+)\.(\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    rows = [tuple(map(int, row)) for row in table]
    assert {(major, minor): (opset, ir) for major, minor, opset, ir in rows} == ONNX_RUNTIME
