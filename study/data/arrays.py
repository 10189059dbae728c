"""The images of a data set as numpy arrays, for the stages without torch; tensors.py loads them as tensors."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.data import cifar10, fashion_mnist
from study.data.datasets import find
from study.data.sources import RefusedError
from study.entry import FASHION_MNIST
from study.errors import StudyError
from study.files import read_plain

Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def read(data: Path, train: bool, dataset: str = FASHION_MNIST) -> Images:
    """The training or the test part of the files that `study.data.datasets.prepare` has put below `data`.

    Nothing is fetched. Each file is checked again: only a file with the published MD5 is unpickled.

    Returns:
        images: uint8 [N, C, H, W], 0..255.
        labels: uint8 [N], 0..9, indices into the data set's classes.

    Raises:
        StudyError: a file is missing, cannot be read or is not the right one; the message says what to run.
    """
    if find(dataset).name == FASHION_MNIST:
        return _idx(data / "FashionMNIST" / "raw", "train" if train else "t10k")
    return _batches(data / cifar10.FOLDER, cifar10.TRAIN if train else cifar10.TEST)


def _idx(folder: Path, part: str) -> Images:
    pixels, labels = (
        np.frombuffer(_checked(folder / f"{part}-{name}-ubyte", fashion_mnist.check), np.uint8)
        for name in ("images-idx3", "labels-idx1")
    )
    # headers: magic number, images, rows, columns; magic number, labels; 4 bytes each
    return pixels[16:].reshape(-1, *fashion_mnist.SHAPE), labels[8:]


def _batches(folder: Path, names: tuple[str, ...]) -> Images:
    images, labels = [], []
    for name in names:
        content = _checked(folder / name, cifar10.check)
        batch = pickle.loads(content, encoding="bytes")  # noqa: S301, checked above; written by Python 2
        images.append(batch[b"data"].reshape(-1, *cifar10.SHAPE))
        labels.append(np.array(batch[b"labels"], np.uint8))
    return np.concatenate(images), np.concatenate(labels)


def _checked(path: Path, check: Callable[[str, bytes], None]) -> bytes:
    """The content of a file that passes `check`."""
    try:
        content = read_plain(path, None)
        check(path.name, content)
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; run `python -m train`, which puts it there") from None
    except (OSError, RefusedError) as error:
        raise StudyError(f"{path}: {error}; run `python -m train`, which puts the right one there") from None
    return content
