"""Locks between commands: one at a time writes a run, a search, a report or a benchmark file.

The kernel frees a lock with its process, however that ends, so there are no stale ones. The lock file, beside what is
written, has the number of the process that holds it, and is removed when that lets go.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

POLL_SECONDS = 0.2
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def of_folder(folder: Path) -> Path:
    """The lock file of a folder whose files are written together."""
    return folder / ".lock"


def of_file(path: Path) -> Path:
    """The lock file of a single file."""
    return path.with_name(f".{path.name}.lock")


def take(path: Path) -> FileLock | None:
    """The lock of `path` for this process; None if another one holds it.

    Raises:
        OSError: the file cannot be made, or its disk has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, fallback_to_soft=False)  # a soft one would outlive a process that is killed
    try:
        lock.acquire(blocking=False)
        path.write_text(f"{os.getpid()}\n")
    except Timeout:
        return None
    except FileNotFoundError:  # another command has just removed the folder, which it left empty
        lock.release()
        return None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        reason = "expected a disk with file locks (flock), found one without; choose a folder on another disk"
        raise OSError(error.errno, reason, str(path)) from None
    return lock


def release(lock: FileLock) -> None:
    Path(lock.lock_file).unlink(missing_ok=True)  # first: who opens it afterwards makes another one
    lock.release()


def holder(path: Path) -> str:
    """The process that holds the lock of `path`, in words."""
    try:
        number = path.read_text().strip()
    except (OSError, ValueError):
        number = ""
    return f"process {number}" if number.isdecimal() else "another process"


@contextmanager
def held(path: Path, say: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock of `path`, after whoever holds it: `say` gets that process in words, once, and may refuse to wait.

    Gives whether it had to wait.
    """
    waited = False
    while (lock := take(path)) is None:
        if not waited:
            say(holder(path))
        waited = True
        time.sleep(POLL_SECONDS)
    try:
        yield waited
    finally:
        release(lock)


@contextmanager
def folder_held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, after whoever holds it, which is printed. It is made, but not left empty."""

    def say(holder: str) -> None:
        print(f"{holder} writes {folder}: waiting for it", flush=True)

    made = not folder.exists()
    try:
        with held(of_folder(folder), say):
            yield
    finally:
        if made:  # for the lock, perhaps, and nothing was written
            with suppress(OSError):
                folder.rmdir()
