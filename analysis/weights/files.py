"""Read pieces of files named by a model, opened only where such files may lie.

A model's weights may be in files of their own. Their names come from the model, which may come from anywhere, so they
are never followed out of its folder.
"""

import os
import stat
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError

LONGEST = 4096
"""Characters of a path, Linux's own limit."""
LONGEST_SHOWN = 100


@dataclass(frozen=True)
class Place:
    """Bytes `offset` to `offset + length` of a file; every read checks that the file is still the same, unchanged."""

    path: Path
    identity: tuple[int, ...]
    offset: int
    length: int

    def read(self, start: int, count: int) -> NDArray[np.uint8]:
        """The `count` bytes from `start` on, uint8 [count]. May be called from several threads.

        Raises:
            StudyError: the file has changed since it was opened first.
        """
        content = np.empty(count, np.uint8)
        try:
            with _open(self.path) as file:
                same = _identity(os.fstat(file.fileno())) == self.identity
                file.seek(self.offset + start)
                same = same and file.readinto(content.data) == count
        except OSError as error:
            raise StudyError(f"{self.path} cannot be read any more: {error.strerror or error}") from None
        if not same:
            raise StudyError(f"{self.path} was changed while it was read; run it again")
        return content


@dataclass(frozen=True)
class File:
    """A regular file of so many bytes."""

    path: Path
    identity: tuple[int, ...]
    size: int

    def open(self) -> BufferedReader:
        return _open(self.path)

    def place(self, offset: int, length: int) -> Place:
        """
        Raises:
            ValueError: there are no such bytes in the file.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"bytes {offset} to {offset + length} of {self.path.name}, which has {self.size}")
        return Place(self.path, self.identity, offset, length)


def plain(path: Path) -> File:
    """The file at `path`. The user named it, so it may be a symbolic link.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no regular file.
    """
    with _open(path) as file:
        status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("a folder" if stat.S_ISDIR(status.st_mode) else "no plain file")
    return File(path, _identity(status), status.st_size)


def beside(model: Path, location: str, root: Path | None) -> File:
    """The file that the model at `model` calls `location`.

    It must lie in the model's folder or below, and neither it nor a folder on the way may be a link, symbolic or hard.
    If the user has named a folder `root`, it may instead be any file that really lies below that one.

    Raises:
        StudyError: it lies elsewhere, or is missing.
        ValueError: it is no plain file.
    """
    folder = model.parent.resolve()
    remedy = "copy the weights beside the model (`cp -L`), or name the folder they may lie in with --allow-root DIR"
    if not location or len(location) > LONGEST or "\0" in location or Path(location).is_absolute():
        shown = repr(location[:LONGEST_SHOWN])
        raise StudyError(f"{model}: expected weights in a file beside the model, found {shown}; {remedy}")
    try:
        path = (folder / location).resolve()
    except RuntimeError:
        raise StudyError(f"{model}: expected weights in a file, found links in a circle at {location!r}") from None
    if not path.is_relative_to(root.resolve() if root else folder):
        where = f"below {root}" if root else "in the folder of the model"
        raise StudyError(f"{model}: expected weights {where}, found {location!r} at {str(path)!r}; {remedy}")
    if root is None and path != Path(os.path.normpath(folder / location)):
        raise StudyError(f"{model}: expected weights in a plain file, found the link {location!r}; {remedy}")
    try:
        if root is None and path.stat().st_nlink > 1:
            raise StudyError(
                f"{model}: expected weights in a file of one name, found a hard link, {location!r}; {remedy}"
            )
        return plain(path)
    except FileNotFoundError:
        raise StudyError(f"{model}: its weights are missing: {str(path)!r}; put that file there") from None


def _open(path: Path) -> BufferedReader:
    """Open without waiting for a writer, should it be a pipe."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
