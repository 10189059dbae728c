"""Every bad input is answered by one line and exit code 2: what was expected, what was found, what to run."""

import json
import shutil
from pathlib import Path

import onnx
import onnx.parser
import pytest

from study.artifacts import Artifacts
from tests.bad_inputs import command_lines, files, mixtures, surroundings
from tests.bad_inputs.answers import answer
from tests.bad_inputs.rows import Row
from tests.study.test_seal import write_all
from tests.support.study import resealed

ROWS = (*files.rows(), *command_lines.rows(), *surroundings.rows(), *mixtures.rows())
LONGEST = 1500


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind, which nothing is wrong with."""
    folder = tmp_path_factory.mktemp("sound")
    write_all(Artifacts(folder / "artifacts"))
    dated = {"datetime": "2026-11-28T21:00:00+00:00", **json.loads((folder / "artifacts" / "bench.json").read_text())}
    (folder / "new.json").write_text(json.dumps(resealed(dated)))
    relu = "g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> {relu}'), folder / "relu.onnx")
    return folder


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_bad_input_is_one_line_and_code_2(row: Row, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(sound, folder)
    row.prepare(folder)
    found = answer(row.words, folder, row.within)
    shutil.rmtree(folder, ignore_errors=True)  # of hundreds, which pytest would keep
    assert found.code == 2, found
    assert found.errors.startswith("error: ")
    assert found.errors.removesuffix("\n").isprintable(), found.errors
    assert len(found.errors) < LONGEST
    assert row.answer.replace("{dir}", str(folder)) in found.errors, found.errors
    assert "Traceback" not in found.errors
