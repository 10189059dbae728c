"""The script over onnx's backend models: what it counts, and that it notices a fault."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run
from tests.foreign import backend
from tests.support.confined import Outcome
from tests.support.notation import save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path, "[fc] y = MatMul(x, w)", {"w": np.eye(5, dtype=np.float32)})
    (tmp_path / "text.onnx").write_text("no model\n")
    return tmp_path


def test_a_file_that_is_read_and_one_that_is_refused_are_no_faults(folder: Path) -> None:
    done = run("tests.foreign.backend", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1  MatMul, verified True" in done.stdout
    assert "1  inputs are drawn" in done.stdout
    assert done.stdout.count("expected an ONNX") == 2
    assert done.stdout.endswith("0 faults\n")


def test_a_process_that_fails_is_a_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backend, "confined", lambda *_: Outcome("failed", "ZeroDivisionError"))
    assert backend.report(folder, [folder / "text.onnx"]) == 1
    assert capfd.readouterr().out.startswith("text.onnx: failed: ZeroDivisionError\n")
