"""What `python -m bench compare --format json` prints: the verdict of the gate."""

from typing import Literal

from study.records.base import Interval, NotNegative, Record

Metric = Literal["median", "p99", "cold-start", "memory", "size"]
GateVerdict = Literal["slower", "within the limit", "faster", "undecided", "withheld"]
"""slower: by more than the limit, shown. within the limit: shown. faster: that, and a ratio below 1 is shown."""


class Change(Record):
    """One quantity in both files."""

    metric: Metric
    """median and p99 of the latency, total time of the cold start: seconds. Growth of the peak memory in a cold start
    and size of the ONNX file: bytes."""
    name: str
    """The case; of a size the model."""
    old: NotNegative
    """Geometric mean over the processes."""
    new: NotNegative
    ratio: Interval | None
    """New / old, with the 95 % interval of Welch's t over the processes, without the allowance for the machine; null
    if withheld. A size is exact."""
    limit: NotNegative
    """Largest growth that passes; 0.05 is 5 %."""
    machine: tuple[float, ...]
    """Change of the two calibration loops beside the quantity, arithmetic and memory: new / old, less 1."""
    verdict: GateVerdict
    remarks: tuple[str, ...]
    """Differences that do not withhold the verdict."""
    reasons: tuple[str, ...]
    """Why the verdict is withheld."""


class SpeedUpChange(Record):
    """The ratio of two engines in both files; it does not decide."""

    name: str
    old: NotNegative
    new: NotNegative
    ratio: Interval | None
    verdict: Literal["rose", "fell", "no change shown", "withheld"]
    reasons: tuple[str, ...]


class GateRecord(Record, tag_field="schema", tag="gate/1"):
    """Two files of `pytest bench` compared."""

    exit_code: Literal[0, 1, 3]
    """0: every quantity is shown to be within its limit. 1: one is shown to exceed it. 3: that is not decided."""
    geometric_mean: Interval | None
    """Of the ratios of all medians, with its 95 % interval; null with fewer than two."""
    changes: tuple[Change, ...]
    speed_ups: tuple[SpeedUpChange, ...]
    missing: tuple[str, ...]
    """In the old file only; they make the exit code 3."""
    added: tuple[str, ...]
    """In the new file only; they have nothing to be slower than."""
    notes: tuple[str, ...]
    """Metrics that were not compared, and what the intervals do not cover."""
    differences: dict[str, tuple[str, ...]]
    """How the conditions of the measurement differ, by "machine", "threads", "versions" and "also"."""
