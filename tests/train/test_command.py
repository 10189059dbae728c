"""`python -m train` and the processes it starts: on all images, killed, interrupted, evaluated, misused."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from study import catalogue
from study.artifacts import Artifacts, read_json
from study.entries import LENET5
from study.entry import Entry
from study.recipe import Recipe
from tests.conftest import ROOT, Trained, run
from train import engine
from train.tasks import Event, Task


def test_the_pipeline_learns_on_the_real_images(trained: Trained) -> None:
    record = read_json(trained.artifacts.run("baseline", 0).record, "run/1", "")
    assert record["test_error"] < 0.25
    assert record["environment"]["packages"]["torch"] == torch.__version__
    assert "baseline seed 0  epoch 1/1  loss" in trained.log


def test_interrupted_from_the_terminal(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    command = [sys.executable, "-m", "train", "baseline", "--epochs", "2", "--artifacts", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said == "interrupted: what was finished is kept; run it again (without --fresh) to go on\n"


def test_fresh_starts_anew(data: Path, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    entry = Entry("baseline", LENET5, Recipe(epochs=1))
    events: list[Event] = []
    for fresh in (False, True):
        files.folder.mkdir(parents=True, exist_ok=True)
        files.resume.write_bytes(b"what an earlier attempt has left")
        engine.run([Task(entry, files, data, fresh)], 1, events.append)
    assert [e.kind for e in events] == ["epoch", "finished"] * 2
    assert events[1].content["checkpoint_sha256"] == events[3].content["checkpoint_sha256"]


def test_killed_and_continued_on_other_workers_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        (folder / "data").symlink_to(data)
    common = ("--seeds", "0", "--epochs", "2")
    assert run("train", "baseline", "l1-1e-3", *common, "--workers", "2", "--artifacts", whole).returncode == 0

    command = [sys.executable, "-m", "train", "baseline", *common, "--workers", "1", "--artifacts", str(killed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert "epoch 1/2" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
    ours = Artifacts(killed).run("baseline", 0)
    assert ours.resume.exists()
    assert not ours.record.exists()

    resumed = run("train", "baseline", *common, "--workers", "1", "--artifacts", killed)
    assert resumed.returncode == 0, resumed.stderr
    assert ours.checkpoint.read_bytes() == Artifacts(whole).run("baseline", 0).checkpoint.read_bytes()
    again = run("train", "baseline", *common, "--artifacts", killed)
    assert again.stdout == "baseline seed 0: finished, recipe and network have not changed: nothing to do\n"


def test_a_diverging_run_fails_alone(data: Path, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    good = Entry("baseline", LENET5, Recipe(epochs=1))
    bad = Entry("wild", LENET5, Recipe(epochs=1, learning_rate=1e6))
    tasks = [Task(entry, artifacts.run(entry.name, 0), data) for entry in (bad, good)]
    events: list[Event] = []
    engine.run(tasks, 2, events.append)
    ends = {e.task.entry.name: e for e in events if e.kind != "epoch"}
    assert ends["baseline"].kind == "finished"
    assert ends["wild"].kind == "failed"
    assert "training diverged: loss" in ends["wild"].content
    assert "lower the recipe's learning rate" in ends["wild"].content
    assert [f.name for f in (tmp_path / "models" / "wild" / "seed0").glob("*")] == []


def test_a_run_whose_folder_cannot_be_written_fails(tmp_path: Path, data: Path) -> None:
    (tmp_path / "models").write_text("a file where the runs' folder should be")
    events: list[Event] = []
    task = Task(catalogue.entry("baseline"), Artifacts(tmp_path).run("baseline", 0), data)
    engine.run([task], 1, events.append)
    (event,) = [e for e in events if e.kind != "epoch"]
    assert event.kind == "failed"
    assert "models" in event.content


def test_a_killed_process_is_a_failed_run(tmp_path: Path, data: Path) -> None:
    task = Task(catalogue.entry("baseline"), Artifacts(tmp_path).run("baseline", 0), data)
    events: list[Event] = []

    def kill_after_an_epoch(event: Event) -> None:
        events.append(event)
        if event.kind == "epoch":
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)

    engine.run([task], 1, kill_after_an_epoch)
    assert [e.kind for e in events] == ["epoch", "failed"]
    assert events[-1].content == "its process ended with exit code -9"


# ---- evaluation, and the user's mistakes


def test_evaluate_finds_the_recorded_error(trained: Trained) -> None:
    error = read_json(trained.artifacts.run("gap", 0).record, "run/1", "")["test_error"]
    shown = run("train", "gap", "--seeds", "0", "--evaluate", "--artifacts", trained.artifacts.root)
    assert shown.returncode == 0, shown.stderr
    assert f"gap seed 0: test error {100 * error:.2f} %" in shown.stdout
    assert "as in run.json" in shown.stdout


def test_evaluate_tells_when_the_recorded_error_is_another(trained: Trained, tmp_path: Path) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0)
    record = files.record.read_text()
    error = read_json(files.record, "run/1", "")["test_error"]
    files.record.write_text(record.replace(f'"test_error": {error!r}', '"test_error": 0.01'))
    shown = run("train", "gap", "--seeds", "0", "--evaluate", "--artifacts", tmp_path / "a")
    assert shown.returncode == 1
    assert "run.json says 1.00 %" in shown.stdout


def test_evaluate_names_what_is_not_there(trained: Trained) -> None:
    shown = run("train", "gap", "--seeds", "0,7", "--evaluate", "--artifacts", trained.artifacts.root)
    assert shown.returncode == 1
    assert shown.stderr == "gap seed 7: no finished run; run `python -m train gap --seeds 7`\n"


MISTAKES = {
    "an unknown model": (["basline"], "no model is called 'basline'"),
    "an unknown study": (["--study", "x"], "no study is called 'x'"),
    "seeds that are no numbers": (["--seeds", "0;1"], "expected numbers from 0"),
    "no epochs": (["--epochs", "0"], "expected a number from 1"),
    "no workers": (["--workers", "-1"], "expected a number from 1"),
    "nothing to evaluate": (["--evaluate"], "run `python -m train`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_without_a_traceback(mistake: str, tmp_path: Path) -> None:
    words, message = MISTAKES[mistake]
    shown = run("train", *words, "--artifacts", tmp_path)
    assert shown.returncode == 2
    assert message in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_checkpoint_that_was_changed_is_refused(trained: Trained, tmp_path: Path) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0)
    content = bytearray(files.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    files.checkpoint.write_bytes(content)
    shown = run("train", "gap", "--seeds", "0", "--evaluate", "--artifacts", tmp_path / "a")
    assert shown.returncode == 2
    assert shown.stderr.startswith(f"error: {files.checkpoint}: expected sha256")
    assert shown.stderr.count("\n") == 1
