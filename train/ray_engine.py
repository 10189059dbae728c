"""Runs and trials as tasks of Ray, on this machine or a cluster: the counterpart of `train.engine.run`.

The data set is put into the object store once and goes to each node once. A run is trained by `train.fitting.epochs` in
a temporary folder of its worker; after each epoch its state comes back, and at the end all of its files.
"""

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from study import catalogue
from study.artifacts import RunFiles
from study.entry import Entry
from study.errors import StudyError, described
from study.files import read_plain, why, write_bytes
from study.remote import cluster
from study.remote.cluster import Place
from study.remote.tasks import Message, Tasks, workplace
from train import engine
from train.tasks import Epoch, Event, Failed, NoRoom, Resumed, Task

if TYPE_CHECKING:
    from torch import Tensor

    from train.search.storage import Search
    from train.search.trials import Task as Trial

Pairs: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images [N, C, H, W] and their labels [N]."""


def run(tasks: Sequence[Task], workers: int, report: engine.Report, place: Place) -> None:
    """Make all runs as tasks of Ray, at most `workers` at a time; `report` receives their events.

    A run whose worker or node has died goes on elsewhere after its last epoch.

    Raises:
        StudyError: as `cluster.join`.
    """
    ray = cluster.join(place, "train", [task.entry for task in tasks], engine.ONE_CORE)
    datasets = {task.entry.dataset: task.data for task in tasks}
    images = {name: ray.put((pairs(data, True, name), pairs(data, False, name))) for name, data in datasets.items()}

    begun: set[RunFiles] = set()

    def inputs(task: Task) -> tuple[Any, ...]:
        from train.fitting import unfinish

        if task.fresh and task.files not in begun:
            with contextlib.suppress(OSError):  # `keep` fails as well, and reports it
                unfinish(task.files, fresh=True)
        begun.add(task.files)
        return images[task.entry.dataset], resume_of(task)

    share = cluster.gpu_share() if place.gpu else 0
    started = Tasks(make, inputs, keep, share, alone=lambda task: is_own(task.entry))
    engine.make(started, tasks, min(workers, cluster.capacity()), report)


def resume_of(task: Task) -> bytes | None:
    """The state of the run after its last whole epoch, if there is one."""
    try:
        return read_plain(task.files.resume, None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        print(f"{task.files.resume} cannot be read ({why(error)}): training from the start", file=sys.stderr)
        return None


def keep(task: Task, message: Message) -> Event:
    """Write the files of a run, which has no state after its last message; gives the event, or that this failed."""
    from train.fitting import unfinish

    event: Event = message.event
    files = dict(message.files)
    try:
        if task.files.record.name in message.files:
            unfinish(task.files)
        elif task.files.record.exists():  # a finished run by another recipe keeps its history until then
            files.pop(task.files.history.name, None)
        for name, content in files.items():
            write_bytes(task.files.folder / name, content)
        if message.last and task.files.resume.name not in message.files:
            task.files.resume.unlink(missing_ok=True)
    except OSError as error:
        return Failed(described(error))
    return event


def trials(search: "Search", place: Place) -> Tasks["Trial"]:
    """What makes the trials of a search as tasks of Ray, once the cluster has been joined.

    Raises:
        StudyError: as `cluster.join`, or the network cannot be built.
    """
    from study.networks import build

    build(search.entry)  # so that the modules that it imports are loaded, and travel
    ray = cluster.join(place, "train", [search.entry], engine.ONE_CORE)
    images = ray.put(pairs(search.data, True, search.entry.dataset))
    share = cluster.gpu_share() if place.gpu else 0
    own = is_own(search.entry)
    return Tasks(make_trial, lambda trial: (images,), gpus=share, again=False, alone=lambda trial: own)


def is_own(entry: Entry) -> bool:
    """Whether the network is the user's, whose modules may change the state of the process that imports them."""
    return entry.network not in {known.network for known in catalogue.ENTRIES}


def pairs(data: "Any", train: bool, dataset: str) -> Pairs:
    """The training or the test part of a data set as arrays, which the object store shares without copies."""
    from study.data.tensors import load

    images, labels = load(data, train, dataset)
    return images.numpy(), labels.numpy()


# ---- on a worker


def make(task: Task, images: tuple[Pairs, Pairs], resume: bytes | None) -> Iterator[Message]:
    """Train one run from the state `resume`, if any, in a temporary folder."""
    from train.fitting import Images
    from train.worker import events

    names = task.files
    every = [path.name for path in (names.checkpoint, names.history, names.predictions, names.resume, names.record)]
    with workplace(names.folder, {names.resume.name: resume} if resume else {}) as here:
        own = replace(task, files=replace(names, folder=here.folder))
        for event in events(own, Images(*(tensors(part) for part in images))):
            if isinstance(event, Resumed):
                yield Message(event, notes=here.taken())
            elif isinstance(event, Epoch):
                yield Message(event, here.content(names.history.name, names.resume.name), notes=here.taken())
            else:
                if isinstance(event, Failed | NoRoom):
                    event = replace(event, reason=here.own_paths(event.reason))
                yield Message(event, here.content(*every), last=True, notes=here.taken())


def make_trial(trial: "Trial", images: Pairs) -> Iterator[Message]:
    """Train one trial."""
    from train.devices import settle
    from train.search.trials import Epoch, train

    settle(trial.search.device)
    try:
        for event in train(trial, tensors(images)):
            yield Message(event, last=not isinstance(event, Epoch))
    except (StudyError, OSError) as error:
        yield Message(StudyError(described(error)), last=True)


def tensors(arrays: Pairs) -> "tuple[Tensor, Tensor]":
    """The same as tensors on the same memory, which nothing may write to: other tasks of the node read it."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])
