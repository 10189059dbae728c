"""What a killed session has left is removed by a later one, and nothing that is in use."""

import os
import tempfile
from pathlib import Path

import pytest

from bench import session_folder


def test_folders_of_sessions_that_have_ended_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, held, new, link = (tmp_path / f"{session_folder.PREFIX}{name}" for name in ("left", "held", "new", "link"))
    for path in (left, held, new, tmp_path / "of another program"):
        path.mkdir()
        (path / "file").touch()
        if path != new:
            os.utime(path, (0, 0))
    link.symlink_to(tmp_path / "of another program")
    lock = session_folder._lock(str(held))  # which a process that is killed no longer has
    session_folder.remove_left()
    assert {path.name for path in tmp_path.iterdir()} == {held.name, new.name, link.name, "of another program"}
    assert (tmp_path / "of another program" / "file").is_file()
    os.close(lock)
    session_folder.remove_left()
    assert not held.exists()
