"""A training run as its processes exchange it: the task, and the events that follow."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from study.artifacts import RunFiles
from study.entry import Entry
from study.records.training import Device, RunRecord
from study.remote.tasks import Lost


@dataclass(frozen=True)
class Task:
    """One run to be made."""

    entry: Entry
    files: RunFiles
    data: Path
    """The folder below which the data sets lie."""
    fresh: bool = False
    """Ignore the state of an earlier attempt."""
    device: Device = "cpu"

    @property
    def label(self) -> str:
        return f"{self.entry.name} seed {self.files.seed}"


@dataclass(frozen=True)
class Epoch:
    """A row of history.csv, in the order of its columns; errors are fractions, losses in nats."""

    epoch: int
    """From 1."""
    lr: float
    """Learning rate of the last step."""
    train_loss: float
    train_error: float
    validation_loss: float | None
    """None if the recipe has no validation images."""
    validation_error: float | None
    seconds: float


@dataclass(frozen=True)
class Resumed:
    """The first event of a run that continues an earlier attempt."""

    epoch: int
    """Its last whole epoch, from 1."""


@dataclass(frozen=True)
class Finished:
    record: RunRecord


@dataclass(frozen=True)
class Failed:
    reason: str


@dataclass(frozen=True)
class NoRoom:
    """The memory of the GPU does not suffice for this run beside the others."""

    reason: str


@dataclass(frozen=True)
class Waiting:
    """Another command makes this run and all others that are left."""

    holder: str
    """Its process, in words."""


@dataclass(frozen=True)
class Elsewhere:
    """Another command has finished this run."""


Event: TypeAlias = Resumed | Epoch | Lost | Finished | Failed | NoRoom | Waiting | Elsewhere
"""What is reported of a run; the last one is none of the first three."""
