"""An ONNX file from anywhere, before anything in it is read."""

import stat
from pathlib import Path

from study.errors import StudyError

MAX_FILE_BYTES = 2 * 2**30
"""The most one protobuf message can hold; a larger file cannot be a model."""


def checked_size(path: Path) -> int:
    """The bytes of a file that may be a model.

    Raises:
        StudyError: it is no plain file, empty or larger than any model can be; the message does not name it.
        OSError: it is missing, or cannot be asked.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise StudyError(f"expected an ONNX file, found {'a folder' if path.is_dir() else 'no plain file'}")
    if not 0 < status.st_size <= MAX_FILE_BYTES:
        raise StudyError(f"expected an ONNX file of 1 to {MAX_FILE_BYTES} bytes, found {status.st_size}")
    return status.st_size
