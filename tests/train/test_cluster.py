"""docs/cluster.md: its job scripts and commands, with little data and few runs, as Slurm and Kubernetes run them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from study import catalogue, selection
from study.artifacts import Artifacts
from study.data import datasets
from tests.conftest import ROOT
from train import __main__ as command
from train import runs
from train.options import Shard

PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = [
    line
    for kind, block in BLOCKS
    if not kind
    for line in block.splitlines()
    if " -m train" in line and "ray" not in line
]
(SLURM,) = (block for kind, block in BLOCKS if kind == "bash")
(KUBERNETES,) = (yaml.safe_load(block) for kind, block in BLOCKS if kind == "yaml")
FEW = ["baseline", "--seeds", "0,1", "--epochs", "1"]
"""Instead of the whole study."""
ALL = Artifacts()


class Project:
    """A folder in which the words of every `python -m train ...` are noted, to be run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "words"
        program = folder / "bin" / "python"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {self.notes}\n')
        program.chmod(0o755)

    def words(self, *shell: str, **variables: str) -> list[str]:
        """What a program of the shell calls `python` with."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(shell, cwd=self.folder, env={**os.environ, **variables, "PATH": path}, check=True)
        assert done.returncode == 0
        _, module, *words = self.notes.read_text().splitlines()
        assert module == "train"
        return words

    def seeds(self, root: str) -> list[int]:
        """Of the finished runs in a folder."""
        artifacts = Artifacts(self.folder / root)
        return [files.seed for files in artifacts.runs("baseline")]


@pytest.fixture
def project(tmp_path: Path, few_data: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "prepare", lambda *_: few_data)
    return Project(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> int:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *words])
        return command.main()


def test_the_shards_of_a_slurm_array_are_merged_into_the_study(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.folder / "train.sh").write_text(SLURM)
    for task in ("1", "2"):
        variables = {"SLURM_CPUS_PER_TASK": "2", "SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        assert run(monkeypatch, [*project.words("bash", "train.sh", **variables), *FEW]) == 0
    assert [project.seeds(f"shards/{task}") for task in (1, 2)] == [[0], [1]]

    one, gpu, *two_gpus, merge, evaluate = COMMANDS
    assert run(monkeypatch, project.words("bash", "-c", merge)) == 0
    assert project.seeds("artifacts") == [0, 1]
    capsys.readouterr()
    assert run(monkeypatch, [*project.words("bash", "-c", evaluate), *FEW]) == 0
    assert capsys.readouterr().out.count("as in run.json") == 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for line, runs_here in zip((one, gpu, *two_gpus), (2, 2, 1, 1), strict=True):
        assert run(monkeypatch, [*project.words("bash", "-c", line), *FEW]) == 0
        assert capsys.readouterr().out.count("nothing to do") == runs_here, "they count as finished here"


def test_the_pods_of_an_indexed_job_make_every_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    job: dict[str, Any] = KUBERNETES["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert (KUBERNETES["kind"], job["completionMode"], job["parallelism"]) == ("Job", "Indexed", job["completions"])
    made = []
    for index in range(job["completions"]):
        words = project.words(*container["command"], *container["args"], JOB_COMPLETION_INDEX=str(index))
        monkeypatch.setattr(sys, "argv", ["train", *words])
        options = command.arguments()
        assert str(options.workers) == container["resources"]["limits"]["cpu"]
        assert str(options.artifacts) == f"shards/{index + 1}"
        made += runs.listed(selection.to_train(options, []), options.seeds, ALL, options.shard)
    study = [catalogue.entry(name) for name in catalogue.STUDIES[catalogue.DEFAULT_STUDY]]
    assert sorted(map(str, made)) == sorted(map(str, runs.listed(study, (0, 1, 2), ALL, Shard())))


def test_a_slurm_script_without_its_variables_trains_nothing(project: Project) -> None:
    (project.folder / "train.sh").write_text(SLURM)
    with pytest.raises(subprocess.CalledProcessError):
        project.words("bash", "train.sh")
    assert not project.notes.exists()
