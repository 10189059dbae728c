"""A file of the current folder that has the name of an installed package: one line that names it, and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

USES = "from study.errors import exit_with\ndef main():\n    {}\n    return 0\nexit_with(main)\n"


@pytest.mark.parametrize("content", ["", "import torch\nclass Mine(torch.nn.Module): ...\n"])
@pytest.mark.parametrize("use", ["from torch import Tensor", "import torch.nn", "import torch; torch.device('cpu')"])
@pytest.mark.parametrize("when", ["in a command", "before it"])
def test_it_is_named(tmp_path: Path, content: str, use: str, when: str) -> None:
    (tmp_path / "torch.py").write_text(content)
    program = USES.format(use) if when == "in a command" else f"import study\n{use}\n"
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    remedy = "rename it, or run the command in another folder"
    assert done.stderr == f"error: expected the package torch, found {tmp_path / 'torch.py'}; {remedy}\n"
    assert done.returncode == 2


@pytest.mark.parametrize("folder", [".", "venv"])
def test_another_fault_keeps_its_traceback(tmp_path: Path, folder: str) -> None:
    """Also in a folder with the name of a module of Python, which is none."""
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "mine.py").write_text("")
    path = f"import sys; sys.path.append({folder!r})"
    (tmp_path / "program.py").write_text(USES.format(f"{path}; import mine; mine.nothing"))
    command = [sys.executable, "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert "AttributeError: module 'mine' has no attribute 'nothing'" in done.stderr
    assert "Traceback" in done.stderr
