"""The process of one run: `train.engine` starts it, and preloads this module where processes can be forked."""

import contextlib
import signal
from multiprocessing.connection import Connection

import torch

from study.data.tensors import import_torchvision, load
from study.errors import StudyError
from study.soundness import failure
from train.fitting import DivergedError, Images, fit
from train.tasks import Event, Failed, Finished, Task

import_torchvision()  # once for all runs


def work(task: Task, sender: Connection) -> None:
    """Train, and send each event to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and terminates this process
    torch.set_num_threads(1)
    if task.fresh:
        task.files.resume.unlink(missing_ok=True)
    dataset = task.entry.dataset
    images = Images(load(task.data, True, dataset), load(task.data, False, dataset))
    event: Event
    try:
        event = Finished(fit(task.entry, task.files, images, sender.send))
    except DivergedError as error:
        lower = f"lower the recipe's learning rate ({task.entry.recipe.learning_rate}) or its penalty"
        event = Failed(f"training diverged: {error}; {lower}")
    except (StudyError, OSError) as error:
        event = Failed(str(error))
    except Exception as error:  # a user's network may raise anything, even after the checks
        event = Failed(failure(error))
    with contextlib.suppress(BrokenPipeError):  # the parent was killed
        sender.send(event)
