"""The data sets of the catalogue's entries. No torch here: study/data/tensors.py loads the images."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from study.data import cifar10, fashion_mnist
from study.errors import StudyError


@dataclass(frozen=True)
class Dataset:
    """One data set. All share a data folder, in which each has its own."""

    name: str
    """In the catalogue and on the command line."""
    title: str
    classes: tuple[str, ...]
    """In the order of a network's outputs."""
    shape: tuple[int, int, int]
    """Of one image: channels, height, width."""
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    """Of the training images scaled to 0..1; of colour images one number for each channel."""
    train_images: int
    hashes: Mapping[str, str]
    """SHA-256 of its files, or MD5 if that was published."""
    test_file: Path
    """The test images, relative to the data folder."""
    prepare: Callable[[Path, Path | None], Path]
    """Puts its files, checked, into the first folder; the second is the user's, to look in first."""


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="fashion-mnist",
            title=fashion_mnist.NAME,
            classes=fashion_mnist.CLASSES,
            shape=fashion_mnist.SHAPE,
            mean=fashion_mnist.MEAN,
            std=fashion_mnist.STD,
            train_images=60_000,
            hashes={name: file.sha256 for name, file in fashion_mnist.FILES.items()},
            test_file=Path("FashionMNIST/raw/t10k-images-idx3-ubyte"),
            prepare=fashion_mnist.prepare,
        ),
        Dataset(
            name="cifar10",
            title=cifar10.NAME,
            classes=cifar10.CLASSES,
            shape=cifar10.SHAPE,
            mean=cifar10.MEAN,
            std=cifar10.STD,
            train_images=50_000,
            hashes=cifar10.FILES,
            test_file=Path(cifar10.FOLDER) / cifar10.TEST[0],
            prepare=cifar10.prepare,
        ),
    )
}


def find(name: str) -> Dataset:
    """The data set called `name`.

    Raises:
        StudyError: there is none; the message lists those there are.
    """
    if name not in DATASETS:
        raise StudyError(f"no data set is called {name!r}; there are: {', '.join(DATASETS)}")
    return DATASETS[name]


def titled(title: str) -> Dataset:
    """The data set with this title, which run.json has.

    Raises:
        StudyError: there is none.
    """
    for dataset in DATASETS.values():
        if dataset.title == title:
            return dataset
    raise StudyError(f"no data set has the title {title!r}; there are: {', '.join(d.title for d in DATASETS.values())}")


def prepare(names: Iterable[str], data: Path, named: Path | None = None) -> Path:
    """Make sure that the files of each data set of `names`, checked, are in `data`, which is returned.

    Raises:
        StudyError: as each one's own `prepare`.
    """
    for name in dict.fromkeys(names):
        find(name).prepare(data, named)
    return data
