"""How far the reading of large weights is: a bar on a terminal, lines elsewhere, nothing of small ones."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.weights import progress
from analysis.weights.matrix import Matrix
from analysis.weights.progress import Progress
from analysis.weights.tensors import Held
from tests.conftest import ROOT
from tests.support.study import write_model

BLOCKS = Matrix(Held(np.ones(6), np.dtype(np.float64)), 2, 3, 3, False).blocks()


def test_of_small_weights_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("m.onnx", progress.SILENT - 1) as progress_bar:
        assert progress_bar.counted(BLOCKS, "fc1") is BLOCKS
    assert capsys.readouterr().err == ""


def test_of_large_ones_without_a_terminal_there_is_a_line_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("m.onnx", progress.SILENT) as progress_bar:
        assert progress_bar.counted(BLOCKS, "fc1") is BLOCKS
        assert progress_bar.counted(BLOCKS, "fc2") is BLOCKS
    assert capsys.readouterr().err == "m.onnx: reading fc1\nm.onnx: reading fc2\n"


def test_on_a_terminal_there_is_a_bar_and_the_blocks_are_the_same(tmp_path: Path) -> None:
    """The command itself, on a terminal of its own; what it prints of the layers goes elsewhere."""
    write_model(tmp_path / "m.onnx", {"fc": np.eye(600, dtype=np.float32)})
    script = (
        "from analysis import sparsity; from analysis.weights import progress; import sys; progress.SILENT = 1; "
        f"sparsity.main([{str(tmp_path / 'm.onnx')!r}, '--facts', '--format', 'csv'])"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "m.onnx" in shown
    assert "100%" in shown
    assert b"m.onnx,,fc,600,600,dead_rows,0," in done.stdout
