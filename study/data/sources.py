"""Sources of a data set's files: a folder, an installed Debian package, a mirror, or the package fetched by apt-get.

Each source is a context manager that yields a reader: file name -> uncompressed bytes. A reader returns at most one
byte more than the expected size, so that a file that is too large is detected and a gzip bomb is harmless. The files
are checked elsewhere (cache.py).
"""

import gzip
import http.client
import io
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from study import children
from study.files import open_plain

Reader = Callable[[str], bytes]
Sizes = Mapping[str, int]
"""File name -> size in bytes, uncompressed."""

LAYOUTS = ("FashionMNIST/raw", "raw", ".")
"""Locations of the files in a folder; torchvision's own layout comes first."""

STALL_SECONDS = 10.0
"""Time limit for a connection, and for the silence of a mirror."""
FILE_SECONDS = 600.0
"""Time limit for one file; a mirror that sends slowly is never silent."""
UPDATE_SECONDS = 120.0
DOWNLOAD_SECONDS = 600.0

APT_CONFIG = """\
// Its own state, so that an ordinary user may run it and the system's lists and cache are unchanged.
Dir::State::Lists "{folder}/lists";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "{stall:.0f}";
Acquire::https::Timeout "{stall:.0f}";
// The system's hooks would clean or refresh its caches. Only a file can disable them, not an option.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class RefusedError(Exception):
    """A file is missing from a source or is not the right one; the message names it."""


class UnavailableError(Exception):
    """A whole source is unavailable; the message says why."""


@contextmanager
def folder(path: Path, sizes: Sizes) -> Iterator[Reader]:
    """The files, or their .gz, in `path` or in one of `LAYOUTS` below it.

    Raises:
        UnavailableError: there is no such folder, or it cannot be read or has none of the files.
    """
    files = located(path, sizes)

    def read(name: str) -> bytes:
        file = files[name]
        if file is None:
            raise RefusedError(f"{name} is missing, and so is {name}.gz")
        try:
            with open_plain(file) as content:
                if file.suffix == ".gz":
                    return _gunzip(content, str(file), sizes[name])
                return content.read(sizes[name] + 1)
        except OSError as error:
            raise RefusedError(f"{file} cannot be read ({error.strerror})") from None

    yield read


def located(path: Path, names: Iterable[str]) -> dict[str, Path | None]:
    """The file, or its .gz, of each name in `path` or in one of `LAYOUTS` below it.

    Raises:
        UnavailableError: there is no such folder, or it cannot be read or has none of the files.
    """
    if not path.is_dir():
        raise UnavailableError("it is a file, not a folder" if path.exists() else "there is no such folder")
    try:
        files = {name: _find(path, name) for name in names}
    except OSError as error:
        raise UnavailableError(f"it cannot be read ({error.strerror})") from None
    if not any(files.values()):
        raise UnavailableError(f"it has none of the files {', '.join(files)}, nor a .gz of one")
    return files


def _find(path: Path, name: str) -> Path | None:
    candidates = (path / layout / file for layout in LAYOUTS for file in (name, f"{name}.gz"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _gunzip(compressed: BinaryIO, origin: str, size: int) -> bytes:
    """The first `size` + 1 bytes of the content; if that is all of it, its checksum is verified."""
    try:
        with gzip.GzipFile(fileobj=compressed) as content:
            return content.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RefusedError(f"{origin}: expected a whole gzip file, found a broken one ({error})") from None


@contextmanager
def mirror(url: str, sizes: Sizes) -> Iterator[Reader]:
    """The .gz of the files below `url`, which ends in a slash; shows a progress bar on a terminal.

    Raises:
        UnavailableError: from the reader, for the first file that does not arrive.
    """

    def read(name: str) -> bytes:
        file = f"{name}.gz"
        try:
            limit = sizes[name] + 2**16  # gzip never adds as much as that
            compressed = download(url + file, limit, FILE_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{file} does not arrive ({error})") from None
        return _gunzip(io.BytesIO(compressed), file, sizes[name])

    yield read


def download(url: str, limit: int, seconds: float, login: str = "") -> bytes:
    """The content of `url`; shows a progress bar on a terminal. `login` is a name and a password, with a colon between.

    Raises:
        OSError, http.client.HTTPException: it does not arrive within `seconds`, is silent for STALL_SECONDS, or is
            larger than `limit` bytes.
    """
    deadline = time.monotonic() + seconds
    content = bytearray()
    # S310: one of torchvision's own mirrors is http; the content is verified by its hash.
    request = urllib.request.Request(url)  # noqa: S310
    if login:  # not for another host that the first one may name
        request.add_unredirected_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response:  # noqa: S310
        length = response.headers.get("Content-Length", "")
        with _progress(url, int(length) if length.isdecimal() else None) as show:
            while block := response.read1(2**16):  # read() would wait for a whole block
                content += block
                if len(content) > limit:
                    raise OSError(f"larger than {limit:,} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not whole after {seconds:g} s")
                show(len(content))
    return bytes(content)


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """A function that shows the bytes received: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda arrived: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda arrived: bar.update(task, completed=arrived)


@contextmanager
def installed_package(package: str, sizes: Sizes) -> Iterator[Reader]:
    """The folder of an installed Debian or Ubuntu package.

    Raises:
        UnavailableError: there is no dpkg, or the package is not installed or has no such files.
    """
    code, listing = _run(("dpkg", "-L", package), UPDATE_SECONDS)
    if code:
        raise UnavailableError(f"the package {package} is not installed")
    with folder(_folder_of(sizes, map(Path, listing.splitlines()), package), sizes) as read:
        yield read


@contextmanager
def fetched_package(package: str, sizes: Sizes) -> Iterator[Reader]:
    """The same package, fetched and unpacked in a temporary folder; needs apt-get and dpkg, but no root.

    apt-get verifies the package against the signed lists of the distribution.

    Raises:
        UnavailableError: there is no apt-get or dpkg, or one of them failed or took too long.
    """
    with tempfile.TemporaryDirectory(prefix=f"{package}-", ignore_cleanup_errors=True) as name:
        here = Path(name)
        (here / "lists/partial").mkdir(parents=True)
        (here / "cache/archives/partial").mkdir(parents=True)
        (here / "apt.conf").write_text(APT_CONFIG.format(folder=here, stall=STALL_SECONDS))
        apt = ("apt-get", "-q", "-c", "apt.conf")
        # A failed update is ignored: it may concern another repository than the one needed here.
        with _progress(f"{package} by apt-get", None):
            _, update = _run((*apt, "update"), UPDATE_SECONDS, here)
            code, download = _run((*apt, "download", package), DOWNLOAD_SECONDS, here)
        archive = next(here.glob("*.deb"), None)
        if code or archive is None:
            raise UnavailableError(f"apt-get cannot download {package} ({_complaints(update + download)})")
        code, unpacking = _run(("dpkg", "-x", archive.name, "unpacked"), UPDATE_SECONDS, here)
        if code:
            raise UnavailableError(f"dpkg cannot unpack {archive.name} ({unpacking.strip()})")
        with folder(_folder_of(sizes, (here / "unpacked").rglob("*"), package), sizes) as read:
            yield read


def _folder_of(sizes: Sizes, paths: Iterable[Path], package: str) -> Path:
    for path in paths:
        if path.name.removesuffix(".gz") in sizes:
            return path.parent
    raise UnavailableError(f"the package {package} has none of the files {', '.join(sizes)}")


def _complaints(output: str) -> str:
    """apt-get's first and last error: the cause, and the result."""
    lines = [line for line in output.splitlines() if line.startswith(("E: ", "W: Failed"))]
    return "; ".join(dict.fromkeys([*lines[:1], *lines[-1:]])) or "no reason given"


def _run(words: Sequence[str], seconds: float, cwd: Path | None = None) -> tuple[int, str]:
    """The exit code of a command, and its output on both streams, in English.

    Raises:
        UnavailableError: there is no such command, or it did not end within `seconds` and was stopped.
    """
    # A file, not a pipe: when apt-get is stopped, its children live on for a moment and would keep a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            done = children.run(
                words,
                cwd=cwd,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
            )
        except OSError as error:
            raise UnavailableError(f"{words[0]} cannot be run here ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"{words[0]} was not done after {seconds:g} s and has been stopped") from None
        output.seek(0)
        return done.returncode, output.read()
