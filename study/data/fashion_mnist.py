"""Fashion-MNIST: the four files, checked, wherever they come from. No torch here, and nothing fetched at import.

`prepare` is what a stage calls first; tensors.py then loads the images. The files are told apart by what they
hold, not by their names: caching proxies have served MNIST's images under the names of Fashion-MNIST's
(zalandoresearch/fashion-mnist issues 107 and 132), and its "99 %" results are nearly always that.
"""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from study import artifacts
from study.data.sources import (
    Reader,
    RefusedError,
    UnavailableError,
    fetched_package,
    folder,
    installed_package,
    mirror,
)
from study.errors import StudyError

NAME = "Fashion-MNIST"
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SHAPE = (1, 28, 28)
MEAN, STD = 0.2860, 0.3530
"""Of all pixels of the training images, scaled to 0..1."""

VARIABLE = "STUDY_DATA"
PACKAGE = "dataset-fashion-mnist"
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
"""torchvision's only one, which has been down for long spells (pytorch/vision issue 4829), and the data set's own."""


@dataclass(frozen=True)
class File:
    """What a file is, uncompressed; the .gz around it differs between distributors."""

    bytes: int
    sha256: str


FILES = {
    "train-images-idx3-ubyte": File(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": File(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": File(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": File(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
SIZES = {name: file.bytes for name, file in FILES.items()}


@dataclass(frozen=True)
class Source:
    """One place to ask. If `optional`, its absence is as normal as its presence and nothing to tell the user."""

    title: str
    files: AbstractContextManager[Reader]
    optional: bool = False


def prepare(data: Path, named: Path | None = None) -> Path:
    """Make sure that the four files, each one checked, lie where `torchvision.datasets.FashionMNIST(root=data)` reads.

    Each source is asked only for the files that those before it did not have. What a source lacks or has wrong is one
    line on standard error; only checked bytes are written, atomically.

    Args:
        data: the cache, normally `Artifacts.data`; the files lie in `data`/FashionMNIST/raw, uncompressed.
        named: the folder that the user named; without it the environment variable STUDY_DATA may name one.

    Returns:
        `data`.

    Raises:
        StudyError: no source has all that is missing, or the cache cannot be written; says what to do.
    """
    raw = data / "FashionMNIST" / "raw"
    missing = list(FILES)
    reasons = []
    for source in _sources(raw, named):
        taken, faults = _take(source, missing, raw)
        missing = [name for name in missing if name not in taken]
        if not missing:
            return data
        reasons.append(f"{source.title}: {'; '.join(faults)}")
    raise StudyError(
        f"no source has {', '.join(missing)} of {NAME}; put what is missing (a .gz will do) into a folder and name it "
        f"with --data DIR or {VARIABLE}=DIR. Tried in vain:\n  " + "\n  ".join(reasons)
    )


def _sources(raw: Path, named: Path | None) -> list[Source]:
    """Where to ask, in this order; nothing is opened yet."""
    variable = os.environ.get(VARIABLE)
    if named is not None:
        first = [Source(f"the folder named, {named}", folder(named, SIZES))]
    elif variable:
        first = [Source(f"the folder named, {VARIABLE}={variable}", folder(Path(variable), SIZES))]
    else:
        first = []
    return [
        *first,
        Source(f"the cache, {raw}", folder(raw, SIZES), optional=True),
        Source(f"the installed package {PACKAGE}", installed_package(PACKAGE, SIZES), optional=True),
        *(Source(f"the mirror {urlsplit(url).netloc}", mirror(url, SIZES)) for url in MIRRORS),
        Source(f"the package {PACKAGE} by apt-get", fetched_package(PACKAGE, SIZES)),
    ]


def _take(source: Source, wanted: Sequence[str], raw: Path) -> tuple[list[str], list[str]]:
    """Write those of the files `wanted` that `source` has to `raw`; their names, and what is wrong with the others."""
    taken: list[str] = []
    faults: list[str] = []
    written, silent = 0, False
    try:
        with source.files as read:
            for name in wanted:
                try:
                    content = read(name)
                    check(name, content)
                except RefusedError as refusal:
                    faults.append(str(refusal))
                    continue
                written += _store(raw / name, content)
                taken.append(name)
    except UnavailableError as reason:
        faults.append(str(reason))
        silent = source.optional
    if faults and not silent:
        print(f"warning: {NAME}, {source.title}: {'; '.join(faults)}", file=sys.stderr)
    if written:
        print(f"{NAME}, {source.title}: {written} of {len(FILES)} files checked, written to {raw}", file=sys.stderr)
    return taken, faults


def check(name: str, content: bytes) -> None:
    """Refuse `content`, uncompressed, unless it is the file called `name`.

    Raises:
        RefusedError: size, SHA-256 or, in a file of labels, the images per class are not the file's.
    """
    file = FILES[name]
    if len(content) != file.bytes:
        found = f"{len(content):,}" if len(content) < file.bytes else "more"  # readers stop one byte after the expected
        raise RefusedError(f"{name} refused: expected {file.bytes:,} bytes, found {found}")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        hint = "; the size is right: perhaps MNIST's file of the same name"
        raise RefusedError(f"{name} refused: expected sha256 {file.sha256}, found {sha256}{hint}")
    if "labels" in name:
        check_classes(name, content)


def check_classes(name: str, labels: bytes) -> None:
    """Refuse an IDX file of labels (8 bytes of header, then a byte for each image) whose ten classes differ in size.

    Raises:
        RefusedError: not every class, or something that is no class, has a tenth of the images.
    """
    counts = Counter(labels[8:])
    expected = (len(labels) - 8) // len(CLASSES)
    if counts != dict.fromkeys(range(len(CLASSES)), expected):
        found = ", ".join(f"{count:,} of {label}" for label, count in sorted(counts.items()))
        raise RefusedError(f"{name} refused: expected {expected:,} labels of each class 0 to 9, found {found}")


def _store(path: Path, content: bytes) -> bool:
    """Write `content` to the cache unless it is there already, be it because the cache is where it was read from."""
    try:
        if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
            return False
        artifacts.write_bytes(path, content)
    except OSError as error:
        raise StudyError(
            f"{path} cannot be written ({error.strerror}); make room, or name a folder with --artifacts"
        ) from None
    return True
