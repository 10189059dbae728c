"""Fashion-MNIST: every source ends in the same check, and a file that fails it never reaches the cache."""

import gzip
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import pytest

from study.data import datasets, fashion_mnist, sources
from study.data.fashion_mnist import FILES, PACKAGE, SIZES, check, check_classes, prepare
from study.data.sources import RefusedError
from study.errors import StudyError
from tests.conftest import ROOT, Serve

LABELS = "t10k-labels-idx1-ubyte"
IMAGES = "t10k-images-idx3-ubyte"
RAW = Path("FashionMNIST/raw")


pytestmark = pytest.mark.usefixtures("bare_machine")


@pytest.fixture
def content(data: Path) -> Callable[[str], bytes]:
    """The real bytes of a file."""
    return lambda name: (data / RAW / name).read_bytes()


@pytest.fixture
def cache(tmp_path: Path, data: Path) -> Path:
    """A data folder that lacks the test labels and has the other three files."""
    raw = tmp_path / "cache" / RAW
    raw.mkdir(parents=True)
    for name in FILES.keys() - {LABELS}:
        (raw / name).symlink_to(data / RAW / name)
    return tmp_path / "cache"


def broken(kind: str, good: bytes) -> bytes:
    """A file gone wrong in one of the ways that users have met."""
    if kind == "truncated":
        return good[:-1]
    if kind == "too large":
        return good + bytes(10**6)
    return good[:8] + bytes(reversed(good[8:]))  # another data set's: header and size are right


# The folder that the user names.


def test_a_named_folder_may_hold_the_files_or_their_gz_in_any_usual_place(
    tmp_path: Path, cache: Path, content: Callable[[str], bytes]
) -> None:
    good = content(LABELS)
    for n, (layout, suffix) in enumerate(product((".", "raw", "FashionMNIST/raw"), ("", ".gz"))):
        file = tmp_path / str(n) / layout / f"{LABELS}{suffix}"
        file.parent.mkdir(parents=True)
        file.write_bytes(gzip.compress(good) if suffix else good)
        assert prepare(cache, tmp_path / str(n)) == cache
        assert (cache / RAW / LABELS).read_bytes() == good
        (cache / RAW / LABELS).unlink()


def test_a_named_folder_alone_is_enough(tmp_path: Path, data: Path) -> None:
    prepare(tmp_path / "new", data)
    for name, size in SIZES.items():
        assert (tmp_path / "new" / RAW / name).stat().st_size == size


def test_the_environment_variable_names_a_folder_and_the_argument_goes_before_it(
    tmp_path: Path, data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "absent"))
    prepare(cache, data)
    assert "absent" not in capsys.readouterr().err
    (cache / RAW / LABELS).unlink()
    monkeypatch.setenv("STUDY_DATA", str(data))
    prepare(cache)
    assert f"STUDY_DATA={data}: 1 of 4 files checked" in capsys.readouterr().err


@pytest.mark.parametrize("dataset", ["fashion-mnist", "cifar10"])
def test_a_named_folder_that_is_mistyped_is_an_error_even_if_the_cache_has_all(
    dataset: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "mnist.npz").touch()
    found = {"absent": "there is no such folder", "file": "it is a file", "others": "it has none of the files "}
    for name, reason in found.items():
        expected = rf"{tmp_path / name}: expected a folder with files of .*, but {reason}.*; name the folder"
        with pytest.raises(StudyError, match=f"^--data {expected}"):
            datasets.prepare([dataset], data, tmp_path / name)
        monkeypatch.setenv("STUDY_DATA", str(tmp_path / name))
        with pytest.raises(StudyError, match=f"^STUDY_DATA={expected}"):
            datasets.prepare([dataset], data)
        monkeypatch.delenv("STUDY_DATA")


def test_a_wrong_file_in_a_named_folder_is_refused_by_name_and_the_cache_serves(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LABELS).write_bytes(b"wrong")
    assert prepare(data, tmp_path) == data
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: Fashion-MNIST, the folder named, {tmp_path}: ")
    assert f"{LABELS} refused: expected 10,008 bytes, found 5" in warning


def test_a_mistyped_folder_ends_the_command_in_one_line(tmp_path: Path) -> None:
    words = ("train", "gap", "--data", "absent", "--artifacts", str(tmp_path))
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.startswith("error: --data absent: expected a folder")) == (2, True)


# The cache.


def test_a_whole_cache_is_checked_in_silence_without_network_command_or_write(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a whole cache needs neither network nor another program")

    monkeypatch.setattr(urllib.request, "urlopen", forbidden)
    monkeypatch.setattr(subprocess, "Popen", forbidden)
    before = {name: (data / RAW / name).stat().st_mtime_ns for name in FILES}
    assert prepare(data) == data
    assert {name: (data / RAW / name).stat().st_mtime_ns for name in FILES} == before
    assert capsys.readouterr().err == ""


def test_a_wrong_file_is_refused_by_name_and_never_cached(
    tmp_path: Path, cache: Path, content: Callable[[str], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    complaints = {
        "truncated": "expected 10,008 bytes, found 10,007",
        "too large": "expected 10,008 bytes, found more",
        "swapped": f"expected sha256 {FILES[LABELS].sha256}, found ",
    }
    for kind, suffix in product(complaints, ("", ".gz")):
        bad = broken(kind, content(LABELS))
        folder = tmp_path / f"{kind}{suffix}"
        folder.mkdir()
        (folder / f"{LABELS}{suffix}").write_bytes(gzip.compress(bad) if suffix else bad)
        with pytest.raises(StudyError, match=f"no source has {LABELS} of Fashion-MNIST"):
            prepare(cache, folder)
        assert f"{LABELS} refused: {complaints[kind]}" in capsys.readouterr().err
        assert not (cache / RAW / LABELS).exists()


def test_a_wrong_file_in_the_cache_is_refused_by_name_and_replaced(
    cache: Path, content: Callable[[str], bytes], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = content(LABELS)
    (cache / RAW / LABELS).write_bytes(broken("swapped", good))
    with pytest.raises(StudyError, match=f"the cache, {cache / RAW}: {LABELS} refused"):
        prepare(cache)
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (serve({f"{LABELS}.gz": gzip.compress(good)}),))
    prepare(cache)
    assert (cache / RAW / LABELS).read_bytes() == good


def test_another_file_of_the_right_size_under_the_name_of_the_test_images_is_refused(
    content: Callable[[str], bytes],
) -> None:
    check(IMAGES, content(IMAGES))
    with pytest.raises(RefusedError, match=r"t10k-images-idx3-ubyte refused: .* perhaps MNIST's file of the same name"):
        check(IMAGES, broken("swapped", content(IMAGES)))


def test_a_gz_that_is_cut_short_or_none_at_all_is_refused(
    tmp_path: Path, cache: Path, content: Callable[[str], bytes]
) -> None:
    for wrong in (gzip.compress(content(LABELS))[:-9], b"<html>Please log in</html>"):
        (tmp_path / f"{LABELS}.gz").write_bytes(wrong)
        with pytest.raises(StudyError, match=rf"{LABELS}\.gz: expected a whole gzip file, found a broken one"):
            prepare(cache, tmp_path)


def test_every_class_must_have_as_many_labels_as_any_other(content: Callable[[str], bytes]) -> None:
    labels = content(LABELS)
    check_classes(LABELS, labels)
    with pytest.raises(
        RefusedError, match=r"expected 1,000 labels of each class 0 to 9, found .*997 of 1, .*1,003 of 9"
    ):
        check_classes(LABELS, labels[:8] + labels[8:].replace(b"\x01", b"\x09", 3))
    with pytest.raises(RefusedError, match=r"1,000 of 8, 1,000 of 10$"):
        check_classes(LABELS, labels[:8] + labels[8:].replace(b"\x09", b"\x0a"))


def test_a_cache_that_cannot_be_written_is_reported_with_a_remedy(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match=r"cannot be written .*--artifacts"):
        prepare(tmp_path / "file", data)


# The mirrors.


def test_a_mirror_at_fault_is_one_line_and_the_next_one_serves(
    cache: Path,
    content: Callable[[str], bytes],
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = serve({f"{LABELS}.gz": gzip.compress(content(LABELS))})
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.2)
    for served, complaint in (
        (gzip.compress(bytes(10_008)), f"{LABELS} refused: expected sha256"),
        (b"<html>Please log in</html>", f"{LABELS}.gz: expected a whole gzip file, found a broken one"),
        (bytes(10_008 + 2**16 + 1), f"{LABELS}.gz does not arrive (larger than 75,544 bytes)"),
        (b"", f"{LABELS}.gz does not arrive (timed out)"),
        (None, f"{LABELS}.gz does not arrive (HTTP Error 404: Not Found)"),
    ):
        bad = serve({} if served is None else {f"{LABELS}.gz": served})
        monkeypatch.setattr(fashion_mnist, "MIRRORS", (bad, good))
        start = time.perf_counter()
        prepare(cache)
        assert time.perf_counter() - start < 5
        warning, success = capsys.readouterr().err.splitlines()[-2:]
        assert warning.startswith(f"warning: Fashion-MNIST, the mirror {bad[7:-1]}: {complaint}")
        assert success.startswith(f"Fashion-MNIST, the mirror {good[7:-1]}: 1 of 4 files checked")
        assert (cache / RAW / LABELS).read_bytes() == content(LABELS)
        (cache / RAW / LABELS).unlink()


def test_a_mirror_that_cannot_be_reached_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(fashion_mnist, "MIRRORS", (f"http://127.0.0.1:{port}/",))
    with pytest.raises(StudyError) as error:
        prepare(tmp_path / "new")
    assert str(error.value).count("does not arrive") == 1


def test_an_installed_package_is_read_where_dpkg_says_it_lies(
    tmp_path: Path, bare_machine: Path, cache: Path, content: Callable[[str], bytes]
) -> None:
    datasets = tmp_path / "usr/share/datasets/fashion-mnist"
    datasets.mkdir(parents=True)
    (datasets / f"{LABELS}.gz").write_bytes(gzip.compress(content(LABELS)))
    listing = f"/.\n{tmp_path}/usr/share/doc/{PACKAGE}/README.md.gz\n{datasets}\n{datasets}/{LABELS}.gz"
    dpkg = bare_machine / "dpkg"
    dpkg.write_text(f'#!/bin/sh\n[ "$*" = "-L {PACKAGE}" ] && echo "{listing}"')
    dpkg.chmod(0o755)
    prepare(cache)
    assert (cache / RAW / LABELS).read_bytes() == content(LABELS)


# All together.


def test_when_all_fail_one_error_lists_every_source_and_says_what_to_do(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrors = (serve({}), serve({}))
    monkeypatch.setattr(fashion_mnist, "MIRRORS", mirrors)
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / LABELS).write_bytes(b"wrong")
    with pytest.raises(StudyError) as error:
        prepare(tmp_path / "new", tmp_path / "named")
    remedy, *attempts = str(error.value).splitlines()
    assert all(name in remedy for name in FILES)
    assert "--data DIR or STUDY_DATA=DIR" in remedy
    beginnings = [
        f"  the folder named, {tmp_path / 'named'}: train-images-idx3-ubyte is missing",
        f"  the cache, {tmp_path / 'new' / RAW}: there is no such folder",
        "  the installed package dataset-fashion-mnist: dpkg cannot be run here",
        *(f"  the mirror {mirror[7:-1]}: train-images-idx3-ubyte.gz does not arrive" for mirror in mirrors),
        "  the package dataset-fashion-mnist by apt-get: apt-get cannot be run here",
    ]
    assert len(attempts) == len(beginnings)
    for line, beginning in zip(attempts, beginnings, strict=True):
        assert line.startswith(beginning)
    # each was a warning of one line before, except for what a new machine does not have
    warned = [line.removeprefix("warning: Fashion-MNIST, ") for line in capsys.readouterr().err.splitlines()]
    assert warned == [line.strip() for line in attempts if "the cache" not in line and "installed package" not in line]


def test_importing_asks_nobody_and_brings_no_torch() -> None:
    program = """
import sys
sys.addaudithook(lambda event, _: event.startswith(("socket.", "subprocess.", "urllib.")) and sys.exit(event))
import study.data.fashion_mnist
sys.exit(", ".join({"torch", "torchvision", "numpy", "rich"} & sys.modules.keys()) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
