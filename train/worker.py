"""The process of one run: `train.engine` starts it, and preloads this module where processes can be forked."""

import contextlib
from multiprocessing.connection import Connection

from study.children import end_with_parent
from study.data.tensors import import_torchvision, load
from study.errors import StudyError, one_line
from study.soundness import failure
from train.devices import is_full, settle
from train.fitting import DivergedError, Images, fit
from train.tasks import Event, Failed, Finished, NoRoom, Task

import_torchvision()  # once for all runs


def work(task: Task, sender: Connection) -> None:
    """Train, and send each event to the parent."""
    end_with_parent()
    settle(task.device)
    if task.fresh:
        task.files.resume.unlink(missing_ok=True)
    dataset = task.entry.dataset
    images = Images(load(task.data, True, dataset), load(task.data, False, dataset))
    event: Event
    try:
        event = Finished(fit(task.entry, task.files, images, sender.send, task.device))
    except DivergedError as error:
        lower = f"lower the recipe's learning rate ({task.entry.recipe.learning_rate}) or its penalty"
        event = Failed(f"training diverged: {error}; {lower}")
    except (StudyError, OSError) as error:
        event = Failed(str(error))
    except Exception as error:  # a user's network may raise anything, even after the checks
        event = NoRoom(one_line(error)) if is_full(error) else Failed(failure(error))
    with contextlib.suppress(BrokenPipeError):  # the parent was killed
        sender.send(event)
