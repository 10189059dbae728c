"""One training run, from a catalogue entry and a seed to a checkpoint. It can be killed and continued.

Everything a run does follows from its recipe and its seed: the same bytes come out whatever else runs beside it,
and whether or not it was interrupted on the way.
"""

import io
import math
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study import fashion_mnist
from study.artifacts import RunFiles, read_json, sha256, write_bytes, write_csv, write_json
from study.catalogue import Entry, Recipe
from study.environment import environment
from study.errors import StudyError
from study.evaluation import evaluate
from study.networks import build, parameters
from train.augmentation import Augmentation
from train.penalties import kernels, penalty, penalty_step

HISTORY = ("epoch", "lr", "train_loss", "train_error", "validation_loss", "validation_error", "seconds")


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
    made_with = (record["network"], record["recipe"], record["checkpoint_sha256"])
    return made_with == (entry.network, asdict(entry.recipe), sha256(files.checkpoint))


def fit(entry: Entry, files: RunFiles, images: Images, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train one run, from its last whole epoch where there is one, and write its files.

    Args:
        report: called with each row of history.csv as its epoch ends (and once with each row that was there before).

    Returns:
        The content of run.json.

    Raises:
        DivergedError: a loss is not finite. Nothing but the history up to there is left.
    """
    recipe = entry.recipe
    torch.manual_seed(files.seed)
    network = build(entry).train()
    optimiser = torch.optim.SGD(
        network.parameters(), lr=0.0, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True
    )
    augmentation = Augmentation(images.train[0], recipe, files.seed)
    steps = math.ceil(len(images.train[1]) / recipe.batch_size)

    history = _resume(files, entry, network, optimiser)
    if not history:
        files.record.unlink(missing_ok=True)  # from here on this run is not a finished one
    for row in history:
        report(row)
    for epoch in range(len(history), recipe.epochs):
        started = time.perf_counter()
        rates = [one_cycle(recipe, steps, epoch * steps + step) for step in range(steps)]
        loss, error = _epoch(network, optimiser, recipe, augmentation, images.train[1], epoch, rates)
        if not math.isfinite(loss):
            files.resume.unlink(missing_ok=True)
            raise DivergedError(f"loss {loss} in epoch {epoch + 1} of {recipe.epochs}")
        seconds = round(time.perf_counter() - started, 4)
        history.append(dict(zip(HISTORY, (epoch + 1, rates[-1], loss, error, None, None, seconds), strict=True)))
        write_csv(files.history, HISTORY, history)
        _save(files, entry, network, optimiser, history)
        report(history[-1])
    return _finish(entry, files, network, images, history, steps)


def one_cycle(recipe: Recipe, steps: int, step: int) -> float:
    """The learning rate of step number `step` (from 0) where an epoch has `steps`: up linearly, then down to 0."""
    total = recipe.epochs * steps
    peak = recipe.warmup * total
    done = step + 1
    return recipe.learning_rate * (done / peak if done <= peak else (total - step) / (total + 1 - peak))


def _epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    augmentation: Augmentation,
    labels: Tensor,
    epoch: int,
    rates: list[float],
) -> tuple[float, float]:
    """Train for one epoch; mean loss and error rate over its augmented images, each before its own update."""
    weights = kernels(network)
    shuffled, order = augmentation.epoch(epoch)
    loss_sum = torch.zeros((), dtype=torch.float64)
    wrong = torch.zeros((), dtype=torch.int64)
    batches: Iterator[tuple[Tensor, Tensor]] = zip(
        shuffled.split(recipe.batch_size), labels[order].split(recipe.batch_size), strict=True
    )
    for rate, (batch, target) in zip(rates, batches, strict=True):
        optimiser.param_groups[0]["lr"] = rate
        logits = network(batch.float().div_(255))
        loss = F.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        penalty_step(weights, recipe, rate)
        loss_sum += loss.detach() * len(batch)
        wrong += (logits.detach().argmax(1) != target).sum()
    return loss_sum.item() / len(labels), wrong.item() / len(labels)


def _save(files: RunFiles, entry: Entry, network: nn.Module, optimiser: Any, history: list[dict[str, Any]]) -> None:
    state = {
        "made_with": {"network": entry.network, **asdict(entry.recipe)},
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "history": history,
    }
    write_bytes(files.resume, serialise(state))


def _resume(files: RunFiles, entry: Entry, network: nn.Module, optimiser: Any) -> list[dict[str, Any]]:
    """Load the state after the last whole epoch, if there is one of this recipe; its history, or an empty one."""
    try:
        state = torch.load(files.resume, weights_only=True)
        made_with = state["made_with"]
    except FileNotFoundError:
        return []
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        print(f"{files.resume} cannot be read ({type(error).__name__}): training from the start", file=sys.stderr)
        return []
    if made_with != {"network": entry.network, **asdict(entry.recipe)}:
        return []
    try:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, LookupError, ValueError):
        raise StudyError(f"{files.resume} does not fit {entry.network} as it is now; train with --fresh") from None
    history: list[dict[str, Any]] = state["history"]
    return history


def _finish(
    entry: Entry, files: RunFiles, network: nn.Module, images: Images, history: list[dict[str, Any]], steps: int
) -> dict[str, Any]:
    """Evaluate, then write checkpoint.pt and, last, run.json, which declares the run finished."""
    recipe = entry.recipe
    train_error, train_loss = evaluate(network, *images.train)
    test_error, test_loss = evaluate(network, *images.test)
    if not math.isfinite(train_loss + test_loss):
        raise DivergedError(f"the loss of the trained network is {train_loss} on the training images")
    seconds = sum(row["seconds"] for row in history)
    rate_sum = sum(one_cycle(recipe, steps, step) for step in range(recipe.epochs * steps))
    write_bytes(files.checkpoint, serialise(network.state_dict()))
    record = {
        "schema": "run/1",
        "model": files.model,
        "seed": files.seed,
        "network": entry.network,
        "parameters": parameters(network),
        "train_error": train_error,
        "test_error": test_error,
        "train_loss": train_loss,
        "test_loss": test_loss,
        "penalty": penalty(kernels(network), recipe),
        "learning_rate_sum": rate_sum,
        "penalty_strength": rate_sum * (recipe.l1 + recipe.l2),
        "epochs": recipe.epochs,
        "seconds": seconds,
        "images_per_second": recipe.epochs * len(images.train[1]) / seconds,
        "recipe": asdict(recipe),
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
