"""Two commands export the same run: what one has finished, the other does not make again, or remove."""

from pathlib import Path

import pytest

from export.__main__ import main
from export.outcome import NOT_PROVEN, Outcome
from export.ray_exports import keep
from study import catalogue
from study.data import tensors
from study.remote.tasks import Message
from tests.conftest import Trained


def test_an_export_that_is_finished_while_the_images_are_loaded_is_not_made_again(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts, load = trained.copy(tmp_path / "a"), tensors.load
    files = artifacts.run("gap", 0)
    made = files.onnx.read_bytes()
    files.onnx.unlink()

    def meanwhile(*given: object, **named: object) -> object:
        files.onnx.write_bytes(made)
        return load(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(tensors, "load", meanwhile)
    assert main(["gap", "--artifacts", str(artifacts.root)]) == 0
    assert capsys.readouterr().out == f"gap seed 0: {files.onnx} is current: nothing to do\n"


def test_what_a_worker_removes_stays_if_another_command_has_made_it_meanwhile(trained: Trained, tmp_path: Path) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0)
    outcome = keep((catalogue.entry("gap"), files), Message(Outcome(NOT_PROVEN, "FAILED"), last=True))
    assert outcome.line == f"gap seed 0: {files.onnx} is current: nothing to do"
    assert files.onnx.exists()
