"""The journal of a session: every measurement is on disk at once, and survives the process."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from bench.journal import Journal
from study.bench_file import read_bench
from study.errors import StudyError
from study.record_files import as_json
from study.records.bench import CaseRecord, JournalEntry
from study.seal import sealed
from tests.bench.builders import ENVIRONMENT, NOWHERE, bench, case, cold_start, paired
from tests.conftest import ROOT
from tests.support.records import profile
from tests.support.study import resealed

REMEDY = "measure again"
CASES = (case(1 / 3e4), case(0.1 + 0.2, batch=32, reasons=("a line\nbreak, µs",), valid=False))  # floats of many digits
PROFILE = profile(NOWHERE, "gap", "onnxruntime", [("Gemm_1", "fc", 1e-5)])
WHOLE = replace(bench(*CASES, comparisons=(paired(),), cold_starts=(cold_start(),)), profiles=(PROFILE,))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Two cases, a comparison, a cold start and a profile."""
    written = Journal(tmp_path / "bench.json.journal", ENVIRONMENT)
    for measured in CASES:
        written.write(JournalEntry(case=measured))
    written.write(JournalEntry(comparison=paired()))
    written.write(JournalEntry(cold_start=cold_start()))
    written.write(JournalEntry(profile=PROFILE))
    return written.path


def test_a_journal_reads_like_the_json(journal: Path) -> None:
    assert read_bench(journal, REMEDY) == WHOLE
    with journal.open("a") as file:
        file.write(json.dumps(sealed(as_json(JournalEntry(exit_status=2)))) + "\n")
    assert read_bench(journal, REMEDY) == WHOLE


def test_the_last_entry_of_a_case_counts(journal: Path) -> None:
    """Both are written after each process, over the processes so far."""
    more = case(2 / 3e4, batch=32), paired(6.0, reference="openvino"), paired(6.5)
    with journal.open("a") as file:
        for entry in (JournalEntry(case=more[0]), *(JournalEntry(comparison=pair) for pair in more[1:])):
            file.write(json.dumps(sealed(as_json(entry))) + "\n")
    read = read_bench(journal, REMEDY)
    assert read.cases == (CASES[0], more[0])
    assert read.comparisons == (more[2], more[1])


def test_a_new_session_starts_a_new_journal(journal: Path) -> None:
    Journal(journal, ENVIRONMENT)
    assert read_bench(journal, REMEDY) == bench(processes=1)


def test_each_entry_is_synchronised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    monkeypatch.setattr("os.fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    written = Journal(tmp_path / "a.journal", ENVIRONMENT)
    written.write(JournalEntry(exit_status=0))
    assert len(sizes) == 2
    assert sizes[-1] == written.path.stat().st_size


def test_a_number_that_json_lacks_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    written = Journal(tmp_path / "a.journal", ENVIRONMENT)
    before = written.path.read_bytes()
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"Out of range float|Expected"):
            written.write(JournalEntry(case=case(images_per_second_at_median=number)))
        assert written.path.read_bytes() == before


def test_an_entry_that_was_written_in_part_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    """A disk takes what it has room for, as a limit to the size of files does, and has room again later."""
    written = Journal(tmp_path / "a.journal", ENVIRONMENT)
    before, room = resource.getrlimit(resource.RLIMIT_FSIZE), written.path.stat().st_size + 10
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        with pytest.raises(OSError, match=r"File too large.*a\.journal"):
            written.write(JournalEntry(case=CASES[0]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert written.path.stat().st_size == room
    written.write(JournalEntry(case=CASES[1]))
    assert read_bench(written.path, REMEDY).cases == CASES[1:]


def test_an_entry_that_is_interrupted_once_it_is_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C may come while the disk synchronises; the exit status is written afterwards."""

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    written = Journal(tmp_path / "a.journal", ENVIRONMENT)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            written.write(JournalEntry(case=CASES[0]))
    written.write(JournalEntry(exit_status=130))
    assert read_bench(written.path, REMEDY).cases == CASES[:1]


def test_an_incomplete_last_line_is_ignored(journal: Path) -> None:
    whole = journal.read_bytes()
    *_, last = whole.splitlines(keepends=True)
    for length in (0, 1, len(last) // 2, len(last) - 1):
        journal.write_bytes(whole[: len(whole) - len(last) + length])
        assert read_bench(journal, REMEDY) == replace(WHOLE, profiles=())


DAMAGED = (
    (b'{"schema": "journal/4", "ca', "line 3 cannot be read as JSON"),
    (b"\xff\xfe\x00", "line 3 cannot be read as JSON"),
    (b'{"schema": "journal/4", "exit_status": NaN}', "line 3 cannot be read as"),
    (b"[]", "line 3: expected schema 'journal/4', found 'list'"),
    (b'{"schema": "journal/3"}', "line 3: expected schema 'journal/4', found 'journal/3'"),
    (b'{"schema": "journal/4", "case": {"samples": 1}}', "line 3: "),
    (json.dumps(sealed(as_json(JournalEntry(environment=ENVIRONMENT)))).encode(), "begins with its session"),
)


def test_a_damaged_line_in_the_middle_is_named(journal: Path) -> None:
    lines = journal.read_bytes().split(b"\n")
    for line, message in DAMAGED:
        journal.write_bytes(b"\n".join([*lines[:2], line, *lines[3:]]))
        with pytest.raises(StudyError, match=re.escape(message)) as refusal:
            read_bench(journal, REMEDY)
        assert str(refusal.value).startswith(f"{journal}: ")
        assert str(refusal.value).endswith(f"; {REMEDY}")
        assert "\n" not in str(refusal.value)


def test_a_missing_or_empty_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.journal").mkdir()
    (tmp_path / "empty.journal").touch()
    for name in ("missing.journal", "folder.journal", "empty.journal"):
        with pytest.raises(StudyError, match=rf"^{re.escape(str(tmp_path / name))}.*; {REMEDY}$"):
            read_bench(tmp_path / name, REMEDY)


def test_a_file_with_a_measurement_twice_is_refused(tmp_path: Path) -> None:
    path, study = tmp_path / "bench.json", as_json(WHOLE)
    cases = study.pop("cases")
    for benchmarks, comparisons in ((2 * cases, study["comparisons"]), (cases, 2 * study["comparisons"])):
        content = {"benchmarks": [{"extra_info": one} for one in benchmarks]}
        path.write_text(json.dumps(resealed({**content, "study": {**study, "comparisons": comparisons}})))
        with pytest.raises(StudyError, match=r"expected each measurement once, found .* at batch \d+ twice; measure"):
            read_bench(path, REMEDY)


@pytest.mark.parametrize("kilobytes", [1, 200])
def test_a_process_killed_while_it_writes_leaves_its_entries(tmp_path: Path, kilobytes: int) -> None:
    """With records of two sizes, so that the kill meets the synchronising and the writing."""
    path = tmp_path / "bench.json.journal"
    script = f"""
import itertools, sys
from pathlib import Path
from bench.journal import Journal
from study.seal import sealed
from study.records.bench import JournalEntry
from tests.bench.builders import ENVIRONMENT, case
journal = Journal(Path({str(path)!r}), ENVIRONMENT)
for n in itertools.count(1):
    journal.write(JournalEntry(case=case(batch=n, settings={{"text": "x" * {kilobytes * 1000}}})))
    print(n, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        time.sleep(0.0123)
        writer.send_signal(signal.SIGKILL)
        reported = [5, *map(int, writer.stdout.read().split())][-1]
    assert writer.returncode == -signal.SIGKILL
    found: list[CaseRecord] = [*read_bench(path, REMEDY).cases]
    assert [it.key.batch for it in found] == list(range(1, len(found) + 1))
    assert len(found) in (reported, reported + 1)  # the last entry may be written and not yet reported
