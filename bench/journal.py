"""The journal beside the JSON: every record is written at once, so that an interrupted session loses nothing.

One JSON object a line, each synchronised to disk. `study.artifacts.read_bench` reads a journal like the JSON, without a
last line that is incomplete.
"""

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Appends to the file at `path`, after emptying it."""

    def __init__(self, path: Path, session: dict[str, Any]) -> None:
        self.path = path
        path.write_bytes(b"")
        self.write("session", session)

    def write(self, kind: str, record: dict[str, Any]) -> None:
        """Append one record; it is on disk when this returns."""
        line = json.dumps({"schema": "journal/1", "kind": kind, "record": record}, allow_nan=False) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
