"""The JSON of a session: refused before anything is measured if it cannot be written, and written whole at the end."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pytest_benchmark.utils import safe_dumps

from study import locks
from study.bench_file import read_bench
from study.errors import StudyError
from study.files import replacing

NOWHERE = Path(os.devnull)
"""Where pytest-benchmark writes the JSON, which `Target` keeps: it would not replace a file in one step."""


class Target:
    """The file that --benchmark-json names; from `hold` to `close` no other session writes it.

    Raises:
        StudyError: it is something else than a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.content: dict[str, Any] | None = None
        """What is to be written."""
        self._held = ExitStack()
        if self.path.exists() and not self.path.is_file():
            kind = "a folder" if self.path.is_dir() else "no plain file"
            raise StudyError(f"--benchmark-json: expected the name of a file, {self.path} is {kind}")

    def hold(self) -> None:
        """
        Raises:
            StudyError: no file can be written there, or another session writes it.
        """

        def refuse(holder: str) -> None:
            raise StudyError(f"--benchmark-json: {holder} measures into {self.path}; wait for it, or name another file")

        try:
            self._held.enter_context(locks.held(locks.of_file(self.path), refuse))
        except OSError as error:
            raise StudyError(f"--benchmark-json: {error.filename}: {error.strerror}") from None

    def write(self) -> bool:
        """Replace the file by `content`, if there is any; whether that was done.

        Raises:
            OSError: the disk is full, for instance.
        """
        if self.content is None:
            return False
        with replacing(self.path) as file:
            file.write(safe_dumps(self.content).encode())  # type: ignore[no-untyped-call]
            file.flush()
            read_bench(Path(file.name), "")  # a malformed file must not replace a good one
        return True

    def close(self) -> None:
        self._held.close()
