"""Every bad input is answered by one line and exit code 2: what was expected, what was found, what to run."""

import shutil
from pathlib import Path

import pytest

from study.artifacts import Artifacts
from tests.bad_inputs import files
from tests.bad_inputs.answers import answer
from tests.bad_inputs.rows import Row
from tests.study.test_seal import write_all

ROWS = (*files.rows(),)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind, which nothing is wrong with."""
    folder = tmp_path_factory.mktemp("sound")
    write_all(Artifacts(folder / "artifacts"))
    shutil.copy(folder / "artifacts" / "bench.json", folder / "new.json")
    return folder


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_bad_input_is_one_line_and_code_2(row: Row, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    shutil.copytree(sound, folder)
    row.prepare(folder)
    found = answer(row.words, folder, **dict(row.variables))
    assert found.code == 2, found
    assert found.errors.startswith("error: ")
    assert found.errors.count("\n") == 1, found.errors
    assert row.answer.replace("{dir}", str(folder)) in found.errors, found.errors
    assert "Traceback" not in found.errors
