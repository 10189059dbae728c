"""A session: what it keeps, in memory and in its journal."""

from pathlib import Path

import pytest

from bench.sampling import Budget
from bench.session import Session
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
    assert measured.cases_so_far == {"the case": invalid}
    assert measured.path == tmp_path / "bench.json.journal"
    # of one process, however many were asked for: only the JSON has the others
    assert read_bench(measured.path, "") == bench(invalid, comparisons=(comparison,), cold_starts=(start,))


def test_a_session_without_a_file_has_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measured = session()
    measured.keep("a", JournalEntry(case=case()))
    assert measured.path is None
    assert list(tmp_path.iterdir()) == []
    assert measured.cases_so_far == {"a": case()}


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
