"""Whether neighbours use the last-level cache, which the calibration does not show."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.calibration import MEMORY_BYTES
from bench.doctor.findings import Finding
from bench.last_cache import half_bytes, reading
from study.system_files import ROOT

REPETITIONS = 100
"""About 0.2 s."""
MOST_FACTOR = 1.5
"""On a quiet virtual machine it was 1.2 to 1.35, beside a process that filled the cache 2.4 (AMD EPYC)."""


def observe(root: Path = ROOT) -> float | None:
    """Time to read half of the last-level cache / time to read as many bytes in pieces of 4 MB; None: size unknown."""
    if (size := half_bytes(root)) is None:
        return None
    half, piece = reading(size), reading(MEMORY_BYTES)
    times = [(half(), piece() * size / MEMORY_BYTES) for _ in range(REPETITIONS)]
    return median(a / b for a, b in times)


def findings(factor: float | None) -> Iterator[Finding]:
    """What the readings showed."""
    if factor is None:
        return
    text = f"a byte takes {factor:.2f} times as long to read from half of it as from 4 MB"
    remedy = (
        "neighbours use it, and what exceeds the L2 cache takes some percent longer: measure that in several sessions"
    )
    yield Finding("note", "last cache", text, remedy) if factor > MOST_FACTOR else Finding("ok", "last cache", text)
