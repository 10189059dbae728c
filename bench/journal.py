"""The journal beside the JSON: each record as soon as it is there, so that a session cut short loses nothing.

A JSON object a line (study/schemas/journal.json), each written and synchronised at once. `study.artifacts.read_bench`
reads it like the JSON; a last line that was cut off does not count.
"""

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Appends to the file at `path`, which begins anew."""

    def __init__(self, path: Path, session: dict[str, Any]) -> None:
        self.path = path
        path.write_bytes(b"")
        self.write("session", session)

    def write(self, kind: str, record: dict[str, Any]) -> None:
        """Append one record; it is on the disk when this returns."""
        line = json.dumps({"schema": "journal/1", "kind": kind, "record": record}, allow_nan=False) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
