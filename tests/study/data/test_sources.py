"""The sources themselves: what a folder, a mirror and a Debian package give, and what each says when it cannot."""

import gzip
import io
import os
import sys
import tempfile
from pathlib import Path
from shutil import which

import pytest

from study.data import sources
from study.data.fashion_mnist import FILES, PACKAGE, SIZES, check
from study.data.sources import UnavailableError, fetched_package, installed_package
from tests.conftest import Serve

LABELS = "t10k-labels-idx1-ubyte"
PATH = os.environ.get("PATH", os.defpath)

pytestmark = pytest.mark.usefixtures("bare_machine")


def install(folder: Path, name: str, script: str) -> None:
    """Put a shell script called `name` where the machine's commands are looked for."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_gzip_bomb_is_unpacked_to_one_byte_more_than_expected(tmp_path: Path) -> None:
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(bytes(10**8), compresslevel=1))
    with sources.folder(tmp_path, {LABELS: 10_008}) as read:
        assert read(LABELS) == bytes(10_009)


def test_a_plain_file_is_read_to_one_byte_more_than_expected(tmp_path: Path) -> None:
    (tmp_path / LABELS).write_bytes(bytes(10**6))
    with sources.folder(tmp_path, {LABELS: 10_008}) as read:
        assert read(LABELS) == bytes(10_009)


def test_a_file_that_drips_in_is_given_up_in_the_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FILE_SECONDS", 0)
    url = serve({f"{LABELS}.gz": gzip.compress(bytes(10_008))})
    with sources.mirror(url, SIZES) as read, pytest.raises(UnavailableError, match="not whole after 0 s"):
        read(LABELS)


def test_a_download_shows_a_bar_on_a_terminal_and_nothing_elsewhere(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with sources.mirror(serve({f"{LABELS}.gz": gzip.compress(bytes(10_008))}), SIZES) as read:
        assert read(LABELS) == bytes(10_008)
        assert capsys.readouterr().err == ""
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "stderr", terminal)
        assert read(LABELS) == bytes(10_008)
    assert f"{LABELS}.gz" in terminal.getvalue()
    assert "bytes" in terminal.getvalue()


def test_a_machine_without_dpkg_and_a_package_that_is_not_installed_are_said(bare_machine: Path) -> None:
    with pytest.raises(UnavailableError, match="dpkg cannot be run here"), installed_package(PACKAGE, SIZES):
        pass
    install(bare_machine, "dpkg", "exit 1")
    with pytest.raises(UnavailableError, match=f"{PACKAGE} is not installed"), installed_package(PACKAGE, SIZES):
        pass
    install(bare_machine, "dpkg", "echo /usr/share/doc")
    with pytest.raises(UnavailableError, match="has none of the files"), installed_package(PACKAGE, SIZES):
        pass


def test_the_package_is_fetched_without_root_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real thing. It cannot do without apt-get and a network; where one is missing, it says which."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    reason = None
    try:
        with fetched_package(PACKAGE, SIZES) as read:
            for name in FILES:
                check(name, read(name))
    except UnavailableError as error:
        reason = str(error)
    if which("apt-get") is None:
        assert reason == "apt-get cannot be run here (No such file or directory)"
    else:
        assert reason is None or "W: Failed to fetch" in reason
    assert list(scratch.iterdir()) == []


def test_apt_get_is_quoted_when_it_fails(bare_machine: Path) -> None:
    install(
        bare_machine, "apt-get", "echo W: Failed to fetch it; echo Done.; echo E: Unable to locate it >&2; exit 100"
    )
    with (
        pytest.raises(UnavailableError, match="W: Failed to fetch it; E: Unable to locate it"),
        fetched_package(PACKAGE, SIZES),
    ):
        pass


def test_apt_get_is_stopped_when_it_hangs(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(bare_machine, "apt-get", "exec /bin/sleep 60")
    monkeypatch.setattr(sources, "UPDATE_SECONDS", 0.1)
    with (
        pytest.raises(UnavailableError, match=r"apt-get was not done after 0\.1 s and has been stopped"),
        fetched_package(PACKAGE, SIZES),
    ):
        pass
