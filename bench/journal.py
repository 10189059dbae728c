"""The journal beside the JSON: every record is written at once, so that an interrupted session loses nothing.

One JSON object a line, each synchronised to disk. A journal is read like the JSON; an incomplete last line is ignored.
"""

import json
import os
from pathlib import Path

from study.record_files import as_json
from study.records.bench import BenchEnvironment, JournalEntry
from study.seal import sealed


class Journal:
    """Appends to the file at `path`, after emptying it."""

    def __init__(self, path: Path, environment: BenchEnvironment) -> None:
        self.path = path
        path.write_bytes(b"")
        self.write(JournalEntry(environment=environment))

    def write(self, entry: JournalEntry) -> None:
        """Append one entry; it is on disk when this returns."""
        line = json.dumps(sealed(as_json(entry)), allow_nan=False) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
