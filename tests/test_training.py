"""One run: its schedule, its files, the same bytes again, what is trained again and what is not, divergence."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from study import catalogue, images
from study.artifacts import Artifacts, read_json, sha256
from study.networks import build, source_sha256
from study.recipe import Recipe
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


def test_a_run_is_recorded_with_the_source_it_began_with(
    few: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is trained again if its network was edited meanwhile."""
    files = Artifacts(tmp_path).run("baseline", 0)

    def edit(row: dict[str, Any]) -> None:
        monkeypatch.setattr("train.fitting.source_sha256", lambda entry: "0" * 64)

    assert fit(SHORT, files, few, edit)["network_sha256"] == source_sha256(SHORT)
    assert not is_finished(files, SHORT)


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
