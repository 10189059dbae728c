"""One `pytest bench`: its measurements, and the results so far."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import convert
from msgspec.structs import replace

from bench.cases import Case
from bench.journal import Journal
from bench.processes import merged_case, merged_comparison, run_session
from bench.sampling import Budget
from study.artifacts import as_json, sha256
from study.data import datasets
from study.environment import environment
from study.machine import machine
from study.records.bench import (
    BenchEnvironment,
    BenchRecord,
    CaseRecord,
    ColdStartRecord,
    ComparisonRecord,
    JournalEntry,
)

OTHERS_TIMES, OTHERS_SECONDS = 2, 60
"""Longest time for a further process: this multiple of the time that this one has taken so far, and so many seconds."""


@dataclass
class Session:
    """The measurements of a session, and their records so far."""

    cases: list[Case]
    pairs: list[tuple[Case, Case]]
    """Reference and runtime."""
    starting: list[Case]
    """The cases whose cold start is measured."""
    budget: Budget
    processes: int
    words: Sequence[str]
    """The command line, for further processes."""
    environment: BenchEnvironment
    notes: Sequence[str] = ()
    """Lines for the end: what is left out, and which inputs are drawn."""
    overhead_seconds: float | None = None
    cases_so_far: dict[str, CaseRecord] = field(default_factory=dict)
    """The records of the cases measured so far, by their names."""
    comparisons: list[ComparisonRecord] = field(default_factory=list)
    cold_starts: list[ColdStartRecord] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why measurements were left out, by the name of each."""
    failed: list[str] = field(default_factory=list)
    """The measurements that failed."""
    latest: JournalEntry | None = None
    """The measurement that was added last."""
    others: list[BenchRecord] = field(default_factory=list)
    """The results of further processes."""
    parts: list[Path] = field(default_factory=list)
    """Files of the further processes, to be deleted once everything is in the JSON."""
    began: float = field(default_factory=time.monotonic)
    complete: bool = False
    """Whether everything was measured and the JSON is in its place."""
    _journal: Journal | None = None

    def begin_journal(self, target: Path) -> None:
        """Write a journal beside the JSON at `target` from now on."""
        self._journal = Journal(target.with_name(f"{target.name}.journal"), self.environment)

    @property
    def path(self) -> Path | None:
        """The journal's file."""
        return self._journal.path if self._journal else None

    def keep(self, name: str, entry: JournalEntry) -> None:
        """Add a measurement, to the journal too."""
        self.write(entry)
        self.latest = entry
        if entry.case:
            self.cases_so_far[name] = entry.case
        if entry.comparison:
            self.comparisons.append(entry.comparison)
        if entry.cold_start:
            self.cold_starts.append(entry.cold_start)

    def write(self, entry: JournalEntry) -> None:
        """Write to the journal, if there is one."""
        if self._journal:
            self._journal.write(entry)

    def record(self, cases: Sequence[CaseRecord]) -> BenchRecord:
        """The record of all processes, with these cases."""
        return BenchRecord(
            environment=replace(self.environment, load_after=_load()),
            harness_overhead_seconds=self.overhead_seconds,
            processes=1 + len(self.others),
            comparisons=tuple(merged_comparison(record, self.others) for record in self.comparisons),
            cold_starts=tuple(self.cold_starts),
            left_out=dict(self.left_out),
            cases=tuple(merged_case(case, self.others) for case in cases),
        )

    def measure_again(self, number: int, folder: Path) -> None:
        """Repeat everything but the cold starts in a fresh process.

        Its files lie beside those of this session until this one has its JSON.

        Raises:
            StudyError: the process failed; the message has the end of its output.
        """
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "bench.json"
            if self.path is not None:
                file = self.path.with_name(f"{self.path.name.removesuffix('.journal')}.process{number}")
            limit = OTHERS_TIMES * (time.monotonic() - self.began) + OTHERS_SECONDS
            self.others.append(run_session(self.words, folder, file, limit))
            self.parts += [file, file.with_name(f"{file.name}.journal")]


def surroundings(cases: Sequence[Case], words: Sequence[str]) -> BenchEnvironment:
    """The environment at the beginning of a session, with its command line and the hashes of the files it measures."""
    files: dict[str, str] = {}
    for model in {id(case.model): case.model for case in cases}.values():
        files[f"{model.name}/{model.onnx.name}"] = model.onnx_sha256
        if model.data is not None:
            assert model.entry is not None
            images = model.data / datasets.find(model.entry.dataset).test_file
            files[images.name] = files.get(images.name) or sha256(images)
    loads = {"load_before": _load(), "load_after": None}
    gpu = gpu_name() if any(case.device == "cuda" for case in cases) else None
    return convert(
        {
            **as_json(environment()),
            **machine(),
            **loads,
            "files_sha256": files,
            "gpu": gpu,
            "command": list(map(str, words)),
        },
        BenchEnvironment,
    )


def gpu_name() -> str | None:
    """Model and driver of the first GPU, from nvidia-smi."""
    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def _load() -> float | None:
    """The one-minute load average."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
