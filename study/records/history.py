"""What `python -m bench history` finds in the files of many sessions."""

from typing import Literal

from study.records.base import AtLeastOne, Count, Interval, Positive, Record, Share


class ChangeRecord(Record):
    """A change of the level of a series."""

    time: str
    """Beginning of the first valid session after the change, ISO 8601."""
    file: str
    """File of that session."""
    commit: str | None
    commit_before: str | None
    """Commit of the last valid session before the change."""
    differences: tuple[str, ...]
    """Versions, settings, model and inputs that changed within two sessions of it: "onnxruntime 1.31.1 -> 1.32.0"."""
    sessions_before: AtLeastOne
    """Valid sessions since the change before this one."""
    sessions_after: AtLeastOne
    """Valid sessions until the next change."""
    level_before: Positive
    """Geometric mean of the sessions before."""
    level_after: Positive
    ratio: Interval
    """After / before, with Welch's 95 % interval over the sessions."""
    p: Share
    """Of the permutation test, times the number of segments tested with it."""


class SeriesRecord(Record):
    """One case or comparison on one machine, over sessions."""

    name: str
    model: str
    variant: str
    runtime: str
    batch: AtLeastOne
    threads: AtLeastOne
    mode: Literal["native", "numpy"]
    device: Literal["cpu", "cuda"]
    reference: str | None
    """The engine that a comparison compares with: the values are its time / the runtime's. Null for a case: the values
    are medians in seconds."""
    machine: str
    """Fingerprint of the machine."""
    sessions: AtLeastOne
    invalid: Count
    """Sessions in which the measurement is not valid; they do not count."""
    enough: bool
    """Whether the valid sessions are enough to find a change."""
    changes: tuple[ChangeRecord, ...]


class HistoryRecord(Record, tag_field="schema", tag="history/2"):
    """All series in the files."""

    sessions: AtLeastOne
    false_alarms: Share
    """Largest probability of one false change or more in all series together."""
    sessions_needed: AtLeastOne
    """Valid sessions that a series needs."""
    unreadable: tuple[str, ...]
    """A line for each file that cannot be read."""
    series: tuple[SeriesRecord, ...]
