"""A small data set of real images, on which a run takes a second."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from study.data.tensors import load
from train.fitting import Images


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Train with one thread, as the runs do: more would only slow down the tests beside it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def few_data(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the first 1,500 training images and 200 test images."""
    real, folder = data / "FashionMNIST" / "raw", tmp_path_factory.mktemp("few")
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 1500), ("t10k", 200)):
        pixels = (real / f"{part}-images-idx3-ubyte").read_bytes()[16 : 16 + count * 784]
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels)
        labels = (real / f"{part}-labels-idx1-ubyte").read_bytes()[8 : 8 + count]
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)
    return folder


@pytest.fixture(scope="session")
def few(data: Path) -> Images:
    """1,000 real images to train on and 500 to test on."""
    images, labels = load(data, train=False)
    return Images((images[:1000], labels[:1000]), (images[1000:1500], labels[1000:1500]))
