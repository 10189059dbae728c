"""The images of Fashion-MNIST as numpy arrays, for the stages without torch; study/images.py has them as tensors."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError
from study.fashion_mnist import SHAPE, check
from study.sources import RefusedError


def read(data: Path, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The training or the test part of the files that `study.fashion_mnist.prepare` has put below `data`.

    Nothing is fetched; size, SHA-256 and class counts are checked anew.

    Returns:
        images: uint8 [N, 1, 28, 28], 0..255; N is 60,000 for the training part, 10,000 for the test part.
        labels: uint8 [N], 0..9, indices into `study.fashion_mnist.CLASSES`.

    Raises:
        StudyError: a file is missing, cannot be read or is another one; says what to run.
    """
    part = "train" if train else "t10k"
    images = _content(data, f"{part}-images-idx3-ubyte")[16:]  # magic number, images, rows, columns: 4 bytes each
    labels = _content(data, f"{part}-labels-idx1-ubyte")[8:]  # magic number, labels
    return images.reshape(-1, *SHAPE), labels


def _content(data: Path, name: str) -> NDArray[np.uint8]:
    path = data / "FashionMNIST" / "raw" / name
    try:
        content = path.read_bytes()
        check(name, content)
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; run `python -m train`, which puts it there") from None
    except (OSError, RefusedError) as error:
        raise StudyError(f"{path}: {error}; run `python -m train`, which puts the right one there") from None
    return np.frombuffer(content, np.uint8)
