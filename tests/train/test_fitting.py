"""One run: its schedule, its files, the same bytes again, what is trained again and what is not, divergence."""

import csv
import json
import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from study import catalogue, checkpoints
from study.artifacts import SCHEMAS, Artifacts, read_json, sha256, write_json
from study.data import tensors as images
from study.entries import LENET5
from study.entry import Entry
from study.evaluation import evaluate
from study.networks import build, source_sha256
from study.networks.lenet5 import LeNet5
from study.recipe import Recipe
from train.fitting import DivergedError, Images, fit, is_finished
from train.split import hold_out
from train.tasks import Epoch
from train.trainer import Trainer, criterion

SHORT = replace(catalogue.entry("baseline"), recipe=Recipe(epochs=3, unshifted=1, l1=1e-3))


def without_times(history: list[Epoch]) -> list[Epoch]:
    return [replace(row, seconds=0.0) for row in history]


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
    seen: list[Epoch] = []
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
    assert [float(row["train_loss"]) for row in history] == [row.train_loss for row in seen]
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
    all_rows: list[Epoch] = []
    fit(SHORT, whole, few, all_rows.append)

    class Stop(Exception):  # noqa: N818
        pass

    def stop(row: Epoch) -> None:
        if row.epoch == after:
            raise Stop

    with pytest.raises(Stop):
        fit(SHORT, halved, few, stop)
    assert not is_finished(halved, SHORT)
    resumed: list[Epoch] = []
    fit(SHORT, halved, few, resumed.append)
    assert halved.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert without_times(resumed) == without_times(all_rows)


def test_an_unfinished_run_of_another_recipe_is_not_continued(few: Images, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)

    def stop(row: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(SHORT, files, few, stop)
    seen: list[Epoch] = []
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
    seen: list[Epoch] = []
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

    def edit(row: Epoch) -> None:
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


# ---- validation and early stopping

PATIENT = Recipe(epochs=30, unshifted=0, learning_rate=0.1, schedule="constant", validation=200, patience=2)


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss(few: Images, tmp_path: Path) -> None:
    """Trained so fast that it overfits the 800 images left."""
    entry = replace(SHORT, recipe=PATIENT)
    files = Artifacts(tmp_path).run("baseline", 0)
    record = fit(entry, files, few, lambda row: None)
    history = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(files.history.open())]
    losses = [row["validation_loss"] for row in history]
    best = losses.index(min(losses))
    assert len(history) == best + 1 + 2 < 30, "stopped two epochs after the best"
    assert (record["epochs"], record["kept_epoch"]) == (best + 3, best + 1)
    assert record["validation_loss"] == min(losses)
    assert record["validation_error"] == history[best]["validation_error"]

    validation = few.split(PATIENT).validation
    assert validation is not None
    kept = checkpoints.load(entry, files)
    assert evaluate(kept, *validation).loss == pytest.approx(min(losses), rel=1e-6)
    short = replace(entry, recipe=replace(PATIENT, epochs=best + 1))
    again = Artifacts(tmp_path / "short").run("baseline", 0)
    fit(short, again, few, lambda row: None)
    assert again.checkpoint.read_bytes() == files.checkpoint.read_bytes(), "the same as if trained no longer"


def test_images_kept_for_validation_are_not_trained_on(few: Images, tmp_path: Path) -> None:
    """Other pictures in their place change nothing but what is measured on them."""
    entry = replace(SHORT, recipe=replace(SHORT.recipe, validation=200))
    _, kept = hold_out(few.train[1], 200)
    blackened = few.train[0].clone()
    blackened[kept] = 0
    one, other = Artifacts(tmp_path / "one").run("baseline", 0), Artifacts(tmp_path / "other").run("baseline", 0)
    first = fit(entry, one, few, lambda row: None)
    second = fit(entry, other, Images((blackened, few.train[1]), few.test), lambda row: None)
    assert one.checkpoint.read_bytes() == other.checkpoint.read_bytes()
    assert first["train_error"] == second["train_error"]
    assert second["validation_error"] == pytest.approx(0.9, abs=0.02), "of one picture of a black square, ten times"
    assert first["validation_loss"] != second["validation_loss"]


@pytest.mark.parametrize("after", [1, 4])
def test_a_patient_run_with_dropout_resumes_to_the_same_bytes(few: Images, tmp_path: Path, after: int) -> None:
    recipe = replace(PATIENT, optimiser="adamw", learning_rate=1e-2, dropout=0.2)
    entry = Entry("mine", "study.networks.lenet5_variants:LeNet5Dropout", recipe)
    whole, halved = Artifacts(tmp_path / "whole").run("mine", 0), Artifacts(tmp_path / "halved").run("mine", 0)
    expected = fit(entry, whole, few, lambda row: None)
    assert expected["epochs"] > 4

    def stop(row: Epoch) -> None:
        if row.epoch == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(entry, halved, few, stop)
    torch.rand(1000)  # whatever else has drawn random numbers
    found = fit(entry, halved, few, lambda row: None)
    assert halved.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert found["kept_epoch"] == expected["kept_epoch"]


# ---- what else a recipe may ask for


def one_step(recipe: Recipe, few: Images) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the output layer before and after one step, and their gradient."""
    part = few.train[0][:50], few.train[1][:50]
    trainer = Trainer(replace(SHORT, recipe=recipe), *part, seed=0)
    network = trainer.network
    assert isinstance(network, LeNet5)
    before = network.fc3.weight.detach().clone()
    pictures, order = trainer.augmentation.epoch(0)
    criterion(network(pictures.float() / 255), part[1][order], recipe).backward()  # type: ignore[no-untyped-call]
    assert network.fc3.weight.grad is not None
    gradient = network.fc3.weight.grad.clone()
    network.zero_grad()
    trainer.epoch(0)
    return before, network.fc3.weight.detach(), gradient


PLAIN = Recipe(epochs=1, batch_size=50, schedule="constant", learning_rate=0.01, flip=False, shift=0, unshifted=0)


def test_sgd_with_weight_decay_is_the_formula(few: Images) -> None:
    before, after, gradient = one_step(replace(PLAIN, momentum=0.0, weight_decay=0.1), few)
    torch.testing.assert_close(after, before - 0.01 * (gradient + 0.1 * before))


def test_nesterovs_first_step_is_the_formula(few: Images) -> None:
    before, after, gradient = one_step(PLAIN, few)
    torch.testing.assert_close(after, before - 0.01 * (gradient + 0.9 * gradient))


def test_adams_first_step_is_the_sign_of_the_gradient(few: Images) -> None:
    before, after, gradient = one_step(replace(PLAIN, optimiser="adam"), few)
    torch.testing.assert_close(after, before - 0.01 * gradient / (gradient.abs() + 1e-8))


def test_adamw_decays_apart_from_the_gradient(few: Images) -> None:
    before, after, gradient = one_step(replace(PLAIN, optimiser="adamw", weight_decay=0.1), few)
    torch.testing.assert_close(after, before * (1 - 0.01 * 0.1) - 0.01 * gradient / (gradient.abs() + 1e-8))


def test_nadams_first_step_is_dozats(few: Images) -> None:
    """Dozat 2016 as torch has it: mu_t = 0.9 * (1 - 0.5 * 0.96 ** (t * 0.004))."""
    before, after, gradient = one_step(replace(PLAIN, optimiser="nadam"), few)
    mu1, mu2 = (0.9 * (1 - 0.5 * 0.96 ** (t * 0.004)) for t in (1, 2))
    size = (1 - mu1) / (1 - mu1) + mu2 * 0.1 / (1 - mu1 * mu2)
    torch.testing.assert_close(after, before - 0.01 * size * gradient / (gradient.abs() + 1e-8))


def test_the_map_criterion_is_the_papers() -> None:
    """LeCun et al. 1998, equation 9: y_D + log(e^-j + sum_i e^-y_i) with distances y, by hand for two images."""
    distances = torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.5, 2.0]])
    labels = torch.tensor([0, 2])
    by_hand = [
        1.0 + math.log(math.exp(-1.5) + math.exp(-1) + math.exp(-2) + math.exp(-4)),
        2.0 + math.log(math.exp(-1.5) + math.exp(-3) + math.exp(-0.5) + math.exp(-2)),
    ]
    found = criterion(-distances, labels, Recipe(rubbish=1.5)).item()
    assert found == pytest.approx(sum(by_hand) / 2, rel=1e-6)


def test_a_constant_rate_is_constant(few: Images) -> None:
    trainer = Trainer(replace(SHORT, recipe=PLAIN), *few.train, seed=0)
    assert {trainer.rate(step) for step in range(20)} == {0.01}


def test_he_draws_kernels_of_variance_two_over_fan_in_and_leaves_no_bias(few: Images) -> None:
    own, he = (
        Trainer(Entry("m", LENET5, replace(PLAIN, initialisation=kind)), *few.train, seed=0).network
        for kind in ("own", "he")
    )
    for name, fan_in in (("fc1", 400), ("fc2", 120)):
        kernel, bias = he.get_parameter(f"{name}.weight"), he.get_parameter(f"{name}.bias")
        assert kernel.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.02)
        assert kernel.abs().max().item() > 3 * math.sqrt(2 / fan_in)  # a normal distribution, not a uniform one
        assert not bias.any()
        assert own.get_parameter(f"{name}.bias").all()


def test_the_recipes_dropout_is_every_layers(few: Images) -> None:
    recipe = replace(PLAIN, dropout=0.125)
    trainer = Trainer(Entry("tuned", "study.networks.tuned:Tuned", recipe), *few.train, seed=0)
    rates = [module.p for module in trainer.network.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates == [0.125, 0.125]


def test_bfloat16_learns_the_same_within_its_precision_and_keeps_float32_weights(few: Images, tmp_path: Path) -> None:
    losses = {}
    for bfloat16 in (False, True):
        entry = Entry("mini-vgg", "study.networks.mini_vgg:MiniVGG", replace(PLAIN, batch_size=100, bfloat16=bfloat16))
        files = Artifacts(tmp_path / str(bfloat16)).run("mini-vgg", 0)
        losses[bfloat16] = fit(entry, files, Images(few.test, few.test), lambda row: None)["train_loss"]
        state = torch.load(files.checkpoint, weights_only=True)
        assert {value.dtype for value in state.values()} == {torch.float32}
    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=0.02)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"optimiser": "lion"}, "optimiser: expected one of sgd, adam, adamw, nadam, found 'lion'"),
        ({"schedule": "cosine"}, "schedule: expected one of one-cycle, constant"),
        ({"l1_update": "x"}, "l1_update: expected one of proximal, subgradient"),
        ({"epochs": 0}, "epochs: expected a whole number from 1, found 0"),
        ({"batch_size": 128.0}, "batch_size: expected a whole number from 1, found 128.0"),
        ({"flip": 1}, "flip: expected True or False, found 1"),
        ({"shift": -1}, "shift: expected a whole number from 0, found -1"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0"),
        ({"l2": math.nan}, "l2: expected a number from 0, found nan"),
        ({"rotation": -5}, "rotation: expected a number from 0"),
        ({"erasing": 1.5}, "erasing: expected a number from 0 to 1"),
        ({"dropout": 1.0}, "dropout: expected None or a rate from 0 to below 1"),
        ({"rubbish": "1"}, "rubbish: expected None or a number"),
        ({"patience": 3}, "patience: expected 0 where no image is kept for validation, found 3"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**value)


def test_a_bfloat16_run_is_evaluated_as_it_is_read_back(few: Images, tmp_path: Path) -> None:
    recipe = replace(PLAIN, batch_size=100, bfloat16=True, validation=100, patience=1)
    entry = Entry("mini-vgg", "study.networks.mini_vgg:MiniVGG", recipe)
    files = Artifacts(tmp_path).run("mini-vgg", 0)
    record = fit(entry, files, Images(few.test, few.test), lambda row: None)
    assert evaluate(checkpoints.load(entry, files), *few.test).loss == record["test_loss"]


def test_what_a_recipe_may_be_its_record_may_be(few: Images) -> None:
    """No run ends with a record that its schema refuses: every field of every recipe here is one it knows."""
    schema = json.loads((SCHEMAS / "run.json").read_text())["properties"]["recipe"]
    assert set(schema["properties"]) == {field.name for field in fields(Recipe)}
    extreme = Recipe(
        shift=0, warmup=0, momentum=1, rubbish=-2, dropout=0, erasing=1, rotation=500, l1=5, l2=7, patience=0
    )
    for recipe in (extreme, *(entry.recipe for entry in catalogue.ENTRIES)):
        jsonschema.validate(asdict(recipe), schema)


def test_a_run_made_before_a_field_came_is_one_with_its_default(few: Images, tmp_path: Path) -> None:
    files = Artifacts(tmp_path).run("baseline", 0)
    record = fit(SHORT, files, few, lambda row: None)
    for later in ("optimiser", "schedule", "validation", "patience", "bfloat16", "dropout", "rubbish"):
        del record["recipe"][later]
    for later in ("kept_epoch", "validation_error", "validation_loss"):
        del record[later]
    write_json(files.record, record)
    assert is_finished(files, SHORT)
    assert not is_finished(files, replace(SHORT, recipe=replace(SHORT.recipe, weight_decay=1e-4)))
