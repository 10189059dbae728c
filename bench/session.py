"""One `pytest bench`: what is to be measured, what has been, and what is said of it in the end."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.cases import Case
from bench.journal import Journal
from bench.pairing import Interval, between, verdict
from bench.sampling import Budget
from study.artifacts import read_bench, sha256
from study.data import datasets
from study.environment import environment, machine
from study.errors import StudyError
from study.reasons import told_once

PLACE = ("model", "seed", "runtime", "batch", "threads", "mode", "device")
Record = dict[str, Any]


@dataclass
class Session:
    """What a session measures, and the records it has so far."""

    cases: list[Case]
    pairs: list[tuple[Case, Case]]
    """Reference and runtime."""
    starting: list[Case]
    """Those whose cold start is measured."""
    budget: Budget
    processes: int
    words: Sequence[str]
    """Of the command line, for the further processes."""
    environment: Record
    overhead_seconds: float | None = None
    comparisons: list[Record] = field(default_factory=list)
    cold_starts: list[Record] = field(default_factory=list)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Why what is not valid is not, by what it is."""
    others: list[Record] = field(default_factory=list)
    """What the further processes measured, as `read_bench` gives it."""
    parts: list[Path] = field(default_factory=list)
    """Files of the further processes, which are not needed any more once all is in the JSON."""
    whole: bool = False
    """Whether all was measured and the JSON is in its place."""
    _journal: Journal | None = None

    def begin_journal(self, target: Path) -> None:
        """Keep a journal beside the JSON at `target` from now on."""
        self._journal = Journal(target.with_name(f"{target.name}.journal"), self._header())

    @property
    def path(self) -> Path | None:
        """The journal's file."""
        return self._journal.path if self._journal else None

    def journal(self, kind: str, record: Record) -> None:
        """Keep a record, if there is a journal."""
        if self._journal:
            self._journal.write(kind, record)

    def keep(self, kind: str, name: str, record: Record) -> None:
        """Take in what has been measured."""
        self.journal(kind, record)
        if kind == "comparison":
            self.comparisons.append(record)
        if kind == "cold_start":
            self.cold_starts.append(record)
        if record.get("reasons"):
            self.reasons[name] = record["reasons"]

    def _header(self) -> Record:
        """What the journal has is of this process alone."""
        return {"environment": self.environment, "harness_overhead_seconds": None, "processes": 1}

    def study(self) -> Record:
        """The block `study` of the JSON."""
        return {
            "schema": "bench/2",
            "environment": {**self.environment, "load_after": _load()},
            "harness_overhead_seconds": self.overhead_seconds,
            "processes": 1 + len(self.others),
            "comparisons": [self.merged_comparison(record) for record in self.comparisons],
            "cold_starts": self.cold_starts,
        }

    def merged_case(self, record: Record) -> Record:
        """A case with what the further processes found; its own numbers stay those of its own samples."""
        same = self._in_others("cases", record)
        processes = record["processes"][:1] + [part for _, case in same for part in case["processes"]]
        spread = between([process["median_seconds"] for process in processes])
        reasons = _all_reasons(record, same)
        found = {"processes": processes, "between_spread": spread, "valid": not reasons, "reasons": reasons}
        return {**record, **found}

    def merged_comparison(self, record: Record) -> Record:
        """A comparison over all processes: the median of their ratios and of the bounds of their intervals.

        So the interval is the spread within a process. That between them is apart, and counts as noise.
        """
        same = self._in_others("comparisons", record)
        if not same:
            return record
        processes = [*record["processes"], *(part for _, one in same for part in one["processes"])]
        spread = between([part["ratio"] for part in processes])
        assert spread is not None
        ratio, low, high, floor = (median(p[key] for p in processes) for key in ("ratio", "low", "high", "noise_floor"))
        reasons = _all_reasons(record, same)
        said = "withheld" if reasons else verdict(Interval(ratio, low, high), max(floor, spread))
        found = {"ratio": ratio, "low": low, "high": high, "noise_floor": floor, "between_spread": spread}
        return {**record, **found, "processes": processes, "verdict": said, "valid": not reasons, "reasons": reasons}

    def _in_others(self, kind: str, record: Record) -> list[tuple[int, Record]]:
        """The same as `record` in the further processes, with their numbers."""
        keys = [key for key in (*PLACE, "reference") if key in record]
        return [
            (n, found)
            for n, other in enumerate(self.others, 2)
            for found in other[kind]
            if all(found[key] == record[key] for key in keys)
        ]

    def measure_again(self, process: int, folder: Path) -> None:
        """Measure all in a fresh process, but for the cold starts.

        Its JSON and journal are beside those of this session until this one has its JSON.

        Raises:
            StudyError: it did not end well; the message has the end of what it printed.
        """
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "bench.json"
            if self.path is not None:
                file = self.path.with_name(f"{self.path.name.removesuffix('.journal')}.process{process}")
            words = ["--processes=1", "--cold-starts=0", f"--benchmark-json={file.resolve()}"]
            command = [sys.executable, "-m", "pytest", *self.words, *words]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                said = (done.stdout + done.stderr)[-2000:]
                raise StudyError(f"process {process} ended with exit code {done.returncode}:\n{said}")
            self.others.append(read_bench(file, ""))
            self.parts += [file, file.with_name(f"{file.name}.journal")]


def _all_reasons(record: Record, others: Sequence[tuple[int, Record]]) -> list[str]:
    """Why a record, or the same one of another process, is not valid; each once, however often it is merged."""
    later = (f"in process {n}: {reason}" for n, other in others for reason in other["reasons"])
    return list(dict.fromkeys([*record["reasons"], *later]))


def surroundings(cases: Sequence[Case]) -> Record:
    """The environment at the beginning of a session, and the hashes of the files that it measures with."""
    files = {}
    for model in {id(case.model): case.model for case in cases}.values():
        files[f"{model.name}/{model.onnx.name}"] = model.onnx_sha256
        if model.data is not None:
            assert model.entry is not None
            images = model.data / datasets.find(model.entry.dataset).test_file
            files[images.name] = files.get(images.name) or sha256(images)
    loads = {"load_before": _load(), "load_after": None}
    gpu = gpu_name() if any(case.device == "cuda" for case in cases) else None
    return {**environment(), **machine(), **loads, "files_sha256": files, "gpu": gpu}


def gpu_name() -> str | None:
    """Model and driver of the first GPU, as the driver's own tool tells them."""
    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def _load() -> float | None:
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def summary(session: Session) -> Iterator[str]:
    """What was found, in words, line by line."""
    for record in map(session.merged_comparison, session.comparisons):
        yield said(record)
    doubts = [(name, reason) for name, reasons in session.reasons.items() for reason in reasons]
    for n, other in enumerate(session.others, 2):
        for record in (*other["cases"], *other["comparisons"]):
            name = f"{record['model']}-{record['runtime']}-batch{record['batch']} in process {n}"
            doubts += [(name, reason) for reason in record["reasons"]]
    for reason, names in told_once(doubts):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"not valid: {reason} ({', '.join(names[:3])}{more})"


def said(record: Record) -> str:
    """A comparison in one line."""
    place = f"{record['model']} batch {record['batch']} threads {record['threads']}"
    times = f"{record['ratio']:.3f} times as fast"
    interval = f"95 % {record['low']:.3f} to {record['high']:.3f}, noise floor {record['noise_floor']:.1%}"
    if record["between_spread"] is not None:
        interval += f", {len(record['processes'])} processes within {record['between_spread']:.1%}"
    return f"{place}: {record['runtime']} {times} as {record['reference']} ({interval}): {record['verdict']}"
