"""Runs the scripts of a workflow or an action as GitHub Actions does, with stand-ins for what a runner has."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
TINY = "--seconds 0.1"


class Runner:
    """What GitHub Actions gives the steps of a job: variables, files for outputs and the summary, and a workspace."""

    def __init__(self, folder: Path, onnx_file: bytes) -> None:
        self.folder, self.workspace, self.temp = folder, folder / "work", folder / "temp"
        for path in (self.workspace / "models", self.temp, folder / "srv" / "latency", folder / "bin"):
            path.mkdir(parents=True)
        (self.workspace / "models" / "small.onnx").write_bytes(onnx_file)
        self.script(self.workspace / "export.sh", "ls models > /dev/null")
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "base")
        project = folder / "srv" / "fashionbench" / ".tox" / "bench" / "bin"
        project.mkdir(parents=True)
        self.script(project / "python", f'exec {sys.executable} "$@"')
        for name in ("bench", "study", "export", "train", "analysis", "docs", "pyproject.toml"):
            (folder / "srv" / "fashionbench" / name).symlink_to(ROOT / name)
        self.script(folder / "bin" / "bencher", f'echo "$@" >> {folder}/bencher.log')
        self.env: dict[str, str] = {}

    def script(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.workspace, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def placed(self, text: str) -> str:
        """The text with /srv in the folder of the test."""
        return re.sub(r"(?<!\w)/srv/", f"{self.folder}/srv/", text)

    def evaluate(self, text: str, inputs: dict[str, str]) -> str:
        """The text with its expressions; those of the context are few."""

        def value(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("inputs."):
                return inputs[name.removeprefix("inputs.")]
            known = {
                "runner.temp": str(self.temp),
                "github.event.pull_request.base.sha || github.event.before": self.git("rev-parse", "HEAD"),
                "github.base_ref": "main",
            }
            return known[name]

        return re.sub(r"\$\{\{(.*?)\}\}", value, self.placed(str(text)))

    def shell(self, step: dict[str, Any], inputs: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a step's script with the options of `shell: bash`."""
        assert "${{" not in step["run"], "an expression in a script is a way to inject commands"
        files = {"GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary", "GITHUB_ENV": "env"}
        environment = {
            **os.environ,
            **{name: str(self.folder / file) for name, file in files.items()},
            **self.env,
            **{key: self.evaluate(text, inputs) for key, text in step.get("env", {}).items()},
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temp),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTEST_ADDOPTS": "--quick --batches 1 --cold-starts 0 -p no:cacheprovider",
        }
        script = self.temp / "script.sh"
        script.write_text(self.placed(step["run"]))
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(command, cwd=self.workspace, env=environment, capture_output=True, text=True)
        if (file := self.folder / "env").is_file():
            self.env |= dict(line.split("=", 1) for line in file.read_text().splitlines())
        return done

    def act(self, given: dict[str, str], tiny: str = TINY) -> subprocess.CompletedProcess[str]:
        """Run the steps of the action with these inputs, and `args` that make it quick."""
        inputs = {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
        inputs |= {"args": tiny, "python": sys.executable} | given
        inputs = {name: self.evaluate(text, {}) for name, text in inputs.items()}
        for step in ACTION["runs"]["steps"]:
            assert step["shell"] == "bash"
            done = self.shell(step, inputs)
            if done.returncode:
                break
        return done

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())

    def summary(self) -> str:
        return (self.folder / "summary").read_text()
