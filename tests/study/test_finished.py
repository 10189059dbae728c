"""Models without a finished run: every stage refuses a named one in the same words, and leaves out the others."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from study.artifacts import Artifacts
from study.errors import StudyError
from study.finished import finished
from tests.conftest import ROOT

COMMANDS = (
    "export baseline gap",
    "pytest bench --models baseline,gap",
    "analysis --models baseline,gap",
    "bench zeros gap",
    "analysis zeros gap",
    "analysis serve --models baseline,gap --no-browser",
)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Artifacts in which the baseline alone is trained, as far as the rule can see."""
    record = Artifacts(tmp_path).run("baseline", 0).record
    record.parent.mkdir(parents=True)
    record.touch()
    return Artifacts(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_named_model_that_is_not_trained_is_one_line_with_the_command_that_trains_it(
    artifacts: Artifacts, command: str
) -> None:
    words = (sys.executable, "-m", *command.split(), "--artifacts", str(artifacts.root))
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert [line.lower() for line in done.stderr.splitlines() if line] == [
        f"error: expected a finished run of gap in {artifacts.root}/models, found none; "
        f"run `python -m train gap --artifacts {artifacts.root}`".lower()
    ]
    assert done.returncode == 2


def test_of_models_that_nobody_named_those_without_a_run_are_left_out(
    artifacts: Artifacts, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Namespace(study="cnn5", data="a b")
    assert finished(artifacts, ["baseline", "gap", "l2-1e-4"], options, named=False) == ["baseline"]
    assert capsys.readouterr().err == (
        f"left out: expected a finished run of gap, l2-1e-4 in {artifacts.root}/models, found none; "
        f"run `python -m train gap l2-1e-4 --study cnn5 --data 'a b' --artifacts {artifacts.root}`\n"
    )
    with pytest.raises(StudyError, match="run `python -m train --study cnn5 --data 'a b' --artifacts "):
        finished(artifacts, ["gap"], options, named=False)
