"""A session: what it keeps, in memory and in its journal, and its summary."""

from pathlib import Path

import pytest

from bench.sampling import Budget
from bench.session import Session, comparison_line, summary
from study.artifacts import as_json
from study.bench_file import read_bench
from study.records.bench import JournalEntry
from tests.bench.builders import ENVIRONMENT, bench, case, cold_start, paired


def session(processes: int = 1) -> Session:
    return Session([], [], [], Budget(), processes, (), ENVIRONMENT)


def test_measurements_are_in_the_journal_too(tmp_path: Path) -> None:
    measured = session(processes=3)
    measured.begin_journal(tmp_path / "bench.json")
    invalid, comparison, start = case(reasons=("noisy",), valid=False), paired(), cold_start()
    measured.keep("the case", JournalEntry(case=invalid))
    measured.keep("the comparison", JournalEntry(comparison=comparison))
    measured.keep("the cold start", JournalEntry(cold_start=start))
    assert (measured.comparisons, measured.cold_starts) == ([comparison], [start])
    assert measured.reasons == {"the case": ("noisy",)}
    assert measured.path == tmp_path / "bench.json.journal"
    # of one process, however many were asked for: only the JSON has the others
    assert read_bench(measured.path, "") == bench(invalid, comparisons=(comparison,), cold_starts=(start,))


def test_a_session_without_a_file_has_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measured = session()
    measured.keep("a", JournalEntry(case=case()))
    assert measured.path is None
    assert list(tmp_path.iterdir()) == []
    assert measured.reasons == {}


def test_the_record_of_all_processes() -> None:
    measured = session()
    measured.comparisons, measured.cold_starts = [paired(1.5)], [cold_start()]
    measured.others = [bench(case(2e-3), comparisons=(paired(1.6),))]
    measured.overhead_seconds = 1e-7
    record = measured.record([case(1e-3)])
    as_json(record)
    assert record.processes == 2
    assert record.harness_overhead_seconds == 1e-7
    assert record.cases[0].between_spread == pytest.approx(1)
    assert record.comparisons[0].between_spread == pytest.approx(1.6 / 1.5 - 1)
    assert record.cold_starts == (cold_start(),)
    assert measured.comparisons == [paired(1.5)], "the session keeps its own"


# ---- summary


def test_a_comparison_in_one_line() -> None:
    line = "gap batch 1 threads 1: onnxruntime 1.500 times as fast as torch (95 % 1.485 to 1.515, noise floor 0.4%)"
    assert comparison_line(paired(1.5, 0.01, 0.004)) == f"{line}: faster"
    assert comparison_line(paired(variant="int8-static")).startswith("gap-int8-static batch 1")
    measured = session()
    measured.comparisons = [paired(1.5, 0.01, 0.004)]
    measured.others = [bench(comparisons=(paired(1.53, 0.01, 0.004),))]
    assert list(summary(measured)) == [
        "gap batch 1 threads 1: onnxruntime 1.515 times as fast as torch "
        "(95 % 1.500 to 1.530, noise floor 0.4%, 2 processes within 2.0%): faster"
    ]


def test_each_reason_is_listed_once_with_the_measurements_it_concerns() -> None:
    measured = session()
    measured.reasons = {"a": ("noisy",), "b": ("noisy", "drift"), "c": ("noisy",), "d": ("noisy",), "e": ("noisy",)}
    assert list(summary(measured)) == ["not valid: noisy (a, b, c and 2 more)", "not valid: drift (b)"]
    measured.reasons = dict.fromkeys("abc", ("noisy",))
    assert list(summary(measured)) == ["not valid: noisy (a, b, c)"]
    measured.reasons = {}
    measured.others = [bench(case(valid=False, reasons=("noisy",)))]
    assert list(summary(measured)) == ["not valid: noisy (gap-onnxruntime-batch1 in process 2)"]
    measured.others = []
    assert list(summary(measured)) == []
