"""What a run is to its process and to whoever watches: the task it is given, the events it sends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artifacts import RunFiles
from study.entry import Entry


@dataclass(frozen=True)
class Task:
    """One run that is to be made."""

    entry: Entry
    files: RunFiles
    data: Path
    """The folder that the files of the entry's data set lie below."""
    fresh: bool = False
    """Start anew, whatever an earlier attempt has left."""

    @property
    def label(self) -> str:
        return f"{self.entry.name} seed {self.files.seed}"


@dataclass(frozen=True)
class Event:
    """What a run has to tell: "epoch" and a row of its history, "finished" and its run.json, or "failed" and why."""

    task: Task
    kind: str
    content: Any
