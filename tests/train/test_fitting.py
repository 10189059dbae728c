"""One run: its files, the same bytes again, resuming, when it is made again, validation, divergence."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from msgspec import structs

from study import catalogue, checkpoints
from study.artifacts import Artifacts, RunFiles
from study.entry import Entry
from study.evaluation import evaluate
from study.files import sha256
from study.networks import source_sha256
from study.recipe import Recipe
from study.record_files import read_record
from study.records.training import RunRecord
from study.seal import sealed
from tests.support.fitting import fit
from train.fitting import DivergedError, Images, is_finished
from train.split import hold_out
from train.tasks import Epoch, Resumed
from train.trainer import Trainer

SHORT = replace(catalogue.entry("baseline"), recipe=Recipe(epochs=3, unshifted=1, l1=1e-3))
LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3")


def with_recipe(recipe: Recipe) -> Entry:
    return replace(SHORT, recipe=recipe)


def ignore(row: Epoch | Resumed) -> None:
    """Report nothing."""


def without_times(files: RunFiles) -> list[str]:
    """The rows of history.csv."""
    return [line.rpartition(",")[0] for line in files.history.read_text().splitlines()]


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return Artifacts(tmp_path).run("baseline", 0)


@pytest.fixture
def other(tmp_path: Path) -> RunFiles:
    """The files of another run, to compare with."""
    return Artifacts(tmp_path / "other").run("baseline", 0)


# ---- what a run leaves


def test_the_files_of_a_run(few: Images, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 5)
    seen: list[Epoch | Resumed] = []
    record = fit(SHORT, files, few, seen.append)

    assert read_record(files.record, RunRecord, "") == record
    assert record.checkpoint_sha256 == sha256(files.checkpoint)
    assert (record.model, record.seed, record.epochs) == ("baseline", 5, 3)
    state = torch.load(files.checkpoint, weights_only=True)
    assert set(state) == {f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")}
    weights = [state[f"{layer}.weight"].double() for layer in LAYERS]
    assert record.penalty == pytest.approx(1e-3 * sum(w.abs().sum().item() for w in weights))
    assert record.penalty_strength == pytest.approx(1e-3 * record.learning_rate_sum)
    history = list(csv.DictReader(files.history.open()))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert [float(row["train_loss"]) for row in history] == [row.train_loss for row in seen if isinstance(row, Epoch)]
    assert {row["validation_loss"] for row in history} == {""}
    assert not files.resume.exists()


def test_errors_are_those_of_the_plain_operators(few: Images, files: RunFiles) -> None:
    record = fit(SHORT, files, few, ignore)
    state = torch.load(files.checkpoint, weights_only=True)
    for part, (images, labels) in (("train", few.train), ("test", few.test)):
        x = (images.double() / 255 - 0.2860) / 0.3530
        for layer, padding in (("conv1", 2), ("conv2", 0)):
            x = F.conv2d(x, state[f"{layer}.weight"].double(), state[f"{layer}.bias"].double(), padding=padding)
            x = F.max_pool2d(F.relu(x), 2)
        x = x.flatten(1)
        for layer in ("fc1", "fc2", "fc3"):
            x = F.linear(x, state[f"{layer}.weight"].double(), state[f"{layer}.bias"].double())
            x = x if layer == "fc3" else F.relu(x)
        error = (x.argmax(1) != labels).double().mean().item()
        assert getattr(record, f"{part}_error") == pytest.approx(error, abs=1e-9)
        predicted = [row["predicted"] for row in csv.DictReader(files.predictions.open())]
        assert part == "train" or predicted == [str(c) for c in x.argmax(1).tolist()]
        assert getattr(record, f"{part}_loss") == pytest.approx(F.cross_entropy(x, labels).item(), rel=1e-5)


# ---- reproducible, resumable


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(few: Images, tmp_path: Path) -> None:
    checkpoints = {}
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        files = Artifacts(tmp_path / folder).run("baseline", seed)
        fit(SHORT, files, few, ignore)
        checkpoints[folder] = files.checkpoint.read_bytes()
    assert checkpoints["a"] == checkpoints["b"] != checkpoints["c"]


def stop_after(entry: Entry, files: RunFiles, few: Images, epoch: int) -> None:
    """Train as far as this epoch, then interrupt."""

    def stop(row: Epoch | Resumed) -> None:
        if row.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(entry, files, few, stop)


def test_a_run_stopped_after_any_epoch_ends_with_the_same_bytes(few: Images, tmp_path: Path, other: RunFiles) -> None:
    fit(SHORT, other, few, ignore)
    for after in (1, 2, 3):
        files = Artifacts(tmp_path / str(after)).run("baseline", 0)
        stop_after(SHORT, files, few, after)
        assert not is_finished(files, SHORT)
        resumed: list[Epoch | Resumed] = []
        fit(SHORT, files, few, resumed.append)
        assert files.checkpoint.read_bytes() == other.checkpoint.read_bytes()
        assert resumed[0] == Resumed(after)
        assert [row.epoch for row in resumed[1:]] == list(range(after + 1, 4)), "no epoch is reported again"
        assert without_times(files) == without_times(other)


def test_an_unfinished_run_of_another_recipe_is_not_continued(few: Images, files: RunFiles) -> None:
    stop_after(SHORT, files, few, 1)
    seen: list[Epoch | Resumed] = []
    record = fit(with_recipe(structs.replace(SHORT.recipe, l1=0.0)), files, few, seen.append)
    assert len(seen) == 3
    assert record.recipe.l1 == 0


def test_a_finished_run_keeps_its_files_until_one_of_another_recipe_is_finished(few: Images, files: RunFiles) -> None:
    fit(SHORT, files, few, ignore)
    files.onnx.write_bytes(b"its export")
    finished = {path: path.read_bytes() for path in files.folder.iterdir()}
    changed = with_recipe(structs.replace(SHORT.recipe, l1=0.0))
    stop_after(changed, files, few, 2)
    assert {path: path.read_bytes() for path in files.folder.iterdir() if path != files.resume} == finished
    assert is_finished(files, SHORT)
    fit(changed, files, few, ignore)
    assert is_finished(files, changed)
    assert not files.onnx.exists()


def test_a_broken_resume_file_means_from_the_start(
    few: Images, files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    files.folder.mkdir(parents=True)
    for content in (b"", b"no checkpoint", b"PK\x03\x04 half a zip"):
        files.resume.write_bytes(content)
        seen: list[Epoch | Resumed] = []
        fit(SHORT, files, few, seen.append)
        assert len(seen) == 3
        assert f"{files.resume} cannot be read" in capsys.readouterr().err


def test_finished_means_this_recipe_this_network_and_this_checkpoint(
    few: Images, files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_finished(files, SHORT)
    fit(SHORT, files, few, ignore)
    assert is_finished(files, SHORT)
    assert not is_finished(files, with_recipe(structs.replace(SHORT.recipe, l2=1e-9)))
    assert not is_finished(files, replace(SHORT, network="study.networks.lenet5:LeNet5GAP"))
    with monkeypatch.context() as patch:
        patch.setattr("train.fitting.source_sha256", lambda entry: "0" * 64)
        assert not is_finished(files, SHORT)
    files.checkpoint.write_bytes(files.checkpoint.read_bytes()[:-1])
    assert not is_finished(files, SHORT)


def test_a_damaged_record_is_named_before_the_run_is_made_again(
    few: Images, files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    """The digests of its other files were in it, so they count for nothing."""
    fit(SHORT, files, few, ignore)
    files.record.write_text(files.record.read_text().replace('"seconds": ', '"seconds": 1'))
    assert not is_finished(files, SHORT)
    line = capsys.readouterr().err
    assert line.startswith(f"{files.record}: expected values of sha256 ")
    assert line.endswith("; the run is made again, as its other files cannot be verified\n")


def test_a_run_made_before_a_field_existed_has_its_default(few: Images, files: RunFiles) -> None:
    fit(SHORT, files, few, ignore)
    record = json.loads(files.record.read_text())
    for later in ("optimiser", "schedule", "validation", "patience", "bfloat16", "dropout", "rubbish"):
        del record["recipe"][later]
    for later in ("kept_epoch", "validation_error", "validation_loss"):
        del record[later]
    files.record.write_text(json.dumps(sealed(record)))
    assert is_finished(files, SHORT)
    assert not is_finished(files, with_recipe(structs.replace(SHORT.recipe, weight_decay=1e-4)))


def test_a_run_is_recorded_with_the_source_it_began_with(
    few: Images, files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is made again if its network was edited during the training."""

    def edit(row: Epoch | Resumed) -> None:
        monkeypatch.setattr("train.fitting.source_sha256", lambda entry: "0" * 64)

    assert fit(SHORT, files, few, edit).network_sha256 == source_sha256(SHORT)
    assert not is_finished(files, SHORT)


def test_divergence_in_a_later_epoch_leaves_the_history(
    few: Images, files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = Trainer.epoch
    monkeypatch.setattr(Trainer, "epoch", lambda self, e: epoch(self, e) if e < 2 else (math.nan, 0.9))
    with pytest.raises(DivergedError, match="loss nan in epoch 3 of 3"):
        fit(SHORT, files, few, ignore)
    assert len(files.history.read_text().splitlines()) == 1 + 2
    assert not files.checkpoint.exists()
    assert not files.resume.exists()


# ---- validation and early stopping

PATIENT = Recipe(epochs=30, unshifted=0, learning_rate=0.1, schedule="constant", validation=200, patience=2)


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss(
    few: Images, files: RunFiles, other: RunFiles
) -> None:
    """Trained so fast that it overfits the 800 images left."""
    entry = with_recipe(PATIENT)
    rows: list[Epoch | Resumed] = []
    record = fit(entry, files, few, rows.append)
    history = [row for row in rows if isinstance(row, Epoch)]
    losses = [row.validation_loss or 0 for row in history]
    best = losses.index(min(losses))
    assert len(history) == best + 1 + 2 < 30, "stopped two epochs after the best"
    assert (record.epochs, record.kept_epoch) == (best + 3, best + 1)
    assert record.validation_loss == min(losses) > 0
    assert record.validation_error == history[best].validation_error
    assert [float(row["validation_loss"]) for row in csv.DictReader(files.history.open())] == losses

    validation = few.split(PATIENT).validation
    assert validation is not None
    kept = checkpoints.load(entry, files)
    assert evaluate(kept, *validation).loss == pytest.approx(min(losses), rel=1e-6)
    fit(with_recipe(structs.replace(PATIENT, epochs=best + 1)), other, few, ignore)
    assert other.checkpoint.read_bytes() == files.checkpoint.read_bytes(), "the same as if trained no longer"


def test_images_kept_for_validation_are_not_trained_on(few: Images, files: RunFiles, other: RunFiles) -> None:
    """Other pictures in their place change only what is measured on them."""
    entry = with_recipe(structs.replace(SHORT.recipe, validation=200))
    _, kept = hold_out(few.train[1], 200)
    blackened = few.train[0].clone()
    blackened[kept] = 0
    first = fit(entry, files, few, ignore)
    second = fit(entry, other, Images((blackened, few.train[1]), few.test), ignore)
    assert files.checkpoint.read_bytes() == other.checkpoint.read_bytes()
    assert first.train_error == second.train_error
    assert second.validation_error == pytest.approx(0.9, abs=0.02), "all black squares are of one class of ten"
    assert first.validation_loss != second.validation_loss


def test_a_patient_run_with_dropout_resumes_to_the_same_bytes(few: Images, tmp_path: Path, other: RunFiles) -> None:
    recipe = structs.replace(PATIENT, optimiser="adamw", learning_rate=1e-2, dropout=0.2)
    entry = Entry("mine", "study.networks.lenet5_variants:LeNet5Dropout", recipe)
    expected = fit(entry, other, few, ignore)
    assert expected.epochs > 4
    for after in (1, 4):
        files = Artifacts(tmp_path / str(after)).run("baseline", 0)
        stop_after(entry, files, few, after)
        torch.rand(1000)  # other code that draws random numbers
        assert fit(entry, files, few, ignore).kept_epoch == expected.kept_epoch
        assert files.checkpoint.read_bytes() == other.checkpoint.read_bytes()


# ---- bfloat16

PLAIN = Recipe(epochs=1, batch_size=100, schedule="constant", learning_rate=0.01, flip=False, shift=0, unshifted=0)


def test_bfloat16_learns_the_same_within_its_precision_and_keeps_float32_weights(
    few: Images, files: RunFiles, other: RunFiles
) -> None:
    images = Images(few.test, few.test)
    losses = []
    for bfloat16, to in ((False, files), (True, other)):
        recipe = structs.replace(PLAIN, bfloat16=bfloat16)
        losses.append(fit(Entry("mini-vgg", "study.networks.mini_vgg:MiniVGG", recipe), to, images, ignore).train_loss)
        state = torch.load(to.checkpoint, weights_only=True)
        assert {value.dtype for value in state.values()} == {torch.float32}
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_bfloat16_run_is_evaluated_as_it_is_read_back(few: Images, files: RunFiles) -> None:
    recipe = structs.replace(PLAIN, bfloat16=True, validation=100, patience=1)
    entry = Entry("mini-vgg", "study.networks.mini_vgg:MiniVGG", recipe)
    record = fit(entry, files, Images(few.test, few.test), ignore)
    assert evaluate(checkpoints.load(entry, files), *few.test).loss == record.test_loss
