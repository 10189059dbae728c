"""Locks that the system takes back when their process ends, however it ends: so the dead are told from the living."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locks:
    """Numbered locks of this process, each on one byte of `file` (POSIX record locks; fcntl(2)).

    They are the process's, not a thread's, and closing any descriptor of the file lets go of all of them: a process
    keeps one object a file. A process does not see its own locks as taken.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file.open("ab")

    def take(self, number: int) -> None:
        """Wait until no other process has this lock, and take it."""
        fcntl.lockf(self.file, fcntl.LOCK_EX, 1, number)

    def release(self, number: int) -> None:
        fcntl.lockf(self.file, fcntl.LOCK_UN, 1, number)

    def is_free(self, number: int, count: int = 1) -> bool:
        """Whether no other process has this lock, or any of the `count` from it (0: of all from it).

        Not to be asked of a lock that this process has: it would let go of it.
        """
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, count, number)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
            return False
        fcntl.lockf(self.file, fcntl.LOCK_UN, count, number)
        return True

    @contextmanager
    def held(self, number: int) -> Iterator[None]:
        """While one process is inside, others wait."""
        self.take(number)
        try:
            yield
        finally:
            self.release(number)
