"""The journal of a session: what has been measured is on the disk, whatever happens to the process then."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.journal import Journal
from study.artifacts import Artifacts, check, read_bench
from study.errors import StudyError
from tests.conftest import ROOT
from tests.support import synthetic
from tests.support.synthetic import BENCH_ENVIRONMENT, write_bench

Record = dict[str, Any]
SESSION = {"environment": BENCH_ENVIRONMENT, "harness_overhead_seconds": 1e-7, "processes": 1}
REMEDY = "measure again"


@pytest.fixture
def records(tmp_path: Path) -> list[tuple[str, Record]]:
    """Two cases, a comparison and a cold start, with a number of as many digits as there are."""
    made = Artifacts(tmp_path / "artifacts")
    return [
        ("case", synthetic.case(made, "gap", "torch", 1, 1 / 3e4)),
        ("case", synthetic.case(made, "gap", "onnxruntime", 1, 0.1 + 0.2, reasons=["a line\nbreak, µs"], valid=False)),
        ("comparison", synthetic.comparison(made, "gap", 1, 1.5, 1.4, 1.6)),
        ("cold_start", synthetic.cold_start(made, "gap", "torch")),
    ]


@pytest.fixture
def journal(tmp_path: Path, records: list[tuple[str, Record]]) -> Path:
    """A journal with all of them."""
    written = Journal(tmp_path / "bench.json.journal", SESSION)
    for kind, record in records:
        written.write(kind, record)
    return written.path


def of_kind(records: list[tuple[str, Record]], wanted: str) -> list[Record]:
    return [record for kind, record in records if kind == wanted]


def test_each_line_fits_the_schema(journal: Path) -> None:
    lines = journal.read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["session", "case", "case", "comparison", "cold_start"]
    for line in lines:
        check(json.loads(line), "journal/1", "this test", "")


def test_it_reads_as_the_json_that_the_session_would_have_written(
    journal: Path, records: list[tuple[str, Record]], tmp_path: Path
) -> None:
    cases, comparisons, starts = (of_kind(records, kind) for kind in ("case", "comparison", "cold_start"))
    file = write_bench(Artifacts(tmp_path), cases, comparisons, starts)
    assert read_bench(journal, REMEDY) == read_bench(file, REMEDY)


def test_the_end_changes_nothing(journal: Path) -> None:
    before = read_bench(journal, REMEDY)
    with journal.open("a") as file:
        file.write(json.dumps({"schema": "journal/1", "kind": "end", "record": {"exit_status": 2}}) + "\n")
    assert read_bench(journal, REMEDY) == before


def test_a_new_session_begins_a_new_one(journal: Path) -> None:
    Journal(journal, SESSION)
    assert read_bench(journal, REMEDY)["cases"] == []


def test_what_is_written_is_on_the_disk_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronised = []
    monkeypatch.setattr("os.fsync", lambda handle: synchronised.append(os.fstat(handle).st_size))
    written = Journal(tmp_path / "a.journal", SESSION)
    written.write("end", {})
    assert len(synchronised) == 2
    assert synchronised[-1] == written.path.stat().st_size


def test_a_number_that_json_has_not_is_refused_before_anything_is_written(journal: Path) -> None:
    before = journal.read_bytes()
    reopened = Journal(journal.with_name("other.journal"), SESSION)
    with pytest.raises(ValueError, match="Out of range float"):
        reopened.write("case", {"drift": float("nan")})
    assert reopened.path.read_bytes() == before.split(b"\n")[0] + b"\n"


def test_a_last_line_cut_off_anywhere_does_not_count(journal: Path, records: list[tuple[str, Record]]) -> None:
    whole = journal.read_bytes()
    *_, last = whole.splitlines(keepends=True)
    for length in (*range(0, len(last), 41), len(last) - 1):
        journal.write_bytes(whole[: len(whole) - len(last) + length])
        found = read_bench(journal, REMEDY)
        assert found["cold_starts"] == []
        assert found["comparisons"] == of_kind(records, "comparison")


DAMAGED = {
    "cut off": (b'{"schema": "journal/1", "ki', "line 3 cannot be read as JSON"),
    "empty": (b"", "line 3 cannot be read as JSON"),
    "no text": (b"\xff\xfe\x00", "line 3 cannot be read as JSON"),
    "no number": (b'{"schema": "journal/1", "kind": "case", "record": {"drift": NaN}}', "line 3 cannot be read as"),
    "no object": (b"[]", "line 3: expected schema 'journal/1', found 'list'"),
    "another's": (b'{"schema": "bench/2"}', "line 3: expected schema 'journal/1', found 'bench/2'"),
    "another kind": (b'{"schema": "journal/1", "kind": "weather", "record": {}}', "line 3: $.kind: 'weather'"),
    "half a record": (b'{"schema": "journal/1", "kind": "case", "record": {"model": "a"}}', "$.cases[1]: "),
    "a second session": (b'{"schema": "journal/1", "kind": "session", "record": {}}', "begins with its session"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_line_in_the_middle_is_named(kind: str, journal: Path) -> None:
    line, message = DAMAGED[kind]
    lines = journal.read_bytes().split(b"\n")
    lines[2] = line
    journal.write_bytes(b"\n".join(lines))
    with pytest.raises(StudyError, match=re.escape(message)) as refusal:
        read_bench(journal, REMEDY)
    assert str(refusal.value).startswith(f"{journal}: ")
    assert str(refusal.value).endswith(f"; {REMEDY}")
    assert "\n" not in str(refusal.value)


def test_an_empty_one_is_refused(journal: Path) -> None:
    for content in (b"", b'{"schema"'):
        journal.write_bytes(content)
        with pytest.raises(StudyError, match=f"^{re.escape(str(journal))}: expected a journal that begins with its"):
            read_bench(journal, REMEDY)


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "a.journal", tmp_path / "b.journal"):
        if path.name == "b.journal":
            path.mkdir()
        with pytest.raises(StudyError, match=rf"^{re.escape(str(path))} .*; {REMEDY}$"):
            read_bench(path, REMEDY)


@pytest.mark.parametrize("kilobytes", [1, 200])
def test_a_process_killed_while_it_writes_leaves_what_it_had_written(journal: Path, kilobytes: int) -> None:
    """Records of different sizes, so that now the synchronising and now the writing takes the time."""
    case = json.loads(journal.read_text().splitlines()[1])["record"]
    case["settings"] = {"text": "x" * kilobytes * 1000}
    script = f"""
import itertools, json, sys
from pathlib import Path
from bench.journal import Journal
session, case = json.load(sys.stdin)
journal = Journal(Path({str(journal)!r}), session)
for n in itertools.count(1):
    journal.write("case", {{**case, "samples": n}})
    print(n, flush=True)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        json.dump([SESSION, case], writer.stdin)
        writer.stdin.close()
        for _ in range(5):
            writer.stdout.readline()
        time.sleep(0.0123)
        writer.send_signal(signal.SIGKILL)
        told = [5, *map(int, writer.stdout.read().split())][-1]
    assert writer.returncode == -signal.SIGKILL
    found = [case["samples"] for case in read_bench(journal, REMEDY)["cases"]]
    assert found == list(range(1, len(found) + 1))
    assert len(found) in (told, told + 1)  # what was said to be written is there; the last may not have been said
