"""The commands with `--engine ray`, on a cluster of their own and on one that they join, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from study.artifacts import Artifacts
from tests.conftest import ROOT, Trained, run
from tests.kills.processes import of_session
from tests.ray.conftest import Nodes

CATALOGUE = """
from shapes import IMAGE
from study.catalogue import Entry
from study.recipe import Recipe
from torch import nn

class Linear(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(IMAGE, 10))

ENTRIES = (Entry("linear", "mine_on_ray:Linear", Recipe(epochs=2, unshifted=1)),)
"""


def catalogue(folder: Path) -> Path:
    """A user's catalogue with a network that needs another module of its folder."""
    (folder / "shapes.py").write_text("IMAGE = 784\n")
    (folder / "mine_on_ray.py").write_text(CATALOGUE)
    return folder / "mine_on_ray.py"


def start(words: list[str], temporary: Path) -> "subprocess.Popen[str]":
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, start_new_session=True, env=environment, **options
    )


def test_a_users_network_on_a_cluster_of_the_commands_own(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    words: list[str | Path] = ["train", "--catalogue", catalogue(tmp_path), "--seeds", "0", "--artifacts"]
    (tmp_path / "t").mkdir()
    for engine in ("local", "ray"):
        (tmp_path / engine).mkdir()
        (tmp_path / engine / "data").symlink_to(data)
        done = run(*words, tmp_path / engine, "--engine", engine, env={**os.environ, "TMPDIR": str(tmp_path / "t")})
        assert (done.returncode, done.stderr) == (0, "")
        assert "linear seed 0  epoch 2/2  loss" in done.stdout
    local, ray = (Artifacts(tmp_path / engine).run("linear", 0) for engine in ("local", "ray"))
    assert ray.checkpoint.read_bytes() == local.checkpoint.read_bytes()
    assert ray.predictions.read_bytes() == local.predictions.read_bytes()
    records = [json.loads(files.record.read_text()) for files in (local, ray)]
    assert records[0]["environment"] == records[1]["environment"]  # the commit among them
    assert records[0]["network_sha256"] == records[1]["network_sha256"]
    assert not list((tmp_path / "t").glob("ray-*"))


def test_ctrl_c_ends_the_cluster_and_keeps_what_was_trained(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    words = ["train", "baseline", "--epochs", "3", "--seeds", "0", "--engine", "ray", "--artifacts", str(tmp_path)]
    with start(words, tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("baseline seed 0  epoch 1/3")
        listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
        ours = [line for line in listening.splitlines() if "raylet" in line or "gcs_server" in line]
        assert ours
        assert all("127.0.0.1" in line.split()[3] for line in ours)
        os.killpg(process.pid, signal.SIGINT)
        message = process.stderr.read()
    assert process.returncode == 130
    assert message == "interrupted: what was finished is kept; run it again (without --fresh) to go on\n"
    for _ in range(100):  # the kernel takes a moment to end what was killed
        if not of_session(process.pid):
            break
        time.sleep(0.1)
    assert of_session(process.pid) == {}
    assert Artifacts(tmp_path).run("baseline", 0).resume.exists()


def test_exports_on_a_cluster_have_the_same_bytes(nodes: Nodes, trained: Trained, tmp_path: Path) -> None:
    artifacts = trained.copy(tmp_path / "a")
    for model in ("baseline", "gap"):
        files = artifacts.run(model, 0)
        for path in (files.onnx, files.export, files.card):
            path.unlink()
    damaged = artifacts.run("gap", 0).checkpoint
    words: list[str | Path] = ["export", "baseline", "gap", "--artifacts", artifacts.root, "--engine", "ray"]
    words += ["--ray-address", nodes.place.address or ""]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: gap seed 0: {damaged}: expected ")
    assert f"wrote {artifacts.run('baseline', 0).onnx}" in done.stdout

    damaged.write_bytes(whole)
    assert run(*words).returncode == 0
    for model in ("baseline", "gap"):
        expected, found = (one.run(model, 0) for one in (trained.artifacts, artifacts))
        assert found.onnx.read_bytes() == expected.onnx.read_bytes()
        assert found.card.read_bytes() == expected.card.read_bytes()
        parities = [json.loads(files.export.read_text())["parity"] for files in (expected, found)]
        assert parities[0] == parities[1]


def test_a_cluster_that_is_not_there_is_one_line(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    done = run(
        *("train", "baseline", "--seeds", "0", "--artifacts", tmp_path),
        *("--engine", "ray", "--ray-address", "127.0.0.1:1"),
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --ray-address 127.0.0.1:1: the cluster cannot be joined (")
