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
    """Appends to a new file at `path`, in place of an earlier journal.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, environment: BenchEnvironment) -> None:
        self.path = path
        path.unlink(missing_ok=True)  # which may be a link to another file
        self._file = path.open("x+b", buffering=0)
        self._whole = 0
        """Bytes up to which every entry is known to be whole."""
        self.write(JournalEntry(environment=environment))

    def write(self, entry: JournalEntry) -> None:
        """Append one entry; it is on disk when this returns.

        Raises:
            OSError: the disk is full, for instance.
        """
        left = memoryview((json.dumps(sealed(as_json(entry)), allow_nan=False) + "\n").encode())
        try:
            self._file.seek(self._whole)
            self._whole += self._file.readall().rfind(b"\n") + 1  # the last one may be whole, interrupted afterwards
            self._file.seek(self._whole)
            self._file.truncate()  # what an entry that failed has left
            while left:  # a disk that fills up takes a part
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
