"""Files that an engine's converter makes from a model: made once a session, before anything is timed.

They lie in a temporary folder of the session. The first process that asks for it makes and removes it; the processes
that it starts inherit its name. So a load, also that of a cold start, reads converted files, as it does for a user.
"""

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.models import Model

FOLDER = "BENCH_CONVERSIONS"
"""Environment variable with the name of the folder."""


def folder() -> Path:
    """The session's folder for converted files."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    made = tempfile.mkdtemp(prefix="bench-conversions-")
    os.environ[FOLDER] = made
    atexit.register(_remove, os.getpid(), made)
    return Path(made)


def _remove(maker: int, made: str) -> None:
    """Remove the folder, unless this is a forked copy of the process that made it."""
    if os.getpid() == maker:
        shutil.rmtree(made, ignore_errors=True)


def converted(model: Model, converter: str, convert: Callable[[Path], None]) -> Path:
    """The folder of a model's converted files, which `convert` fills if the session does not have them yet.

    Args:
        converter: its name; together with the model's SHA-256 and the user's shapes and sizes it identifies the files.

    Raises:
        StudyError: that of `convert`; nothing is kept then.
    """
    shapes = {name: list(shape) for name, shape in sorted(model.given.shapes.items())}
    words = json.dumps([converter, model.onnx_sha256, shapes, sorted(model.given.sizes.items())])
    target = folder() / hashlib.sha256(words.encode()).hexdigest()[:16]
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=folder(), ignore_cleanup_errors=True) as unfinished:
            made = Path(unfinished) / "made"
            made.mkdir()
            convert(made)
            with suppress(OSError):  # another process was faster
                made.rename(target)
    return target
