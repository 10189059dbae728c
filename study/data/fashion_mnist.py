"""Fashion-MNIST: its four files, checked, from any source. No torch here, and no network access at import.

`prepare` is what a stage calls first; tensors.py then loads the images. Files are identified by their content, not by
their names: caching proxies have served MNIST's images under the names of Fashion-MNIST's
(zalandoresearch/fashion-mnist issues 107 and 132), and "99 %" results are nearly always due to that.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from study.data.cache import VARIABLE, Named, Source, fill, named_folder
from study.data.sources import RefusedError, fetched_package, folder, installed_package, mirror

NAME = "Fashion-MNIST"
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SHAPE = (1, 28, 28)
MEAN, STD = 0.2860, 0.3530
"""Of all pixels of the training images, scaled to 0..1."""

PACKAGE = "dataset-fashion-mnist"
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
"""torchvision's only one, which has been down for long periods (pytorch/vision issue 4829), and the data set's own."""


@dataclass(frozen=True)
class File:
    """A file, uncompressed; the .gz around it differs between distributors."""

    bytes: int
    sha256: str


FILES = {
    "train-images-idx3-ubyte": File(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": File(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": File(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": File(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
SIZES = {name: file.bytes for name, file in FILES.items()}


def prepare(data: Path, named: Path | None = None) -> Path:
    """Make sure that the four files, each one checked, are where `torchvision.datasets.FashionMNIST(root=data)` reads.

    Args:
        data: the cache, normally `Artifacts.data`; the files are in `data`/FashionMNIST/raw, uncompressed.
        named: the user's folder; by default that of the environment variable STUDY_DATA, if set.

    Returns:
        `data`.

    Raises:
        StudyError: as `study.data.cache.named_folder` and `fill`.
    """
    raw = data / "FashionMNIST" / "raw"
    remedy = f"put what is missing (a .gz will do) into a folder and name it with --data DIR or {VARIABLE}=DIR"
    fill(NAME, raw, FILES, _sources(raw, named_folder(NAME, named, FILES)), check, remedy)
    return data


def _sources(raw: Path, named: Named | None) -> Iterator[Source]:
    if named:
        yield Source(named.title, folder(named.path, SIZES))
    yield Source(f"the cache, {raw}", folder(raw, SIZES), optional=True)
    yield Source(f"the installed package {PACKAGE}", installed_package(PACKAGE, SIZES), optional=True)
    for url in MIRRORS:
        yield Source(f"the mirror {urlsplit(url).netloc}", mirror(url, SIZES))
    yield Source(f"the package {PACKAGE} by apt-get", fetched_package(PACKAGE, SIZES))


def check(name: str, content: bytes) -> None:
    """Refuse `content`, uncompressed, unless it is the file called `name`.

    Raises:
        RefusedError: its size, SHA-256 or, for labels, number of images per class is wrong.
    """
    file = FILES[name]
    if len(content) != file.bytes:
        size = f"{len(content):,}" if len(content) < file.bytes else "more"  # readers stop one byte after the expected
        raise RefusedError(f"{name} refused: expected {file.bytes:,} bytes, found {size}")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        hint = "; the size is right: perhaps MNIST's file of the same name"
        raise RefusedError(f"{name} refused: expected sha256 {file.sha256}, found {sha256}{hint}")
    if "labels" in name:
        check_classes(name, content)


def check_classes(name: str, labels: bytes) -> None:
    """Refuse an IDX file of labels (8 bytes of header, then a byte for each image) whose ten classes differ in size.

    Raises:
        RefusedError: a class does not have a tenth of the images, or a label is no class.
    """
    counts = Counter(labels[8:])
    expected = (len(labels) - 8) // len(CLASSES)
    if counts != dict.fromkeys(range(len(CLASSES)), expected):
        actual = ", ".join(f"{count:,} of {label}" for label, count in sorted(counts.items()))
        raise RefusedError(f"{name} refused: expected {expected:,} labels of each class 0 to 9, found {actual}")
