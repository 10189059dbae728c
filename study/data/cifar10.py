"""CIFAR-10: the archive, checked, wherever it comes from. No torch here, and nothing fetched at import.

`prepare` is what a stage calls first; tensors.py then loads the images. The files in the archive are pickles,
which run code when they are loaded. So the archive is compared with its published MD5 before anything is unpacked, and
each file with its own before anything is unpickled. (MD5 is what was published. It no longer tells two files apart that
one person made to be alike, but nobody can make another file that has the MD5 of one that is there already.)
"""

import hashlib
import http.client
import io
import os
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from study import artifacts
from study.data.fashion_mnist import VARIABLE
from study.data.sources import RefusedError, UnavailableError, download
from study.errors import StudyError, one_line

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
"""The one that torchvision asks."""
ARCHIVE_SECONDS = 3600.0
"""How long the archive may take altogether."""

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
"""MD5 of each file in the archive that is used, as torchvision has them."""
MOST_BYTES = 2**26
"""That a file of the archive may have; the batches have 31 million."""


def prepare(data: Path, named: Path | None = None) -> Path:
    """Make sure that the files, each one checked, lie where `torchvision.datasets.CIFAR10(root=data)` reads them.

    What is there already and right is used. Otherwise the archive is taken from the folder named, from `data` itself,
    or from its public address. What a source has wrong is one line on standard error; only checked bytes are written,
    atomically, and nothing is unpickled.

    Args:
        data: the cache, normally `Artifacts.data`; the files lie in `data`/cifar-10-batches-py.
        named: the folder that the user named, with the archive in it, or the archive's folder; without it the
            environment variable STUDY_DATA may name one.

    Returns:
        `data`.

    Raises:
        StudyError: the archive is not to be had, or the cache cannot be written; says what to do.
    """
    if all(_is_right(data / FOLDER / name) for name in FILES):
        return data
    variable = os.environ.get(VARIABLE)
    named = named or (Path(variable) if variable else None)
    if named and all(_is_right(named / FOLDER / name) for name in FILES):
        _store(data / FOLDER, {name: (named / FOLDER / name).read_bytes() for name in FILES})
        return data
    reasons = []
    for title, read in _sources(data, named):
        try:
            archive = read()
            check(ARCHIVE, archive, ARCHIVE_MD5)
            content = dict(unpack(archive))
        except (RefusedError, UnavailableError) as reason:
            reasons.append(f"{title}: {reason}")
            print(f"warning: {NAME}, {reasons[-1]}", file=sys.stderr)
            continue
        _store(data / FOLDER, content)
        print(f"{NAME}, {title}: checked, {len(content)} files written to {data / FOLDER}", file=sys.stderr)
        return data
    raise StudyError(
        f"{NAME} is not to be had; download {URL} (md5 {ARCHIVE_MD5}) into a folder and name it with --data DIR or "
        f"{VARIABLE}=DIR. Tried in vain: {'; '.join(reasons)}"
    )


def _is_right(path: Path) -> bool:
    try:
        check(path.name, path.read_bytes(), FILES[path.name])
    except (OSError, RefusedError):
        return False
    return True


def _sources(data: Path, named: Path | None) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Where to ask for the archive, in this order; nothing is opened yet."""
    if named is not None:
        yield f"the folder named, {named}", lambda: _read(named)
    if (data / ARCHIVE).is_file():
        yield f"the cache, {data}", lambda: _read(data)
    yield f"the address {urlsplit(URL).netloc}", _fetch


def _read(folder: Path) -> bytes:
    try:
        with (folder / ARCHIVE).open("rb") as file:
            return file.read(ARCHIVE_BYTES + 1)
    except OSError as error:
        raise UnavailableError(f"{ARCHIVE} cannot be read there ({error.strerror})") from None


def _fetch() -> bytes:
    print(f"{NAME}: fetching {URL}, {ARCHIVE_BYTES:,} bytes", file=sys.stderr)
    try:
        return download(URL, ARCHIVE_BYTES, ARCHIVE_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{ARCHIVE} does not arrive ({one_line(error)})") from None


def check(name: str, content: bytes, md5: str) -> None:
    """Refuse `content` unless it is the file called `name`, whose MD5 is `md5`.

    Raises:
        RefusedError: it is another.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        cut = ", cut short" if name == ARCHIVE and len(content) < ARCHIVE_BYTES else ""
        raise RefusedError(f"{name} refused: expected md5 {md5}, found {found} of {len(content):,} bytes{cut}")


def unpack(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of FILES in an archive, checked one by one; each is only read, and no other member is looked at.

    Raises:
        RefusedError: the archive is broken, lacks one of them or has another one under its name.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for name, md5 in FILES.items():
                try:
                    member = tar.getmember(f"{FOLDER}/{name}")
                except KeyError:
                    raise RefusedError(f"{ARCHIVE} has no {FOLDER}/{name}") from None
                file = tar.extractfile(member) if member.isreg() else None
                if file is None:
                    raise RefusedError(f"{ARCHIVE}: {FOLDER}/{name} is no plain file")
                content = file.read(MOST_BYTES)
                check(name, content, md5)
                yield name, content
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise RefusedError(f"{ARCHIVE}: expected a whole archive, found a broken one ({one_line(error)})") from None


def _store(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        try:
            artifacts.write_bytes(folder / name, content)
        except OSError as error:
            raise StudyError(
                f"{folder / name} cannot be written ({error.strerror}); make room, or name a folder with --artifacts"
            ) from None
