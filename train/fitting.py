"""One training run, from a catalogue entry and a seed to a checkpoint. It can be killed and continued.

Everything a run does follows from its recipe and its seed: the same bytes come out whatever else runs beside it,
and whether or not it was interrupted on the way.
"""

import io
import math
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor

from study import fashion_mnist
from study.artifacts import HISTORY, PREDICTIONS, RunFiles, read_json, sha256, write_bytes, write_csv, write_json
from study.catalogue import Entry
from study.environment import environment
from study.errors import StudyError
from study.evaluation import evaluate
from study.networks import build, parameters, source_sha256
from train.augmentation import Augmentation
from train.penalties import kernels, penalty, penalty_step


@dataclass(frozen=True)
class Images:
    """Both parts of the data set: uint8 images [N, C, H, W] and int64 labels [N]."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


class DivergedError(Exception):
    """The training loss is not finite any more."""


def is_finished(files: RunFiles, entry: Entry) -> bool:
    """Whether this run was trained to its end with the recipe and network that `entry` has now."""
    if not files.record.exists() or not files.checkpoint.exists():
        return False
    try:
        record = read_json(files.record, "run/1", "")
    except StudyError:
        return False
    made_with = _made_with(entry)
    same = all(record[key] == value for key, value in made_with.items())
    return same and record["checkpoint_sha256"] == sha256(files.checkpoint)


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
        self.optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=0.0,  # set anew for each step
            momentum=self.recipe.momentum,
            nesterov=self.recipe.momentum > 0,
            fused=True,
        )
        self.augmentation = Augmentation(images, self.recipe, seed)
        self.labels = labels
        self.steps = math.ceil(len(labels) / self.recipe.batch_size)
        """Steps in an epoch."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs: one cycle up to the peak and down to 0."""
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
        shuffled, order = self.augmentation.epoch(epoch)
        batches = torch.split(shuffled, self.recipe.batch_size)
        targets = torch.split(self.labels[order], self.recipe.batch_size)
        loss_sum = torch.zeros((), dtype=torch.float64)
        wrong = torch.zeros((), dtype=torch.int64)
        for step, (batch, target) in enumerate(zip(batches, targets, strict=True)):
            rate = self.optimiser.param_groups[0]["lr"] = self.rate(epoch * self.steps + step)
            logits = self.network(batch.float().div_(255))
            loss = F.cross_entropy(logits, target, label_smoothing=self.recipe.label_smoothing)
            torch.autograd.backward(loss)
            self.optimiser.step()
            self.optimiser.zero_grad()
            penalty_step(weights, self.recipe, rate)
            loss_sum += loss.detach() * len(batch)
            wrong += (logits.detach().argmax(1) != target).sum()
        return loss_sum.item() / len(order), wrong.item() / len(order)


def fit(entry: Entry, files: RunFiles, images: Images, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train one run, from its last whole epoch where there is one, and write its files.

    Args:
        report: called with each row of history.csv as its epoch ends, and first with each row that was there before.

    Returns:
        The content of run.json.

    Raises:
        DivergedError: a loss is not finite. The history up to the epoch before is left, and no checkpoint.
        StudyError: the state of an unfinished run does not fit the network.
    """
    trainer = Trainer(entry, *images.train, seed=files.seed)
    for result in (files.record, files.checkpoint, files.predictions, files.onnx, files.export):
        result.unlink(missing_ok=True)  # from here on this run is not a finished one
    history = _resume(files, trainer)
    for row in history:
        report(row)
    for epoch in range(len(history), entry.recipe.epochs):
        started = time.perf_counter()
        loss, error = trainer.epoch(epoch)
        if not math.isfinite(loss):
            files.resume.unlink(missing_ok=True)
            raise DivergedError(f"loss {loss} in epoch {epoch + 1} of {entry.recipe.epochs}")
        seconds = round(time.perf_counter() - started, 4)
        last_rate = trainer.rate((epoch + 1) * trainer.steps - 1)
        history.append(dict(zip(HISTORY, (epoch + 1, last_rate, loss, error, None, None, seconds), strict=True)))
        write_csv(files.history, HISTORY, history)
        _save(files, trainer, history)
        report(history[-1])
    return _finish(files, trainer, images, history)


def _save(files: RunFiles, trainer: Trainer, history: list[dict[str, Any]]) -> None:
    state = {
        "made_with": trainer.made_with,
        "network": trainer.network.state_dict(),
        "optimiser": trainer.optimiser.state_dict(),
        "history": history,
    }
    write_bytes(files.resume, serialise(state))


def _made_with(entry: Entry) -> dict[str, Any]:
    """What decides how a run ends, but for its seed; a part of run.json."""
    return {"network": entry.network, "network_sha256": source_sha256(entry), "recipe": asdict(entry.recipe)}


def _resume(files: RunFiles, trainer: Trainer) -> list[dict[str, Any]]:
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
    except (RuntimeError, LookupError, ValueError):
        network = trainer.made_with["network"]
        raise StudyError(f"{files.resume} does not fit {network} as it is now; train with --fresh") from None
    return list(history)


def _finish(files: RunFiles, trainer: Trainer, images: Images, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Evaluate, then write the checkpoint, the predictions and, last, run.json, which declares the run finished."""
    recipe, network = trainer.recipe, trainer.network
    train, test = evaluate(network, *images.train), evaluate(network, *images.test)
    if not math.isfinite(train.loss + test.loss):
        files.resume.unlink(missing_ok=True)
        raise DivergedError(f"the loss of the trained network is {train.loss} on the training images")
    seconds = sum(row["seconds"] for row in history)
    rate_sum = sum(trainer.rate(step) for step in range(recipe.epochs * trainer.steps))
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
        "epochs": recipe.epochs,
        "seconds": seconds,
        "images_per_second": recipe.epochs * len(images.train[1]) / seconds,
        "dataset": _dataset(),
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


def _dataset() -> dict[str, Any]:
    return {
        "name": fashion_mnist.NAME,
        "classes": list(fashion_mnist.CLASSES),
        "mean": fashion_mnist.MEAN,
        "std": fashion_mnist.STD,
        "files": {name: file.sha256 for name, file in fashion_mnist.FILES.items()},
    }
