"""CIFAR-10: its archive, checked, from any source. No torch here, and no network access at import.

`prepare` is what a stage calls first; tensors.py then loads the images. The archive contains pickles, which can execute
code, so its published MD5 is verified before anything is unpacked, and each file's before anything is unpickled. (MD5
is what was published. One person can make two files with the same MD5, but nobody can make one with the MD5 of a given
file.)
"""

import hashlib
import http.client
import io
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from study.data.cache import VARIABLE, Named, Source, fill, named_folder
from study.data.sources import Reader, RefusedError, UnavailableError, download, folder
from study.errors import one_line
from study.files import open_plain

NAME = "CIFAR-10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
"""Of each channel, red, green and blue, over all training images, scaled to 0..1."""

ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
ARCHIVE_BYTES = 170_498_071
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
"""torchvision's address."""
ARCHIVE_SECONDS = 3600.0
"""Time limit for fetching the archive."""

FOLDER = "cifar-10-batches-py"
"""In the archive, and below the data folder, where torchvision looks for it."""
TRAIN = tuple(f"data_batch_{n}" for n in range(1, 6))
TEST = ("test_batch",)
FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
"""MD5 of each file of the archive that is used, as torchvision has them."""
MOST_BYTES = 2**26
"""Size limit of a file in the archive; the batches have 31 million bytes."""


def prepare(data: Path, named: Path | None = None) -> Path:
    """Make sure that the files, each one checked, are where `torchvision.datasets.CIFAR10(root=data)` reads them.

    Nothing is unpickled.

    Args:
        data: the cache, normally `Artifacts.data`; the files are in `data`/cifar-10-batches-py.
        named: the user's folder, with the archive or its unpacked folder; by default that of the environment variable
            STUDY_DATA, if set.

    Returns:
        `data`.

    Raises:
        StudyError: as `study.data.cache.named_folder` and `fill`.
    """
    remedy = f"download {URL} (md5 {ARCHIVE_MD5}) into a folder and name it with --data DIR or {VARIABLE}=DIR"
    users = named_folder(NAME, named, (ARCHIVE, *(f"{FOLDER}/{name}" for name in FILES)))
    fill(NAME, data / FOLDER, FILES, _sources(data, users), check, remedy)
    return data


def _sources(data: Path, named: Named | None) -> Iterator[Source]:
    sizes = dict.fromkeys(FILES, MOST_BYTES)
    yield Source(f"the cache, {data / FOLDER}", folder(data / FOLDER, sizes), optional=True)
    if named:
        yield Source(f"{named.title}/{FOLDER}", folder(named.path / FOLDER, sizes), optional=True)
        yield Source(named.title, unpacked(lambda: _read(named.path)))
    if (data / ARCHIVE).is_file():
        yield Source(f"the cache, {data}", unpacked(lambda: _read(data)))
    yield Source(f"the address {urlsplit(URL).netloc}", unpacked(_fetch))


def _read(path: Path) -> bytes:
    try:
        with open_plain(path / ARCHIVE) as file:
            return file.read(ARCHIVE_BYTES + 1)
    except OSError as error:
        raise UnavailableError(f"{ARCHIVE} cannot be read there ({error.strerror})") from None


def _fetch() -> bytes:
    print(f"{NAME}: fetching {URL}, {ARCHIVE_BYTES:,} bytes", file=sys.stderr)
    try:
        return download(URL, ARCHIVE_BYTES, ARCHIVE_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{ARCHIVE} does not arrive ({one_line(error)})") from None


def check(name: str, content: bytes) -> None:
    """Refuse `content` unless it is the file called `name`.

    Raises:
        RefusedError: its MD5 is another.
    """
    _check_md5(name, content, FILES[name])


def _check_md5(name: str, content: bytes, md5: str) -> None:
    actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if actual != md5:
        cut = ", cut short" if name == ARCHIVE and len(content) < ARCHIVE_BYTES else ""
        raise RefusedError(f"{name} refused: expected md5 {md5}, found {actual} of {len(content):,} bytes{cut}")


@contextmanager
def unpacked(read: Callable[[], bytes]) -> Iterator[Reader]:
    """The files of the archive that `read` returns; no other member of it is touched, and nothing is extracted to disk.

    Raises:
        UnavailableError: the archive is not available, not the published one, or broken.
    """
    archive = read()
    try:
        _check_md5(ARCHIVE, archive, ARCHIVE_MD5)
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            contents = {name: _member(tar, name) for name in FILES}
    except RefusedError as refusal:
        raise UnavailableError(str(refusal)) from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UnavailableError(f"{ARCHIVE}: expected a whole archive, found a broken one ({one_line(error)})") from None
    yield contents.__getitem__


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        member = tar.getmember(f"{FOLDER}/{name}")
    except KeyError:
        raise RefusedError(f"{ARCHIVE} has no {FOLDER}/{name}") from None
    file = tar.extractfile(member) if member.isreg() else None
    if file is None:
        raise RefusedError(f"{ARCHIVE}: {FOLDER}/{name} is no plain file")
    content = file.read(MOST_BYTES)
    check(name, content)
    return content
