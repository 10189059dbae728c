"""docs/your-model.md: the file of the page is written, and every command is run, in order, with little effort."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from study.artifacts import Artifacts
from study.bench_file import read_bench
from study.modules.files import current_module, exported_modules
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "your-model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = [line for kind, block in BLOCKS if not kind for line in block.splitlines()]
(MODELS,) = (block for kind, block in BLOCKS if kind == "python")
SMALLER = ("[batch,3,224,224]", "[batch,3,32,32]")
"""The image of the first command, so that it takes seconds."""
STAGES = ("analysis", "bench", "docs", "export", "study", "train", "pyproject.toml", "constraints.txt")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the project and the page's file, in which `python` and `pytest` are those of the tests."""
    for name in STAGES:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "tagger.py").write_text(MODELS)
    (tmp_path / "bin").mkdir()
    for name, words in (("python", ""), ("pytest", "-m pytest ")):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
        program.chmod(0o755)
    return tmp_path


def test_every_command_of_the_page_runs(checkout: Path) -> None:
    environment = os.environ | {
        "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTEST_ADDOPTS": "--quick --batches 1 --cold-starts 0 -p no:cacheprovider",
    }
    printed = {}
    for command in COMMANDS:
        words = command.replace(*SMALLER)
        done = subprocess.run(["bash", "-c", words], cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed[command] = done.stdout
    artifacts = Artifacts(checkout / "artifacts")
    records = {files.name: current_module(files) for files in exported_modules(artifacts)}
    assert set(records) == {"resnet18", "tagger", "narrow", "wide"}
    assert [output.name for output in records["tagger"].parity] == ["logits", "tag"]
    assert not any("random" in note for note in records["narrow"].notes), "its weights are from the file"
    page = (artifacts.root / "report-modules" / "index.html").read_text(encoding="utf-8")
    assert "<h1>Latency, sparsity and parity of narrow, wide</h1>" in page, "that of the last report"
    compared = {(pair.key.model, pair.reference) for pair in read_bench(checkout / "both.json", "").comparisons}
    assert {("narrow", "torch"), ("wide", "torch")} <= compared
    (sparsity,) = (text for command, text in printed.items() if "sparsity" in command)
    assert "2 yes" in sparsity, "both layers are verified"


def test_the_page_has_only_commands_in_its_unnamed_blocks() -> None:
    assert all(re.match(r"(PYTHONPATH=\. )?(pytest bench|python) ", command) for command in COMMANDS)
    assert len(COMMANDS) > 8


def test_no_other_page_gives_the_name_of_its_file_to_another() -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
    users: dict[str, set[str]] = {}
    for path, text in pages.items():
        for name in re.findall(r"--(?:catalogue|module)[ =](\w+\.py)\b", text):
            users.setdefault(name, set()).add(path.name)
    assert users["tagger.py"] == {"your-model.md"}
    assert {name: pages for name, pages in users.items() if len(pages) > 1} == {}
