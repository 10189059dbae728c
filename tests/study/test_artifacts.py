"""Paths, atomic writes and checked reads."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from study.artifacts import Artifacts, current_export
from study.bench_file import read_bench
from study.errors import StudyError
from study.files import csv_value, replacing, sha256, write_bytes, write_csv
from study.record_files import read_record
from study.records.training import RunRecord
from tests.conftest import ROOT, Trained
from tests.support.study import edit_json


def test_the_paths_of_the_contract() -> None:
    files = Artifacts(Path("a")).run("gap", 2)
    shown = [files.checkpoint, files.record, files.history, files.onnx, files.export]
    assert [str(p) for p in shown] == [
        f"a/models/gap/seed2/{name}"
        for name in ("checkpoint.pt", "run.json", "history.csv", "model.onnx", "export.json")
    ]
    assert str(Artifacts(Path("a")).bench) == "a/bench.json"


def test_runs_are_found_by_seed_and_only_when_finished(tmp_path: Path) -> None:
    for folder in ("seed10", "seed2", "seed1", "seedling"):
        (tmp_path / "models" / "gap" / folder).mkdir(parents=True)
        if folder != "seed1":
            (tmp_path / "models" / "gap" / folder / "run.json").touch()
    assert [files.seed for files in Artifacts(tmp_path).runs("gap")] == [2, 10]
    assert Artifacts(tmp_path).runs("baseline") == []


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    write_bytes(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_process_killed_while_it_writes_leaves_the_old_file_and_the_next_one_removes_its_leftovers(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    write_bytes(file, b"old")
    script = f"""
import os, signal
from pathlib import Path
from study.files import write_bytes
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_bytes(Path({str(file)!r}), b"new" * 100_000)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    (left,) = tmp_path.glob(".file.*.partial")
    with replacing(file) as at_work:
        assert not left.exists()
        write_bytes(file, b"new")
        assert Path(at_work.name).exists(), "of a process that lives"
        at_work.write(b"newer")
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == b"newer"


def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_bytes(tmp_path / "ours", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_csv_keeps_all_digits_and_leaves_none_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("a", "b"), [{"a": 0.1 + 0.2, "b": None}])
    assert (tmp_path / "a.csv").read_text() == "a,b\n0.30000000000000004,\n"


def test_no_text_in_a_csv_file_is_a_formula_and_every_text_comes_back(tmp_path: Path) -> None:
    texts = ["=1+1", "+a", "-a", "@a", "'=1", "'a", "a=1", ""]
    write_csv(tmp_path / "a.csv", ("text", "number"), [{"text": text, "number": -1.5} for text in texts])
    cells = [line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert [cell for cell, _ in cells] == ["'=1+1", "'+a", "'-a", "'@a", "''=1", "'a", "a=1", ""]
    assert [csv_value(cell) for cell, _ in cells] == texts
    assert {number for _, number in cells} == {"-1.5"}


BROKEN = {
    "missing": (None, "is missing; train it"),
    "no JSON": ("{", "cannot be read as JSON"),
    "no text": (b"\xff\xfe\x00", "cannot be read as JSON"),
    "an array": ("[]", "expected schema 'run/2', found 'list'; train it"),
    "another schema": ('{"schema": "run/9"}', "expected schema 'run/2', found 'run/9'; train it"),
    "no keys": ('{"schema": "run/2"}', "Object missing required field `model`; train it"),
    "nested deeply": ("[" * 100_000, "cannot be read as JSON"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_record_is_refused_by_name(fault: str, tmp_path: Path) -> None:
    content, message = BROKEN[fault]
    file = tmp_path / "run.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyError, match=re.escape(message)) as refusal:
        read_record(file, RunRecord, "train it")
    assert str(refusal.value).startswith(str(file))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["pipe.json", "pipe.journal", "device.json", "device.journal", "folder.json"])
def test_what_is_no_plain_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """A pipe would be waited for, and this device never ends."""
    path = tmp_path / name
    if path.stem == "pipe":
        os.mkfifo(path)
    elif path.stem == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(
        StudyError, match=rf"^{path} cannot be read.* \(expected a regular file, found a {path.stem}\); measure again$"
    ):
        read_bench(path, "measure again")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_a_regular_file_is_replaced(kind: str, tmp_path: Path) -> None:
    """Root may replace /dev/null, for instance, after which no program of the machine works."""
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/null")
    else:
        path.mkdir()
    before = path.lstat()
    with pytest.raises(OSError, match=rf"expected a regular file, found a {kind}.*{path}"):
        write_bytes(path, b"new")
    assert (list(tmp_path.iterdir()), path.lstat()) == ([path], before)


def test_an_export_is_current_only_with_its_checkpoint_and_its_bytes(trained: Trained, tmp_path: Path) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0)
    assert current_export(files).model == "gap"
    record = files.record.read_text()
    edit_json(files.record, checkpoint_sha256="0" * 64)
    with pytest.raises(StudyError, match=r"was made from another checkpoint than .*; run `python -m export gap`"):
        current_export(files)
    files.record.write_text(record)
    files.onnx.unlink()
    with pytest.raises(StudyError, match=r"model\.onnx is missing; run `python -m export gap`"):
        current_export(files)
