"""One training run, from a catalogue entry and a seed to a checkpoint. It can be killed and resumed.

A run depends on its recipe and its seed alone: the checkpoint has the same bytes on any number of workers, interrupted
or not.
"""

import math
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass

import torch
from msgspec import structs
from torch import Tensor

from study.artifacts import HISTORY, PREDICTIONS, RunFiles
from study.data import datasets
from study.entry import Entry
from study.environment import environment
from study.errors import StudyError, escaped
from study.evaluation import evaluate
from study.files import sha256, write_bytes, write_csv
from study.networks import parameters, source_sha256
from study.recipe import Recipe
from study.record_files import read_record, write_record
from study.records.training import Device, RunRecord, TrainedOn
from study.verified import damaged_file
from train import resume
from train.devices import gpu
from train.penalties import kernels, penalty
from train.resume import MadeWith, State, serialise
from train.split import hold_out
from train.tasks import Epoch, Resumed
from train.trainer import Trainer


@dataclass(frozen=True)
class Images:
    """The parts of a data set: uint8 images [N, C, H, W] and int64 labels [N]."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor] | None = None

    def split(self, recipe: Recipe) -> "Images":
        """With the validation images of `recipe` held out from the training images."""
        if not recipe.validation:
            return self
        images, labels = self.train
        try:
            train, validation = hold_out(labels, recipe.validation)
        except ValueError as error:
            raise StudyError(f"validation: {error}") from None
        return Images((images[train], labels[train]), self.test, (images[validation], labels[validation]))


class DivergedError(Exception):
    """A loss is not finite."""


def made_with(entry: Entry) -> MadeWith:
    """As `entry` and the source of its network are now."""
    dataset = datasets.find(entry.dataset)
    return MadeWith(
        network=entry.network,
        network_sha256=source_sha256(entry),
        recipe=entry.recipe,
        dataset=TrainedOn(
            name=dataset.title,
            classes=dataset.classes,
            mean=dataset.mean,
            std=dataset.std,
            files=dict(dataset.hashes),
        ),
    )


def is_finished(files: RunFiles, entry: Entry) -> bool:
    """Whether this run is complete, with the recipe and network that `entry` has now.

    Prints a line to standard error where it is complete but for a file that is damaged.
    """
    if not files.record.exists():
        return False
    try:
        record = read_record(files.record, RunRecord, "the run is made again, as its other files cannot be verified")
    except StudyError as error:
        print(escaped(str(error)), file=sys.stderr)
        return False
    same = (entry.network, source_sha256(entry), entry.recipe) == (record.network, record.network_sha256, record.recipe)
    same = same and record.dataset.name == datasets.find(entry.dataset).title
    if not same:
        return False
    if path := damaged_file(files, record):
        print(f"{path} is missing or not the file that run.json describes; it is trained again", file=sys.stderr)
        return False
    return True


def best_epoch(history: Sequence[Epoch]) -> int:
    """The epoch of the lowest validation loss, from 1, the first such; 0 before there is one."""

    def loss(row: Epoch) -> float:
        return math.inf if row.validation_loss is None else row.validation_loss

    return min(history, key=loss).epoch if history else 0


def unfinish(files: RunFiles, fresh: bool = False) -> None:
    """Delete the results of an earlier run, whose place the files of a new one are to take; with `fresh` its state."""
    results = (files.record, files.checkpoint, files.predictions, files.onnx, files.export)
    for path in (*results, files.resume) if fresh else results:
        path.unlink(missing_ok=True)


def epochs(
    entry: Entry, files: RunFiles, images: Images, device: Device = "cpu"
) -> Generator[Epoch | Resumed, None, RunRecord]:
    """Train one run, from its last whole epoch if there is one, and write its files.

    A finished run by another recipe keeps its files until this one is finished too.

    Args:
        images: all of them; those for validation are held out here.

    Yields:
        Each epoch, and first the last epoch that was trained before, if there is one.

    Returns:
        The content of run.json.

    Raises:
        DivergedError: a loss is not finite. The history up to the epoch before is left, and no checkpoint.
        StudyError: the state of an unfinished run does not fit the network, or is of another device.
    """
    recipe, made = entry.recipe, made_with(entry)  # now: the source may be edited during training
    images = images.split(recipe)
    trainer = Trainer(entry, *images.train, seed=files.seed, device=device)
    replaces = files.record.exists()
    state = resume.load(files, trainer, made)
    if state is None:
        state = State(made, [], {})
        if files.resume.exists():  # the first trainer may have loaded a part of it
            trainer = Trainer(entry, *images.train, seed=files.seed, device=device)
    history = state.history
    if history:
        yield Resumed(history[-1].epoch)
    try:
        while len(history) < recipe.epochs and not _stops(history, recipe):
            history.append(_epoch(trainer, images, len(history)))
            if recipe.patience and best_epoch(history) == len(history):
                state.best = {name: value.clone() for name, value in trainer.network.state_dict().items()}
            if not replaces:  # the history of a finished run belongs to it
                write_csv(files.history, HISTORY, map(asdict, history))
            resume.save(files, trainer, state)
            yield history[-1]
        return _finish(files, trainer, images, state)
    except DivergedError:
        files.resume.unlink(missing_ok=True)  # it would diverge again
        raise


def _stops(history: Sequence[Epoch], recipe: Recipe) -> bool:
    return recipe.patience > 0 and len(history) - best_epoch(history) >= recipe.patience


def _epoch(trainer: Trainer, images: Images, epoch: int) -> Epoch:
    """Train for epoch number `epoch`, from 0, and validate."""
    started = time.perf_counter()
    loss, error = trainer.epoch(epoch)
    validation = trainer.evaluate(*images.validation) if images.validation else None
    if not math.isfinite(loss + (validation.loss if validation else 0)):
        raise DivergedError(f"loss {loss} in epoch {epoch + 1} of {trainer.recipe.epochs}")
    return Epoch(
        epoch=epoch + 1,
        lr=trainer.rate((epoch + 1) * trainer.steps - 1),
        train_loss=loss,
        train_error=error,
        validation_loss=validation.loss if validation else None,
        validation_error=validation.error if validation else None,
        seconds=round(time.perf_counter() - started, 4),
    )


def _finish(files: RunFiles, trainer: Trainer, images: Images, state: State) -> RunRecord:
    """Evaluate, then write the checkpoint, the predictions and, last, run.json, which marks the run as finished."""
    recipe, network, history = trainer.recipe, trainer.network, state.history
    if recipe.patience:
        network.load_state_dict(state.best)
    for weight in network.parameters():
        weight.data = weight.data.contiguous()  # as they will be read back, in whichever layout they were trained
    kept = history[best_epoch(history) - 1] if recipe.patience else history[-1]
    train = trainer.evaluate(*images.train)
    network.cpu()  # the checkpoint of a run on a GPU can be read without one, and is tested as --evaluate does
    test = evaluate(network, *images.test)
    if not math.isfinite(train.loss + test.loss):
        raise DivergedError(f"the loss of the trained network is {train.loss} on the training images")
    seconds = sum(row.seconds for row in history)
    rate_sum = sum(trainer.rate(step) for step in range(len(history) * trainer.steps))
    unfinish(files)
    write_bytes(files.checkpoint, serialise(network.state_dict()))
    write_csv(files.history, HISTORY, map(asdict, history))  # again: it may have been changed since
    pairs = zip(images.test[1].tolist(), test.predicted, strict=True)
    write_csv(files.predictions, PREDICTIONS, (dict(zip(PREDICTIONS, pair, strict=True)) for pair in pairs))
    record = RunRecord(
        model=files.model,
        seed=files.seed,
        **structs.asdict(state.made_with),
        parameters=parameters(network),
        train_error=train.error,
        test_error=test.error,
        train_loss=train.loss,
        test_loss=test.loss,
        penalty=penalty(kernels(network), recipe),
        learning_rate_sum=rate_sum,
        penalty_strength=rate_sum * (recipe.l1 + recipe.l2),
        epochs=len(history),
        kept_epoch=kept.epoch,
        validation_error=kept.validation_error,
        validation_loss=kept.validation_loss,
        seconds=seconds,
        images_per_second=len(history) * len(images.train[1]) / seconds,
        device=trainer.device,
        gpu=gpu(trainer.device),
        environment=structs.replace(environment(), threads=torch.get_num_threads()),
        checkpoint_sha256=sha256(files.checkpoint),
        history_sha256=sha256(files.history),
        predictions_sha256=sha256(files.predictions),
    )
    write_record(files.record, record)
    files.resume.unlink(missing_ok=True)
    return record
