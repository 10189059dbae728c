"""The images of a data set as numpy arrays, for the stages without torch; study/data/tensors.py has them as tensors."""

import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.data import cifar10, fashion_mnist
from study.data.datasets import find
from study.data.sources import RefusedError
from study.entry import FASHION_MNIST
from study.errors import StudyError

Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def read(data: Path, train: bool, dataset: str = FASHION_MNIST) -> Images:
    """The training or the test part of the files that `study.data.datasets.prepare` has put below `data`.

    Nothing is fetched; the files are checked anew, and no file is unpickled that has another MD5 than the published.

    Returns:
        images: uint8 [N, C, H, W], 0..255.
        labels: uint8 [N], 0..9, indices into the data set's classes.

    Raises:
        StudyError: a file is missing, cannot be read or is another one; says what to run.
    """
    if find(dataset).name == FASHION_MNIST:
        return _idx(data, train)
    return _batches(data, train)


def _idx(data: Path, train: bool) -> Images:
    part = "train" if train else "t10k"
    folder = data / "FashionMNIST" / "raw"

    def content(name: str) -> NDArray[np.uint8]:
        found = _read(folder / name)
        try:
            fashion_mnist.check(name, found)
        except RefusedError as error:
            raise _wrong(folder / name, error) from None
        return np.frombuffer(found, np.uint8)

    images = content(f"{part}-images-idx3-ubyte")[16:]  # magic number, images, rows, columns: 4 bytes each
    labels = content(f"{part}-labels-idx1-ubyte")[8:]  # magic number, labels
    return images.reshape(-1, *fashion_mnist.SHAPE), labels


def _batches(data: Path, train: bool) -> Images:
    images, labels = [], []
    for name in cifar10.TRAIN if train else cifar10.TEST:
        path = data / cifar10.FOLDER / name
        content = _read(path)
        try:
            cifar10.check(name, content, cifar10.FILES[name])
        except RefusedError as error:
            raise _wrong(path, error) from None
        batch = pickle.loads(content, encoding="bytes")  # noqa: S301, checked just now; written by Python 2
        images.append(batch[b"data"].reshape(-1, *cifar10.SHAPE))
        labels.append(np.array(batch[b"labels"], np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; run `python -m train`, which puts it there") from None
    except OSError as error:
        raise _wrong(path, error) from None


def _wrong(path: Path, error: Exception) -> StudyError:
    return StudyError(f"{path}: {error}; run `python -m train`, which puts the right one there")
