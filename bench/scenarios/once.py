"""The result of a scenario in one process."""

from dataclasses import dataclass
from typing import Any

from study.records.measurement import Settings


@dataclass(frozen=True)
class LoadOnce:
    """A scenario in one process."""

    process: Any
    """An OfflineProcess or a ServerProcess."""
    settings: Settings
    output_reasons: tuple[str, ...]
    oversubscribed: bool
    call_seconds: float
    """Mean duration of a call."""
    seconds: float
    """Time of everything, checks included."""
