"""portability.json, read and held against the ONNX files it is about: which model computes what it should where.

Needs nothing but the standard library and `study`. The file may be about models of a user's own and has messages of
other programs in it: its names and reasons are made plain as they are read, and escaped where they are written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artifacts import Artifacts, read_json, sha256
from study.errors import StudyError

Record = dict[str, Any]

MAKE = "run `tox -e portability`"
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
LONGEST = 300
"""Characters of a name or reason that are told."""


@dataclass(frozen=True)
class Portability:
    """The content of portability.json.

    Each cell has three keys more: `title` and `version` of its runtime, and `current`, whether the ONNX file that it is
    about is there.
    """

    environment: Record
    images: int
    batches: tuple[int, ...]
    runtimes: tuple[Record, ...]
    cells: tuple[Record, ...]

    def of(self, models: Sequence[str]) -> "Portability":
        """The same with the cells of these models alone, in their order."""
        cells = (cell for model in models for cell in self.cells if cell["model"] == model)
        return Portability(self.environment, self.images, self.batches, self.runtimes, tuple(cells))


def read_portability(artifacts: Artifacts) -> Portability:
    """What `tox -e portability` found.

    Raises:
        StudyError: the file is missing or damaged.
    """
    path = artifacts.portability
    record = read_json(path, "portability/1", MAKE)
    runtimes = {runtime["name"]: runtime for runtime in map(_plainly, record["runtimes"])}
    if len(runtimes) < len(record["runtimes"]):
        raise StudyError(f"{path}: expected each runtime once, found one twice; {MAKE}")
    there = {sha256(file) for file in onnx_files(artifacts)}
    cells = []
    for cell in map(_plainly, record["cells"]):
        if cell["runtime"] not in runtimes:
            raise StudyError(f"{path}: expected cells of its runtimes, found one of {cell['runtime']!r}; {MAKE}")
        known = {key: runtimes[cell["runtime"]][key] for key in ("title", "version")}
        cells.append({**cell, **known, "current": cell["onnx_sha256"] in there})
    return Portability(
        record["environment"], record["images"], tuple(record["batches"]), tuple(runtimes.values()), tuple(cells)
    )


def _plainly(record: Record) -> Record:
    return {key: plain(value) if isinstance(value, str) else value for key, value in record.items()}


def onnx_files(artifacts: Artifacts) -> Iterator[Path]:
    """Every ONNX file of a run that is there, of all models and variants."""
    return (path for path in sorted(artifacts.root.glob("models/*/seed*/model*.onnx")) if path.is_file())


def plain(text: str) -> str:
    """`text` in one line, cut where it is long, without what cannot be printed or turns the writing around."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


@dataclass(frozen=True)
class Square:
    """A runtime and a model in the matrix: what all batches and seeds come to."""

    verdict: str
    difference: float | None
    """The largest."""
    why: str
    """In a few words, of what failed."""
    current: bool

    @property
    def text(self) -> str:
        """Such as "2.4e-07" or "FAILED: not finite"."""
        passed = "passed" if self.difference is None else f"{self.difference:.1e}"
        text = {PASSED: passed, FAILED: f"FAILED: {self.why}", NOT_RUN: NOT_RUN}[self.verdict]
        return text if self.current or self.verdict == NOT_RUN else f"{text} (stale)"
