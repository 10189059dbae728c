"""The images without torch: the same as with it, and refused if they are not the right ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from study.data import arrays
from study.data import tensors as images
from study.errors import StudyError


def test_they_are_the_images_and_labels_that_torchvision_reads(data: Path) -> None:
    for train in (True, False):
        for array, expected in zip(arrays.read(data, train), images.load(data, train), strict=True):
            assert array.dtype == np.uint8
            np.testing.assert_array_equal(array, expected.numpy())


def test_a_missing_file_is_named_with_what_puts_it_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"t10k-images-idx3-ubyte is missing; run `python -m train`"):
        arrays.read(tmp_path, train=False)


def test_a_file_with_one_pixel_changed_is_refused(data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    shutil.copytree(data / "FashionMNIST" / "raw", raw, ignore=shutil.ignore_patterns("train*"))
    content = bytearray((raw / "t10k-images-idx3-ubyte").read_bytes())
    content[-1] ^= 1
    (raw / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(StudyError, match=r"t10k-images-idx3-ubyte.*expected sha256.*run `python -m train`"):
        arrays.read(tmp_path, train=False)
