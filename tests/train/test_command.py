"""`python -m train` and the processes it starts: killed, interrupted, diverging, evaluating, misused."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from study import catalogue
from study.artifacts import Artifacts
from study.children import children_of
from study.entries import LENET5
from study.entry import Entry
from study.errors import StudyError
from study.recipe import Recipe
from study.record_files import read_record
from study.records.training import RunRecord
from study.remote import cluster
from study.remote import options as remote_options
from tests.conftest import ROOT, Trained
from tests.study.test_stopping import wait_for_end
from tests.support.study import edit_json
from train import __main__ as command
from train import engine
from train.tasks import Epoch, Event, Failed, Finished, Task
from train.worker import work

SHORT = Entry("baseline", LENET5, Recipe(epochs=1))


def main(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["train", *map(str, words)])
    return command.main()


def test_the_command_trains_on_the_real_images_and_repeats_nothing(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_record(trained.artifacts.run("baseline", 0).record, RunRecord, "")
    assert record.test_error < 0.25
    assert record.environment.packages["torch"] == torch.__version__
    assert "baseline seed 0  epoch 1/1  loss" in trained.log
    assert main(monkeypatch, "gap", "--seeds", "0", "--epochs", "1", "--artifacts", trained.artifacts.root) == 0
    assert capsys.readouterr().out == "gap seed 0: finished, recipe and network have not changed: nothing to do\n"


def test_interrupted_from_the_terminal(data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(data)
    words = [sys.executable, "-m", "train", "baseline", "--epochs", "2", "--artifacts", str(tmp_path)]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        message = process.stderr.read()
    assert process.returncode == 130
    assert message == "interrupted: what was finished is kept; run it again (without --fresh) to go on\n"


# ---- the processes of the runs


def make(tasks: list[Task], workers: int = 1) -> dict[str, list[Event]]:
    """The events of each task's run, by the name of its model."""
    events: dict[str, list[Event]] = {task.entry.name: [] for task in tasks}
    engine.run(tasks, workers, lambda task, event: events[task.entry.name].append(event))
    return events


KILLED = """
import sys
from pathlib import Path
from tests.train.test_command import killed
from train.engine import run
if __name__ == "__main__":
    run([killed(Path(sys.argv[1]), Path(sys.argv[2]))], 1, lambda task, event: print(event, flush=True))
"""


def killed(root: Path, data: Path, name: str = "baseline") -> Task:
    entry = Entry(name, LENET5, Recipe(epochs=20))
    return Task(entry, Artifacts(root).run(name, 0), data)


def test_killed_and_resumed_on_other_workers_gives_the_same_bytes(few_data: Path, tmp_path: Path) -> None:
    whole, halved = killed(tmp_path / "whole", few_data), killed(tmp_path / "halved", few_data)
    make([killed(tmp_path, few_data, "another"), whole], workers=2)

    script = tmp_path / "kill_training.py"
    script.write_text(KILLED)
    words = [sys.executable, str(script), str(tmp_path / "halved"), str(few_data)]
    options: dict[str, Any] = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "start_new_session": True}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **options) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Epoch(epoch=1,")
        children = children_of(process.pid)
        workers = [worker for child in children for worker in children_of(child)]
        os.kill(process.pid, signal.SIGKILL)  # alone
    assert len(workers) == 1
    for child in (*children, *workers):
        wait_for_end(child)
    assert halved.files.resume.exists()
    assert not halved.files.record.exists()

    assert isinstance(make([halved])["baseline"][-1], Finished)
    assert halved.files.checkpoint.read_bytes() == whole.files.checkpoint.read_bytes()


def test_fresh_ignores_an_earlier_attempt(few_data: Path, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    checkpoints = []
    for fresh in (False, True):
        files.folder.mkdir(parents=True, exist_ok=True)
        files.resume.write_bytes(b"no state of a run")
        epoch, finished = make([Task(SHORT, files, few_data, fresh)])["baseline"]
        assert isinstance(epoch, Epoch)
        assert isinstance(finished, Finished)
        checkpoints.append(files.checkpoint.read_bytes())
    assert checkpoints[0] == checkpoints[1]


def test_a_run_that_fails_does_not_affect_the_others(few_data: Path, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    wild = Entry("wild", LENET5, Recipe(epochs=1, learning_rate=1e6))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "blocked").write_text("a file where the folder of the runs should be")
    entries = (wild, Entry("blocked", LENET5, SHORT.recipe), SHORT)
    events = make([Task(entry, artifacts.run(entry.name, 0), few_data) for entry in entries], workers=2)
    diverged, blocked, finished = (events[entry.name][-1] for entry in entries)
    assert isinstance(finished, Finished)
    assert isinstance(blocked, Failed)
    assert "models/blocked" in blocked.reason
    assert isinstance(diverged, Failed)
    assert diverged.reason.startswith("training diverged: loss")
    assert "lower the recipe's learning rate" in diverged.reason
    assert list((tmp_path / "models" / "wild" / "seed0").glob("*")) == []


def test_a_network_that_fails_during_training_is_a_failed_run_with_the_line_that_failed(
    few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def forward(self, x):\n        assert len(x) < 99, 'too many'\n        return self.l(x.flatten(1))"
    init = "def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(784, 10)"
    (tmp_path / "brittle.py").write_text(f"from torch import nn\nclass M(nn.Module):\n    {init}\n    {code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    work(Task(Entry("brittle", "brittle:M", SHORT.recipe), Artifacts(tmp_path).run("brittle", 0), few_data), sender)
    assert receiver.recv() == Failed("AssertionError: too many at brittle.py:7")


def test_a_killed_process_is_a_failed_run(few_data: Path, tmp_path: Path) -> None:
    task = Task(catalogue.entry("baseline"), Artifacts(tmp_path).run("baseline", 0), few_data)
    events: list[Event] = []

    def kill_after_an_epoch(task: Task, event: Event) -> None:
        events.append(event)
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)

    engine.run([task], 1, kill_after_an_epoch)
    assert events[-1] == Failed("its process ended with exit code -9")


# ---- evaluation, and the user's mistakes


def test_evaluate_compares_each_checkpoint_with_its_record(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = trained.copy(tmp_path / "a")
    words = ("gap", "--evaluate", "--artifacts", artifacts.root, "--seeds")
    files = artifacts.run("gap", 0)
    error = read_record(files.record, RunRecord, "").test_error
    assert main(monkeypatch, *words, "0") == 0
    output = capsys.readouterr().out
    assert f"gap seed 0: test error {100 * error:.2f} %" in output
    assert "as in run.json" in output

    assert main(monkeypatch, *words, "0,7") == 1
    assert "gap seed 7: no finished run; run `python -m train gap --seeds 7`\n" in capsys.readouterr().err

    edit_json(files.record, test_error=0.01)
    assert main(monkeypatch, *words, "0") == 1
    assert "run.json says 1.00 %" in capsys.readouterr().out


def test_a_checkpoint_that_was_changed_is_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0)
    content = bytearray(files.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    files.checkpoint.write_bytes(content)
    with pytest.raises(StudyError, match=f"^{files.checkpoint}: expected sha256"):
        main(monkeypatch, "gap", "--seeds", "0", "--evaluate", "--artifacts", tmp_path / "a")


def test_a_mistake_is_reported_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["basline"], "no model is called 'basline'"),
        (["--study", "x"], "no study is called 'x'"),
        (["--evaluate"], "run `python -m train`"),
    ):
        with pytest.raises(StudyError, match=message):
            main(monkeypatch, *words, "--artifacts", tmp_path)
    for words, message in (
        (["--seeds", "0;1"], "expected numbers from 0"),
        (["--epochs", "0"], "expected a number from 1"),
        (["--workers", "-1"], "expected a number from 1"),
    ):
        with pytest.raises(StudyError, match=message):
            main(monkeypatch, *words)


def test_ray_that_is_missing_and_addresses_that_do_not_fit_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(remote_options, "find_spec", lambda name: None)
    for words, message in (
        (["--engine", "ray"], "--engine ray needs Ray: `pip install -c constraints.txt ray`"),
        (["--ray-address", "h:1"], "expected --engine ray beside it, found --engine local"),
        (["--engine", "ray", "--ray-address", "ray://h:1"], "expected HOST:PORT of a cluster's head, or auto"),
    ):
        with pytest.raises(StudyError, match=re.escape(message)):
            main(monkeypatch, "baseline", *words, "--artifacts", tmp_path)
    with pytest.raises(StudyError, match=r"^--engine ray needs Ray"):
        cluster.imported()
