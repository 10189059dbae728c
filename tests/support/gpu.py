"""A GPU with room for two runs, as the processes of `train.engine` see it; no test here has a real one."""

import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from train.tasks import Failed, NoRoom, Task
from train.worker import work  # noqa: F401, so that whoever preloads this module preloads it as well

PLACES = 2


def take_place(task: Task, sender: Connection) -> None:
    """Hold one of the places until another run has been refused, or for two minutes.

    The places lie in `task.data`. "Failed" stands for the end of a run, because it needs no record.
    """
    for place in (task.data / str(number) for number in range(PLACES)):
        with suppress(FileExistsError):
            place.mkdir()
            _hold(task.data, place)
            sender.send(Failed("done"))
            return
    (task.data / "refused").touch()
    sender.send(NoRoom("CUDA out of memory"))


def _hold(folder: Path, place: Path) -> None:
    deadline = time.monotonic() + 120
    while not (folder / "refused").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    place.rmdir()


def full(task: Task, sender: Connection) -> None:
    """A GPU on which not even one run fits."""
    sender.send(NoRoom("CUDA out of memory"))


def full_at_first(task: Task, sender: Connection) -> None:
    """A GPU that other runs filled when this one began for the first time."""
    tried = task.data / f"tried{task.files.seed}"
    if tried.exists():
        sender.send(Failed("done"))
    else:
        tried.touch()  # first: whoever has sent this is ended
        sender.send(NoRoom("CUDA out of memory"))
