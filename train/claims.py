"""The runs of a command, shared with other commands that make the same ones: who makes a run holds its lock."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from filelock import FileLock

from study import locks
from study.errors import described
from train.fitting import is_finished
from train.tasks import Elsewhere, Event, Failed, Task, Waiting


class Claims:
    """Gives the runs that no other command makes; as a context it lets go of them at its end.

    Args:
        report: receives what happens to the other runs.
    """

    def __init__(self, tasks: Sequence[Task], report: Callable[[Task, Event], None]) -> None:
        self.waiting, self.report = deque(tasks), report
        self.held: dict[str, FileLock] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lock in self.held.values():
            locks.release(lock)

    def next(self, wait: bool) -> Task | None:
        """The first run to be made that no other command makes now; it is this command's until `release`.

        Args:
            wait: if other commands make all that are left, wait for them; then None means that none is left.
        """
        said = False
        while self.waiting:
            for task in list(self.waiting):
                if self._claim(task):
                    return task
            if not wait:
                return None
            if self.waiting and not said:
                said = True
                first = self.waiting[0]
                self.report(first, Waiting(locks.holder(locks.of_folder(first.files.folder))))
            time.sleep(locks.POLL_SECONDS)
        return None

    def _claim(self, task: Task) -> bool:
        """Whether this run is to be made by this command, from now on."""
        try:
            lock = locks.take(locks.of_folder(task.files.folder))
        except OSError as error:
            self.waiting.remove(task)
            self.report(task, Failed(described(error)))
            return False
        if lock is None:
            return False
        self.waiting.remove(task)
        if not task.fresh and is_finished(task.files, task.entry):
            locks.release(lock)
            self.report(task, Elsewhere())
            return False
        self.held[task.label] = lock
        return True

    def release(self, task: Task) -> None:
        """Let go of a run that has ended."""
        locks.release(self.held.pop(task.label))

    def put_back(self, task: Task) -> None:
        """Make a run later that was let go of."""
        self.waiting.appendleft(task)
