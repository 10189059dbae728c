"""Training: the schedule, reproducibility to the byte, what is trained again and what is not, failures."""

import csv
import math
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from study import catalogue, images
from study.artifacts import Artifacts, read_json, sha256
from study.catalogue import Entry, Recipe
from study.networks import build
from tests.conftest import ROOT, Trained, run
from train import engine
from train.fitting import DivergedError, Images, Trainer, fit, is_finished

SHORT = replace(catalogue.entry("baseline"), recipe=Recipe(epochs=3, unshifted=1, l1=1e-3))


@pytest.fixture(scope="module")
def few(data: Path) -> Images:
    """1,000 real images to train and 500 to test on."""
    pictures, labels = images.load(data, train=False)
    return Images((pictures[:1000], labels[:1000]), (pictures[1000:1500], labels[1000:1500]))


def rows(report: list[dict[str, Any]]) -> list[Any]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in report]


# ---- the schedule and the start


def test_one_cycle_rises_to_the_peak_and_falls_to_zero(few: Images) -> None:
    recipe = Recipe(epochs=10, batch_size=100, learning_rate=0.3, warmup=0.2)
    trainer = Trainer(replace(SHORT, recipe=recipe), *few.train, seed=0)
    assert trainer.steps == 10
    rates = [trainer.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.3 / 20)
    assert rates[19] == pytest.approx(0.3) == max(rates)
    assert rates[60] == pytest.approx(0.3 / 2)
    assert rates[99] == pytest.approx(0.3 / 80)


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_one_cycle_may_be_all_fall_or_all_rise(few: Images, warmup: float) -> None:
    recipe = Recipe(epochs=1, batch_size=100, learning_rate=0.4, warmup=warmup)
    rates = [Trainer(replace(SHORT, recipe=recipe), *few.train, seed=0).rate(step) for step in range(10)]
    assert sorted(rates, reverse=warmup == 0.0) == rates
    assert [min(rates), max(rates)] == pytest.approx([0.04, 0.4])


def test_a_fresh_model_guesses(data: Path) -> None:
    """Its first loss is within 10 % of ln 10: it has not been trained before."""
    pictures, labels = images.load(data, train=True)
    for entry in catalogue.select():
        for seed in catalogue.DEFAULT_SEEDS:
            torch.manual_seed(seed)
            loss = F.cross_entropy(build(entry)(pictures[:128].float() / 255), labels[:128]).item()
            assert loss == pytest.approx(math.log(10), rel=0.1)


# ---- what a run leaves


def test_the_files_of_a_run(few: Images, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 5)
    seen: list[dict[str, Any]] = []
    record = fit(SHORT, files, few, seen.append)

    assert read_json(files.record, "run/1", "") == record
    assert record["checkpoint_sha256"] == sha256(files.checkpoint)
    assert (record["model"], record["seed"], record["epochs"]) == ("baseline", 5, 3)
    state = torch.load(files.checkpoint, weights_only=True)
    assert set(state) == {f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")}
    weights = [state[f"{layer}.weight"].double() for layer in LAYERS]
    assert record["penalty"] == pytest.approx(1e-3 * sum(w.abs().sum().item() for w in weights))
    assert record["penalty_strength"] == pytest.approx(1e-3 * record["learning_rate_sum"])
    history = list(csv.DictReader(files.history.open()))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert [float(row["train_loss"]) for row in history] == [row["train_loss"] for row in seen]
    assert {row["validation_loss"] for row in history} == {""}
    assert not files.resume.exists()


LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3")


def test_errors_are_those_of_the_plain_operators(few: Images, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    record = fit(SHORT, files, few, lambda row: None)
    state = torch.load(files.checkpoint, weights_only=True)
    for part, (pictures, labels) in (("train", few.train), ("test", few.test)):
        x = (pictures.double() / 255 - 0.2860) / 0.3530
        for layer, padding in (("conv1", 2), ("conv2", 0)):
            x = F.conv2d(x, state[f"{layer}.weight"].double(), state[f"{layer}.bias"].double(), padding=padding)
            x = F.max_pool2d(F.relu(x), 2)
        x = x.flatten(1)
        for layer in ("fc1", "fc2", "fc3"):
            x = F.linear(x, state[f"{layer}.weight"].double(), state[f"{layer}.bias"].double())
            x = x if layer == "fc3" else F.relu(x)
        assert record[f"{part}_error"] == pytest.approx((x.argmax(1) != labels).double().mean().item(), abs=1e-9)
        predicted = [row["predicted"] for row in csv.DictReader(files.predictions.open())]
        assert part == "train" or predicted == [str(c) for c in x.argmax(1).tolist()]
        assert record[f"{part}_loss"] == pytest.approx(F.cross_entropy(x, labels).item(), rel=1e-5)


# ---- reproducible, resumable


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(few: Images, tmp_path: Path) -> None:
    made = {}
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        files = Artifacts(tmp_path / folder).run("baseline", seed)
        fit(SHORT, files, few, lambda row: None)
        made[folder] = files.checkpoint.read_bytes()
    assert made["a"] == made["b"] != made["c"]


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_run_stopped_after_any_epoch_ends_with_the_same_bytes(few: Images, tmp_path: Path, after: int) -> None:
    whole, halved = Artifacts(tmp_path / "whole").run("baseline", 0), Artifacts(tmp_path / "halved").run("baseline", 0)
    all_rows: list[dict[str, Any]] = []
    fit(SHORT, whole, few, all_rows.append)

    class Stop(Exception):  # noqa: N818
        pass

    def stop(row: dict[str, Any]) -> None:
        if row["epoch"] == after:
            raise Stop

    with pytest.raises(Stop):
        fit(SHORT, halved, few, stop)
    assert not is_finished(halved, SHORT)
    resumed: list[dict[str, Any]] = []
    fit(SHORT, halved, few, resumed.append)
    assert halved.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert rows(resumed) == rows(all_rows)


def test_an_unfinished_run_of_another_recipe_is_not_continued(few: Images, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)

    def stop(row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(SHORT, files, few, stop)
    seen: list[dict[str, Any]] = []
    fit(replace(SHORT, recipe=replace(SHORT.recipe, l1=0.0)), files, few, seen.append)
    assert len(seen) == 3
    assert read_json(files.record, "run/1", "")["recipe"]["l1"] == 0


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_a_broken_resume_file_means_from_the_start(
    few: Images, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    files.folder.mkdir(parents=True)
    files.resume.write_bytes(content)
    seen: list[dict[str, Any]] = []
    fit(SHORT, files, few, seen.append)
    assert len(seen) == 3
    assert f"{files.resume} cannot be read" in capsys.readouterr().err


def test_finished_means_this_recipe_this_network_and_this_checkpoint(
    few: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    assert not is_finished(files, SHORT)
    fit(SHORT, files, few, lambda row: None)
    assert is_finished(files, SHORT)
    assert not is_finished(files, replace(SHORT, recipe=replace(SHORT.recipe, l2=1e-9)))
    assert not is_finished(files, replace(SHORT, network="study.networks.lenet5:LeNet5GAP"))
    with monkeypatch.context() as patch:
        patch.setattr("train.fitting.source_sha256", lambda entry: "0" * 64)
        assert not is_finished(files, SHORT)
    files.checkpoint.write_bytes(files.checkpoint.read_bytes()[:-1])
    assert not is_finished(files, SHORT)


# ---- the command, on all images


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


def test_fresh_starts_anew(few: Images, data: Path, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    entry = Entry("baseline", catalogue.LENET5, Recipe(epochs=1))
    events: list[engine.Event] = []
    for fresh in (False, True):
        files.folder.mkdir(parents=True, exist_ok=True)
        files.resume.write_bytes(b"what an earlier attempt has left")
        engine.run([engine.Task(entry, files, data, fresh)], 1, events.append)
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
    good = Entry("baseline", catalogue.LENET5, Recipe(epochs=1))
    bad = Entry("wild", catalogue.LENET5, Recipe(epochs=1, learning_rate=1e6))
    tasks = [engine.Task(entry, artifacts.run(entry.name, 0), data) for entry in (bad, good)]
    events: list[engine.Event] = []
    engine.run(tasks, 2, events.append)
    ends = {e.task.entry.name: e for e in events if e.kind != "epoch"}
    assert ends["baseline"].kind == "finished"
    assert ends["wild"].kind == "failed"
    assert "training diverged: loss" in ends["wild"].content
    assert "lower the recipe's learning rate" in ends["wild"].content
    assert [f.name for f in (tmp_path / "models" / "wild" / "seed0").glob("*")] == []


def test_divergence_in_a_later_epoch_leaves_the_history(
    few: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    epoch = Trainer.epoch
    monkeypatch.setattr(Trainer, "epoch", lambda self, e: epoch(self, e) if e < 2 else (math.nan, 0.9))
    with pytest.raises(DivergedError, match="loss nan in epoch 3 of 3"):
        fit(SHORT, files, few, lambda row: None)
    assert len(files.history.read_text().splitlines()) == 1 + 2
    assert not files.checkpoint.exists()
    assert not files.resume.exists()


def test_a_run_whose_folder_cannot_be_written_fails(tmp_path: Path, data: Path) -> None:
    (tmp_path / "models").write_text("a file where the runs' folder should be")
    events: list[engine.Event] = []
    task = engine.Task(catalogue.entry("baseline"), Artifacts(tmp_path).run("baseline", 0), data)
    engine.run([task], 1, events.append)
    (event,) = [e for e in events if e.kind != "epoch"]
    assert event.kind == "failed"
    assert "models" in event.content


def test_a_killed_process_is_a_failed_run(tmp_path: Path, data: Path) -> None:
    task = engine.Task(catalogue.entry("baseline"), Artifacts(tmp_path).run("baseline", 0), data)
    events: list[engine.Event] = []

    def kill_after_an_epoch(event: engine.Event) -> None:
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
