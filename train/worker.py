"""The process of one run: `train.engine` starts it, and preloads this module where processes can be forked."""

import contextlib
from collections.abc import Iterator
from multiprocessing.connection import Connection

from study.children import end_with_parent
from study.data.tensors import import_torchvision, load
from study.errors import StudyError, described, one_line
from study.soundness import failure
from train.devices import is_full, settle
from train.fitting import DivergedError, Images, epochs, unfinish
from train.tasks import Event, Failed, Finished, NoRoom, Task

import_torchvision()  # once for all runs


def work(task: Task, sender: Connection) -> None:
    """Train, and send each event to the parent."""
    end_with_parent()
    dataset = task.entry.dataset
    images = Images(load(task.data, True, dataset), load(task.data, False, dataset))
    if task.fresh:
        unfinish(task.files, fresh=True)  # at once: a run put back for lack of room is not a finished one
    with contextlib.suppress(BrokenPipeError):  # the parent was killed
        for event in events(task, images):
            sender.send(event)


def events(task: Task, images: Images) -> Iterator[Event]:
    """Train in this process; the last event says how the run has ended."""
    settle(task.device)
    try:
        record = yield from epochs(task.entry, task.files, images, task.device)
    except DivergedError as error:
        lower = f"lower the recipe's learning rate ({task.entry.recipe.learning_rate}) or its penalty"
        yield Failed(f"training diverged: {error}; {lower}")
    except (StudyError, OSError) as error:
        yield Failed(described(error))
    except Exception as error:  # a user's network may raise anything, even after the checks
        yield NoRoom(one_line(error)) if is_full(error) else Failed(failure(error))
    else:
        yield Finished(record)
