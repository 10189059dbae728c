"""The process of one run: what `train.engine` starts, and imports beforehand where processes can be forked."""

import contextlib
import signal
from multiprocessing.connection import Connection

import torch

from study.data.tensors import import_torchvision, load
from study.errors import StudyError
from train.fitting import DivergedError, Images, fit
from train.tasks import Event, Task

import_torchvision()  # once for all runs


def work(task: Task, sender: Connection) -> None:
    """Train, and send each event to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and ends this process
    torch.set_num_threads(1)
    if task.fresh:
        task.files.resume.unlink(missing_ok=True)
    dataset = task.entry.dataset
    images = Images(load(task.data, True, dataset), load(task.data, False, dataset))
    try:
        record = fit(task.entry, task.files, images, lambda row: sender.send(Event(task, "epoch", row)))
        event = Event(task, "finished", record)
    except DivergedError as error:
        lower = f"lower the recipe's learning rate ({task.entry.recipe.learning_rate}) or its penalty"
        event = Event(task, "failed", f"training diverged: {error}; {lower}")
    except (StudyError, OSError) as error:
        event = Event(task, "failed", str(error))
    with contextlib.suppress(BrokenPipeError):  # the parent was killed: nobody listens
        sender.send(event)
