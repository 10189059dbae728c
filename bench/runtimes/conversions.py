"""Files that an engine's converter makes from a model: made once a session, before anything is timed.

They lie in the folder of the session, whose processes share it (bench/session_folder.py). So a load, also that of a
cold start, reads converted files, as it does for a user.
"""

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from bench.models import Model
from bench.session_folder import FOLDER, folder
from study.errors import StudyError
from study.files import sha256

HASHES = "sha256.json"
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def converted(model: Model, converter: str, convert: Callable[[Path], None]) -> Path:
    """The folder of a model's converted files, which `convert` fills if the session does not have them yet.

    Args:
        converter: its name; together with the model's SHA-256 and the user's shapes and sizes it identifies the files.

    Raises:
        StudyError: that of `convert`; nothing is kept then.
    """
    target = _target(model, converter)
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=folder(), ignore_cleanup_errors=True) as unfinished:
            made = Path(unfinished) / "made"
            made.mkdir()
            convert(made)
            with suppress(OSError):  # another process was faster
                made.rename(target)
    return target


def made_before(model: Model, converter: str) -> Path | None:
    """The folder of a model's converted files if the session has them."""
    target = _target(model, converter)
    return target if target.is_dir() else None


def _target(model: Model, converter: str) -> Path:
    shapes = {name: list(shape) for name, shape in sorted(model.given.shapes.items())}
    words = json.dumps([converter, model.onnx_sha256, shapes, sorted(model.given.sizes.items())])
    return folder() / hashlib.sha256(words.encode()).hexdigest()[:16]


# ---- converted files that are code


def record_hashes(made: Path) -> None:
    """Record the SHA-256 of each file of a folder, which this user alone may then write."""
    hashes = {file.name: sha256(file) for file in made.iterdir()}
    (made / HASHES).write_text(json.dumps(hashes))
    for file in made.iterdir():
        file.chmod(0o600)
    made.chmod(0o700)


def verified(made: Path) -> None:
    """Check that nobody else can have written the files of a folder, and that they are those that were made.

    Raises:
        StudyError: that is not so.
    """
    for path in (made.parent, made, *made.iterdir()):
        seen = path.stat(follow_symlinks=False)
        if seen.st_uid != os.getuid() or seen.st_mode & OTHERS or stat.S_ISLNK(seen.st_mode):
            raise StudyError(f"{path}: expected a file of code that this user alone can write; leave {FOLDER} unset")
    for name, digest in json.loads((made / HASHES).read_text()).items():
        seen = (made / name).stat()
        if _digest(made / name, seen.st_size, seen.st_mtime_ns) != digest:
            raise StudyError(f"{made / name} is not the file that was made: run the same command again")


@cache
def _digest(path: Path, *stamps: int) -> str:
    """The SHA-256 of a file of this size and time, once a process."""
    return sha256(path)


def verify_all() -> None:
    """Check all such files of the session, so that no load that is timed hashes them.

    Raises:
        StudyError: as `verified`.
    """
    if os.environ.get(FOLDER):
        for made in folder().glob(f"*/{HASHES}"):
            verified(made.parent)
