"""portability.json, read and matched with the ONNX files that it is about: which model gives the right result where.

The file may be about models of a user's own and has messages of other programs in it: its names and reasons are made
plain as they are read, and escaped where they are written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from study.artifacts import Artifacts
from study.errors import StudyError
from study.files import sha256
from study.record_files import read_record
from study.records.base import Environment, Record
from study.records.export import CellRecord, PortabilityRecord, RuntimeRecord
from study.variants import STANDARD_NAME

MAKE = "run `tox -e portability`"
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
LONGEST = 300
"""Characters of a name or reason that are shown."""
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Cell:
    """A runtime with an ONNX file at one batch size."""

    record: CellRecord
    runtime: RuntimeRecord
    current: bool
    """Whether the ONNX file is there."""

    @property
    def model(self) -> str:
        """The model, and the variant unless that is the standard one."""
        variant = "" if self.record.variant == STANDARD_NAME else f"-{self.record.variant}"
        return f"{self.record.model}{variant}"

    @property
    def quantised(self) -> bool:
        """Whether the variant is in 8-bit integers."""
        return self.record.variant.endswith(("int8-static", "int8-dynamic"))


@dataclass(frozen=True)
class Portability:
    """The content of portability.json."""

    environment: Environment
    images: int
    batches: tuple[int, ...]
    runtimes: tuple[RuntimeRecord, ...]
    cells: tuple[Cell, ...]

    def of(self, models: Sequence[str]) -> "Portability":
        """The same with the cells of these models alone, in their order."""
        return replace(self, cells=tuple(cell for model in models for cell in self.cells if cell.model == model))


def read_portability(artifacts: Artifacts) -> Portability:
    """What `tox -e portability` has written.

    Raises:
        StudyError: the file is missing or damaged.
    """
    path = artifacts.portability
    record = read_record(path, PortabilityRecord, MAKE)
    runtimes = {runtime.name: runtime for runtime in map(_plain, record.runtimes)}
    if len(runtimes) < len(record.runtimes):
        raise StudyError(f"{path}: expected each runtime once, found one twice; {MAKE}")
    there = {sha256(file) for file in onnx_files(artifacts)}
    cells = []
    for cell in map(_plain, record.cells):
        if cell.runtime not in runtimes:
            raise StudyError(f"{path}: expected cells of its runtimes, found one of {cell.runtime!r}; {MAKE}")
        cells.append(Cell(cell, runtimes[cell.runtime], cell.onnx_sha256 in there))
    return Portability(record.environment, record.images, record.batches, tuple(runtimes.values()), tuple(cells))


def onnx_files(artifacts: Artifacts) -> Iterator[Path]:
    """Every ONNX file of a run that is there, of all models and variants."""
    return (path for path in sorted(artifacts.root.glob("models/*/seed*/model*.onnx")) if path.is_file())


def _plain(record: R) -> R:
    """The same with its texts plain."""
    values = {key: plain(value) for key, value in structs.asdict(record).items() if isinstance(value, str)}
    return structs.replace(record, **values)


def plain(text: str) -> str:
    """`text` in one line, cut where it is long, without what cannot be printed or reverses the writing."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


@dataclass(frozen=True)
class Square:
    """A runtime and a model in the matrix: the result of all batches and seeds."""

    verdict: str
    difference: float | None
    """The largest."""
    why: str
    """Why it failed, in a few words."""
    current: bool

    @property
    def text(self) -> str:
        """Such as "2.4e-07" or "FAILED: not finite"."""
        passed = "passed" if self.difference is None else f"{self.difference:.1e}"
        text = {PASSED: passed, FAILED: f"FAILED: {self.why}", NOT_RUN: NOT_RUN}[self.verdict]
        return text if self.current or self.verdict == NOT_RUN else f"{text} (stale)"
