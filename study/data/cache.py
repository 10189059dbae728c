"""Fill the cache of a data set from the first sources that have its files; only checked bytes are written."""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from study.data.sources import Reader, RefusedError, UnavailableError, located
from study.errors import StudyError, escaped
from study.files import read_plain, write_bytes

VARIABLE = "STUDY_DATA"
"""Environment variable with a folder that users keep data sets in."""


@dataclass(frozen=True)
class Source:
    """A place that may have the files; if `optional`, its absence is normal and not reported."""

    title: str
    files: AbstractContextManager[Reader]
    optional: bool = False


@dataclass(frozen=True)
class Named:
    """A folder that the user has named, which holds at least one of the files."""

    path: Path
    title: str


def named_folder(dataset: str, given: Path | None, names: Iterable[str]) -> Named | None:
    """The user's folder: `given`, or else that of the environment variable STUDY_DATA, if set.

    Raises:
        StudyError: it is no folder, cannot be read, or holds none of the files `names` of `dataset`: it is mistyped.
    """
    variable = os.environ.get(VARIABLE)
    if given is None and not variable:
        return None
    path = given if given is not None else Path(variable or "")
    words = f"--data {path}" if given is not None else f"{VARIABLE}={path}"
    try:
        located(path, names)
    except UnavailableError as reason:
        raise StudyError(
            f"{words}: expected a folder with files of {dataset}, but {reason}; name the folder that has them, or none"
        ) from None
    return Named(path, f"the folder named, {path if given is not None else words}")


def fill(
    dataset: str,
    folder: Path,
    names: Iterable[str],
    sources: Iterable[Source],
    check: Callable[[str, bytes], None],
    remedy: str,
) -> None:
    """Make sure that the files `names` are in `folder`, each one checked.

    Each source is asked only for the files that those before it did not have. What a source lacks or has wrong is one
    line on standard error. Writes are atomic.

    Args:
        dataset: its title.
        check: raises a RefusedError if the bytes are not the file of that name.
        remedy: what to do if a file is not available.

    Raises:
        StudyError: no source has all that is missing, or the cache cannot be written.
    """
    missing = list(names)
    total = len(missing)
    reasons = []
    for source in sources:
        taken: list[str] = []
        faults: list[str] = []
        written, silent = 0, False
        try:
            with source.files as read:
                for name in missing:
                    try:
                        content = read(name)
                        check(name, content)
                    except RefusedError as refusal:
                        faults.append(str(refusal))
                        continue
                    written += _store(folder / name, content)
                    taken.append(name)
        except UnavailableError as reason:
            faults.append(str(reason))
            silent = source.optional
        if faults and not silent:
            print(f"warning: {dataset}, {source.title}: {escaped('; '.join(faults))}", file=sys.stderr)
        if written:
            done = f"{written} of {total} files checked, written to {folder}"
            print(f"{dataset}, {source.title}: {done}", file=sys.stderr)
        missing = [name for name in missing if name not in taken]
        if not missing:
            return
        reasons.append(f"{source.title}: {'; '.join(faults)}")
    raise StudyError("\n  ".join((f"no source has {', '.join(missing)} of {dataset}; {remedy}. Tried:", *reasons)))


def _store(path: Path, content: bytes) -> bool:
    """Write `content` to the cache unless it is there already; return whether it was written."""
    try:
        if path.is_file() and path.stat().st_size == len(content) and read_plain(path, None) == content:
            return False
        write_bytes(path, content)
    except OSError as error:
        raise StudyError(
            f"{path} cannot be written ({error.strerror}); make room, or choose a folder with --artifacts"
        ) from None
    return True
