"""One training run, from a catalogue entry and a seed to a checkpoint. It can be killed and continued.

Everything a run does follows from its recipe and its seed: the same bytes come out whatever else runs beside it,
and whether or not it was interrupted on the way.
"""

import io
import math
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from msgspec import structs
from torch import Tensor, nn

from study.artifacts import HISTORY, PREDICTIONS, RunFiles, read_json, sha256, write_bytes, write_csv, write_json
from study.data import datasets
from study.entry import Entry
from study.environment import environment
from study.errors import StudyError
from study.evaluation import evaluate
from study.networks import build, parameters, source_sha256
from study.recipe import Recipe, recorded
from train.augmentation import Augmentation, mixed
from train.penalties import kernels, penalty, penalty_step
from train.split import hold_out

Row: TypeAlias = dict[str, Any]
"""A row of history.csv."""


@dataclass(frozen=True)
class Images:
    """The parts of a data set: uint8 images [N, C, H, W] and int64 labels [N]."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor] | None = None

    def split(self, recipe: Recipe) -> "Images":
        """With the images that `recipe` keeps back for validation taken out of those to train on."""
        if not recipe.validation:
            return self
        images, labels = self.train
        try:
            train, validation = hold_out(labels, recipe.validation)
        except ValueError as error:
            raise StudyError(f"validation: {error}") from None
        return Images((images[train], labels[train]), self.test, (images[validation], labels[validation]))


class DivergedError(Exception):
    """The training loss is not finite any more."""


def is_finished(files: RunFiles, entry: Entry) -> bool:
    """Whether this run was trained to its end with the recipe and network that `entry` has now."""
    if not files.record.exists() or not files.checkpoint.exists():
        return False
    try:
        record = read_json(files.record, "run/1", "")
        recipe = recorded(record["recipe"])
    except (StudyError, ValueError):
        return False
    same = (entry.network, source_sha256(entry), entry.recipe) == (record["network"], record["network_sha256"], recipe)
    same = same and record["dataset"]["name"] == datasets.find(entry.dataset).title
    return same and record["checkpoint_sha256"] == sha256(files.checkpoint)


def draw_as_he(network: nn.Module) -> None:
    """Draw the kernels of all convolutions and fully-connected layers anew, as Recipe.initialisation says of "he"."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Trainer:
    """One run in the making: a network, its optimiser and the images of every epoch.

    Args:
        images: the training images, uint8 [N, C, H, W].
        labels: int64 [N].
        seed: of the initial weights and of the augmentation.
    """

    def __init__(self, entry: Entry, images: Tensor, labels: Tensor, seed: int) -> None:
        torch.manual_seed(seed)
        self.made_with = _made_with(entry)  # now: the source may be edited while this trains
        self.recipe = entry.recipe
        self.network = build(entry).train()
        if entry.recipe.initialisation == "he":
            draw_as_he(self.network)
        self.layout = torch.channels_last if entry.recipe.bfloat16 else torch.contiguous_format
        for weight in self.network.parameters():
            if weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=self.layout)
        if entry.recipe.dropout is not None:
            for module in self.network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = entry.recipe.dropout
        self.optimiser = optimiser(self.network, entry.recipe)
        self.best: dict[str, Tensor] = {}
        """Weights after the epoch of the lowest validation loss, in a recipe with patience."""
        self.seed = seed
        self.augmentation = Augmentation(images, self.recipe, seed)
        self.labels = labels
        self.steps = math.ceil(len(labels) / self.recipe.batch_size)
        """Steps in an epoch."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs of the recipe."""
        if self.recipe.schedule == "constant":
            return self.recipe.learning_rate
        total = self.recipe.epochs * self.steps
        peak = self.recipe.warmup * total
        rise, fall = (step + 1) / max(peak, 1), (total - step) / max(total - peak, 1)
        return self.recipe.learning_rate * min(rise, fall, 1)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train for epoch number `epoch`, from 0.

        Returns:
            Mean loss and error rate over its augmented images, each image before the update it takes part in.
        """
        weights = kernels(self.network)
        torch.manual_seed(mixed(self.seed, epoch, 1))  # of dropout: a resumed run draws what it would have drawn
        self.network.train()
        shuffled, order = self.augmentation.epoch(epoch)
        batches = torch.split(shuffled, self.recipe.batch_size)
        targets = torch.split(self.labels[order], self.recipe.batch_size)
        loss_sum = torch.zeros((), dtype=torch.float64)
        wrong = torch.zeros((), dtype=torch.int64)
        for step, (batch, target) in enumerate(zip(batches, targets, strict=True)):
            rate = self.optimiser.param_groups[0]["lr"] = self.rate(epoch * self.steps + step)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
                logits = self.network(batch.float().div_(255).contiguous(memory_format=self.layout)).float()
            loss = criterion(logits, target, self.recipe)
            torch.autograd.backward(loss)
            self.optimiser.step()
            self.optimiser.zero_grad()
            penalty_step(weights, self.recipe, rate)
            loss_sum += loss.detach() * len(batch)
            wrong += (logits.detach().argmax(1) != target).sum()
        return loss_sum.item() / len(order), wrong.item() / len(order)


def optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of all parameters; its learning rate is set anew for each step."""
    weights, decay = network.parameters(), recipe.weight_decay
    match recipe.optimiser:
        case "sgd":
            nesterov = recipe.momentum > 0
            return torch.optim.SGD(
                weights, lr=0.0, momentum=recipe.momentum, nesterov=nesterov, weight_decay=decay, fused=True
            )
        case "adam":
            return torch.optim.Adam(weights, lr=0.0, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(weights, lr=0.0, weight_decay=decay, fused=True)
        case "nadam":
            return torch.optim.NAdam(weights, lr=0.0, weight_decay=decay, foreach=True)


def criterion(scores: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Mean cross-entropy of `scores` (float32 [N, classes]), with the rubbish class where the recipe has one."""
    if recipe.rubbish is not None:
        scores = torch.cat([scores, scores.new_full((len(scores), 1), -recipe.rubbish)], dim=1)
    return F.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing)


def best_epoch(history: Sequence[Row]) -> int:
    """The epoch of the lowest validation loss, from 1, the first such; 0 before there is one."""
    return min((row["validation_loss"], row["epoch"]) for row in history)[1] if history else 0


def fit(entry: Entry, files: RunFiles, images: Images, report: Callable[[Row], None]) -> dict[str, Any]:
    """Train one run, from its last whole epoch where there is one, and write its files.

    Args:
        images: all of them; those for validation are taken out here.
        report: called with each row of history.csv as its epoch ends, and first with each row that was there before.

    Returns:
        The content of run.json.

    Raises:
        DivergedError: a loss is not finite. The history up to the epoch before is left, and no checkpoint.
        StudyError: the state of an unfinished run does not fit the network.
    """
    recipe = entry.recipe
    images = images.split(recipe)
    trainer = Trainer(entry, *images.train, seed=files.seed)
    for result in (files.record, files.checkpoint, files.predictions, files.onnx, files.export):
        result.unlink(missing_ok=True)  # from here on this run is not a finished one
    history = _resume(files, trainer)
    for row in history:
        report(row)
    try:
        while len(history) < recipe.epochs and not _stops(history, recipe):
            history.append(_epoch(trainer, images, len(history)))
            if recipe.patience and best_epoch(history) == len(history):
                trainer.best = {name: value.clone() for name, value in trainer.network.state_dict().items()}
            write_csv(files.history, HISTORY, history)
            _save(files, trainer, history)
            report(history[-1])
        return _finish(files, trainer, images, history)
    except DivergedError:
        files.resume.unlink(missing_ok=True)  # it would diverge again
        raise


def _stops(history: Sequence[Row], recipe: Recipe) -> bool:
    return recipe.patience > 0 and len(history) - best_epoch(history) >= recipe.patience


def _epoch(trainer: Trainer, images: Images, epoch: int) -> Row:
    """Train for epoch number `epoch`, from 0, and validate; its row of the history."""
    started = time.perf_counter()
    loss, error = trainer.epoch(epoch)
    validation = evaluate(trainer.network, *images.validation) if images.validation else None
    if not math.isfinite(loss + (validation.loss if validation else 0)):
        raise DivergedError(f"loss {loss} in epoch {epoch + 1} of {trainer.recipe.epochs}")
    return {
        "epoch": epoch + 1,
        "lr": trainer.rate((epoch + 1) * trainer.steps - 1),
        "train_loss": loss,
        "train_error": error,
        "validation_loss": validation.loss if validation else None,
        "validation_error": validation.error if validation else None,
        "seconds": round(time.perf_counter() - started, 4),
    }


def _save(files: RunFiles, trainer: Trainer, history: list[Row]) -> None:
    state = {
        "made_with": trainer.made_with,
        "network": trainer.network.state_dict(),
        "optimiser": trainer.optimiser.state_dict(),
        "best": trainer.best,
        "history": history,
    }
    write_bytes(files.resume, serialise(state))


def _made_with(entry: Entry) -> dict[str, Any]:
    """What decides how a run ends, but for its seed; a part of run.json."""
    return {
        "network": entry.network,
        "network_sha256": source_sha256(entry),
        "recipe": structs.asdict(entry.recipe),
        "dataset": _dataset(entry),
    }


def _resume(files: RunFiles, trainer: Trainer) -> list[Row]:
    """Load the state after the last whole epoch, if there is one of this recipe; its history, or an empty one."""
    try:
        state = torch.load(files.resume, weights_only=True)
        made_with, history = state["made_with"], state["history"]
    except FileNotFoundError:
        return []
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        print(f"{files.resume} cannot be read ({type(error).__name__}): training from the start", file=sys.stderr)
        return []
    if made_with != trainer.made_with:
        return []
    try:
        trainer.network.load_state_dict(state["network"])
        trainer.optimiser.load_state_dict(state["optimiser"])
        trainer.best = state["best"]
    except (RuntimeError, LookupError, ValueError):
        network = trainer.made_with["network"]
        raise StudyError(f"{files.resume} does not fit {network} as it is now; train with --fresh") from None
    return list(history)


def _finish(files: RunFiles, trainer: Trainer, images: Images, history: list[Row]) -> dict[str, Any]:
    """Evaluate, then write the checkpoint, the predictions and, last, run.json, which declares the run finished."""
    recipe, network = trainer.recipe, trainer.network
    if recipe.patience:
        network.load_state_dict(trainer.best)
    for weight in network.parameters():
        weight.data = weight.data.contiguous()  # as they will be read back, whatever layout they were trained in
    kept = history[best_epoch(history) - 1] if recipe.patience else history[-1]
    train, test = evaluate(network, *images.train), evaluate(network, *images.test)
    if not math.isfinite(train.loss + test.loss):
        raise DivergedError(f"the loss of the trained network is {train.loss} on the training images")
    seconds = sum(row["seconds"] for row in history)
    rate_sum = sum(trainer.rate(step) for step in range(len(history) * trainer.steps))
    write_bytes(files.checkpoint, serialise(network.state_dict()))
    pairs = zip(images.test[1].tolist(), test.predicted, strict=True)
    write_csv(files.predictions, PREDICTIONS, (dict(zip(PREDICTIONS, pair, strict=True)) for pair in pairs))
    record = {
        "schema": "run/1",
        "model": files.model,
        "seed": files.seed,
        **trainer.made_with,
        "parameters": parameters(network),
        "train_error": train.error,
        "test_error": test.error,
        "train_loss": train.loss,
        "test_loss": test.loss,
        "penalty": penalty(kernels(network), recipe),
        "learning_rate_sum": rate_sum,
        "penalty_strength": rate_sum * (recipe.l1 + recipe.l2),
        "epochs": len(history),
        "kept_epoch": kept["epoch"],
        "validation_error": kept["validation_error"],
        "validation_loss": kept["validation_loss"],
        "seconds": seconds,
        "images_per_second": len(history) * len(images.train[1]) / seconds,
        "environment": {**environment(), "threads": torch.get_num_threads()},
        "checkpoint_sha256": sha256(files.checkpoint),
    }
    write_json(files.record, record)
    files.resume.unlink(missing_ok=True)
    return record


def serialise(state: Any) -> bytes:
    """`torch.save` as bytes; saved through a path, the file would contain its own temporary name."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _dataset(entry: Entry) -> dict[str, Any]:
    dataset = datasets.find(entry.dataset)
    mean, std = (list(value) if isinstance(value, tuple) else value for value in (dataset.mean, dataset.std))
    return {
        "name": dataset.title,
        "classes": list(dataset.classes),
        "mean": mean,
        "std": std,
        "files": dict(dataset.hashes),
    }
