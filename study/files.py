"""How files are read and written: only regular files are opened, and every write is atomic.

A pipe would be waited for, and a device may be endless. Every file from outside, or from an earlier command, is opened
here, except those that a library opens by name; for these `check_plain` comes first.
"""

import csv
import errno
import fcntl
import glob
import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from study.errors import StudyError

PARTIAL = ".partial"
"""End of the name of a file that is being written."""
MOST_BYTES = 64 * 2**20
"""Size of a file of records or rows, which is read whole; readers of larger ones say so."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With what a spreadsheet begins a formula; numbers are written as numbers, never as text."""
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))


def open_plain(path: Path) -> io.BufferedReader:
    """The file at `path`, open for reading; the user may have named a symbolic link to it.

    Raises:
        OSError: it is missing, cannot be opened or is no regular file; `strerror` gives the reason.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check_regular(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check_regular(path: Path, mode: int) -> None:
    """
    Raises:
        OSError: `mode`, that of `path`, is not that of a regular file.
    """
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in KINDS if is_kind(mode)), "a device")
        raise OSError(errno.EINVAL, f"expected a regular file, found {kind}", str(path))


def there(path: Path) -> bool:
    """Whether something has this name, also what cannot be read: its reader then reports that."""
    return os.path.lexists(path)


def check_plain(path: Path) -> None:
    """For a library that opens the file by name.

    Raises:
        OSError: as `open_plain`.
    """
    open_plain(path).close()


def read_plain(path: Path, most: int | None = MOST_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes; None: as many as it has.

    Raises:
        OSError: as `open_plain`, or it is larger.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        limit = size if most is None else most
        content = file.read(min(size, limit) + 1)  # as much memory is taken, however little is there
        if len(content) > size:  # it grows meanwhile
            content += file.read(limit + 1 - len(content))
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"expected at most {limit} bytes, found {size} or more", str(path))
        return content


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits.

    Raises:
        OSError: as `open_plain`.
    """
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, digest: str, of: str, remedy: str) -> None:
    """
    Raises:
        StudyError: the file is missing, cannot be read or is not the one with this SHA-256, which is that in `of`.
    """
    try:
        found = sha256(path)
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({why(error)}); {remedy}") from None
    if found != digest:
        raise StudyError(f"{path}: expected sha256 {digest[:16]}... as in {of}, found {found[:16]}...; {remedy}")


def why(error: Exception) -> str:
    """Why a file cannot be read or written, for a message that names it already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def write_bytes(path: Path, content: bytes) -> None:
    """Write atomically: a reader sees either the whole old file or the whole new one, even after a crash.

    Raises:
        OSError: it cannot be written; `filename` is `path`, not that of the temporary file.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path`, which takes its place at the end of the block; after an error nothing is left of it.

    Only a regular file is replaced, never a device such as /dev/null, which a user may name as an output. What killed
    processes have left of such files is removed.

    Raises:
        OSError: as `write_bytes`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _check_regular(path, path.stat().st_mode)
        _remove_leftovers(path)
        with _partial(path) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _partial(path: Path) -> IO[bytes]:
    """A new file beside `path`, never one that is there or is linked to; its lock tells that its writer lives."""
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115  the caller closes it
            prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent, delete=False
        )
        with suppress(OSError):  # no locks on this disk
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another command has removed it before it was locked


def _remove_leftovers(path: Path) -> None:
    """Remove the partial files of `path` whose writers were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
        with suppress(OSError), open_plain(left) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


@cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def csv_cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it, which `csv_value` takes away."""
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(FORMULA) else value


def csv_value(cell: Any) -> Any:
    """What `csv_cell` was given."""
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and cell.lstrip("'").startswith(FORMULA) else cell


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under a header; None becomes an empty field, and a float keeps all its digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())
