"""Further processes of a session: they repeat all its measurements, and their results are merged into its own."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from bench.pairing import between
from bench.significance import verdict
from study.bench_file import read_bench
from study.errors import StudyError
from study.records.base import Interval
from study.records.bench import BenchRecord, CaseRecord, ComparisonRecord, Measurement


def run_session(words: Sequence[str], folder: Path, file: Path, seconds: float | None = None) -> BenchRecord:
    """Run a session in a fresh process, without cold starts.

    Args:
        words: the command line after `pytest`.
        folder: where to run it.
        file: its JSON, with a journal beside it.
        seconds: the longest time for it; None if there is no limit.

    Raises:
        StudyError: it failed, and the message has the end of its output; or it did not end.
    """
    words = [*words, "--processes=1", "--cold-starts=0", f"--benchmark-json={file.resolve()}"]
    command = [sys.executable, "-m", "pytest", *words]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise StudyError(f"a further process did not end within {seconds:.0f} s; give --processes 1") from None
    if done.returncode:
        output = (done.stdout + done.stderr)[-2000:]
        raise StudyError(f"a further process failed with exit code {done.returncode}:\n{output}")
    return read_bench(file, "")


def merged_case(record: CaseRecord, others: Sequence[BenchRecord]) -> CaseRecord:
    """A case with the results of further processes; its own numbers stay those of its own samples."""
    same = [(n, case) for n, other in enumerate(others, 2) for case in other.cases if case.key == record.key]
    processes = (*record.processes[:1], *(part for _, case in same for part in case.processes))
    reasons = _all_reasons(record, same)
    return replace(
        record,
        processes=processes,
        between_spread=between([process.median_seconds.value for process in processes]),
        valid=not reasons,
        reasons=reasons,
    )


def merged_comparison(record: ComparisonRecord, others: Sequence[BenchRecord]) -> ComparisonRecord:
    """A comparison over all processes: the median of their ratios and of the bounds of their intervals.

    The interval is that within a process; the spread between processes is apart, and counts as noise.
    """
    same = [
        (n, one)
        for n, other in enumerate(others, 2)
        for one in other.comparisons
        if (one.key, one.reference) == (record.key, record.reference)
    ]
    if not same:
        return record
    processes = (*record.processes, *(part for _, one in same for part in one.processes))
    ratios = [part.ratio for part in processes]
    spread = between([ratio.value for ratio in ratios])
    assert spread is not None
    ratio = Interval(
        value=median(ratio.value for ratio in ratios),
        low=median(ratio.low for ratio in ratios),
        high=median(ratio.high for ratio in ratios),
    )
    floor = median(part.noise_floor for part in processes)
    reasons = _all_reasons(record, same)
    return replace(
        record,
        ratio=ratio,
        noise_floor=floor,
        processes=processes,
        between_spread=spread,
        verdict="withheld" if reasons else verdict(ratio, max(floor, spread)),
        valid=not reasons,
        reasons=reasons,
    )


def _all_reasons(record: Measurement, others: Sequence[tuple[int, Measurement]]) -> tuple[str, ...]:
    """The reasons of a record and of the same one in other processes, each once however often they are merged."""
    later = (f"in process {n}: {reason}" for n, other in others for reason in other.reasons)
    return tuple(dict.fromkeys([*record.reasons, *later]))
