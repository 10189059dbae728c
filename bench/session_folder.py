"""The temporary folder of a session, for files that its processes share and for each one's own.

The first process that asks for it makes and removes it; the processes that it starts inherit its name. That process
holds a lock on it, which the kernel frees however it ends: a later session removes what a killed one has left.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

FOLDER = "BENCH_CONVERSIONS"
"""Environment variable with the name of the folder."""
PREFIX = "fashionbench-session-"
LEAST_SECONDS = 600
"""Age of a folder that is removed, so that none is that has just been made and is not locked yet."""


def folder() -> Path:
    """The session's folder."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    remove_left()
    made = tempfile.mkdtemp(prefix=PREFIX)
    _lock(made)
    os.environ[FOLDER] = made
    atexit.register(_remove, os.getpid(), made)
    return Path(made)


def remove_left() -> None:
    """Remove the folders of this user's sessions whose process has ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another session removes it, or it is locked
            seen = path.lstat()
            if seen.st_uid == os.getuid() and time.time() - seen.st_mtime > LEAST_SECONDS and not path.is_symlink():
                held = _lock(str(path))
                try:
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(held)


def _lock(path: str) -> int:
    """Lock a folder for as long as the file descriptor that is returned is open, here and in forked processes.

    Raises:
        OSError: another process holds it.
    """
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held


def _remove(maker: int, made: str) -> None:
    """Remove the folder, unless this is a forked copy of the process that made it."""
    if os.getpid() == maker:
        shutil.rmtree(made, ignore_errors=True)
