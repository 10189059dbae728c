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
from bench.sampling import Effort
from study.artifacts import read_bench
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
    effort: Effort
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
        same = [case for other in self.others for case in other["cases"] if _same(case, record)]
        processes = record["processes"][:1] + [part for case in same for part in case["processes"]]
        spread = between([process["median_seconds"] for process in processes])
        reasons = _all_reasons(record, same)
        found = {"processes": processes, "between_spread": spread, "valid": not reasons, "reasons": reasons}
        return {**record, **found}

    def merged_comparison(self, record: Record) -> Record:
        """A comparison over all processes: the median of their ratios and of the bounds of their intervals.

        So the interval is the spread within a process. That between them is apart, and counts as noise.
        """
        same = [c for other in self.others for c in other["comparisons"] if _same(c, record, "reference")]
        if not same:
            return record
        processes = [*record["processes"], *(part for c in same for part in c["processes"])]
        spread = between([part["ratio"] for part in processes])
        assert spread is not None
        ratio, low, high, floor = (median(p[key] for p in processes) for key in ("ratio", "low", "high", "noise_floor"))
        reasons = _all_reasons(record, same)
        said = "withheld" if reasons else verdict(Interval(ratio, low, high), max(floor, spread))
        found = {"ratio": ratio, "low": low, "high": high, "noise_floor": floor, "between_spread": spread}
        return {**record, **found, "processes": processes, "verdict": said, "valid": not reasons, "reasons": reasons}

    def measure_again(self, folder: Path) -> None:
        """Measure all in a fresh process, but for the cold starts.

        Raises:
            StudyError: it did not end well; the message has the end of what it printed.
        """
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "bench.json"
            words = ["--processes=1", "--cold-starts=0", f"--benchmark-json={file}"]
            command = [sys.executable, "-m", "pytest", *self.words, *words]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise StudyError(
                    f"the process ended with exit code {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
                )
            self.others.append(read_bench(file, ""))


def _same(one: Record, other: Record, *further: str) -> bool:
    return all(one[key] == other[key] for key in (*PLACE, *further))


def _all_reasons(record: Record, others: Sequence[Record]) -> list[str]:
    """Why a record, or the same one of another process, is not valid."""
    later = (f"in process {n}: {reason}" for n, other in enumerate(others, 2) for reason in other["reasons"])
    return [*record["reasons"], *later]


def surroundings() -> Record:
    """The environment at the beginning of a session."""
    return {**environment(), **machine(), "load_before": _load(), "load_after": None}


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
