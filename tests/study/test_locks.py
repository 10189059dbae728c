"""Locks between commands: one holds, the next one waits or is refused, and nothing is left of either."""

import errno
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from study import locks
from study.errors import StudyError
from tests.conftest import ROOT

HOLDS = """
import sys, time
from pathlib import Path
from study import locks
lock = locks.take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_one_holds_it_and_the_next_one_waits_for_that_process(tmp_path: Path) -> None:
    path, heard = locks.of_folder(tmp_path / "run"), []
    first = locks.take(path)
    assert first is not None
    assert locks.take(path) is None

    def say(holder: str) -> None:
        heard.append(holder)
        threading.Timer(0.1, locks.release, [first]).start()

    with locks.held(path, say) as waited:
        assert waited
    assert heard == [f"process {os.getpid()}"]
    assert list(path.parent.iterdir()) == []
    with locks.held(path, say) as waited:
        assert not waited


def test_whoever_is_told_may_refuse_to_wait(tmp_path: Path) -> None:
    path = locks.of_file(tmp_path / "b.json")

    def refuse(holder: str) -> None:
        raise StudyError(holder)

    with locks.held(path, print), pytest.raises(StudyError), locks.held(path, refuse):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_made_for_a_command_that_fails_does_not_stay_empty(tmp_path: Path) -> None:
    new, old, used = (tmp_path / "modules" / name for name in ("new", "old", "used"))
    old.mkdir(parents=True)
    for folder in (new, old):
        with suppress(StudyError), locks.folder_held(folder):
            assert folder.is_dir()
            raise StudyError("the export failed")
    with locks.folder_held(used):
        (used / "model.onnx").touch()
    assert sorted(path.name for path in old.parent.iterdir()) == ["old", "used"], "what was there before is the user's"


def test_a_folder_that_vanishes_while_its_lock_is_taken_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = locks.of_folder(tmp_path / "run"), Path.write_text
    written: list[Path] = []

    def vanishing(file: Path, text: str) -> int:
        if not written:  # as by a command that lets go of it and leaves nothing there
            file.unlink()
            file.parent.rmdir()
        written.append(file)
        return write(file, text)

    monkeypatch.setattr(Path, "write_text", vanishing)
    with locks.held(path, lambda _: None):
        assert path.read_text() == f"{os.getpid()}\n"
    assert written == [path, path]


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert locks.take(path) is None
        assert locks.holder(path) == f"process {process.pid}"
        process.kill()
        process.wait()
        lock = locks.take(path)
    assert lock is not None
    locks.release(lock)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_disk_without_locks_is_refused(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that only stands for a lock would be there for ever if its process is killed."""

    def missing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", missing)
    with pytest.raises(OSError, match=r"expected a disk with file locks.*\.lock"):
        locks.take(tmp_path / ".lock")


def test_a_lock_is_never_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        locks.take(tmp_path / ".lock")
    assert (tmp_path / "precious").read_text() == "precious"
