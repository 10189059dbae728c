"""The images held out for validation: the last of each class, never a test image."""

from pathlib import Path

import pytest
import torch

from study.data import tensors as images
from study.recipe import Recipe
from train.fitting import Images
from train.split import hold_out


def test_the_last_images_of_each_class_are_held_out() -> None:
    labels = torch.tensor([0, 1, 1, 0, 0, 1, 1, 0])
    train, validation = hold_out(labels, 4)
    assert train.tolist() == [0, 1, 2, 3]
    assert validation.tolist() == [4, 5, 6, 7]
    train, validation = hold_out(torch.tensor([1, 0, 0, 0, 1, 1]), 2)
    assert train.tolist() == [0, 1, 2, 4]
    assert validation.tolist() == [3, 5]


def test_the_real_data_set_is_split_40_000_to_20_000_with_equal_classes(data: Path) -> None:
    _, labels = images.load(data, train=True)
    train, validation = hold_out(labels, 20_000)
    assert labels[train].bincount().tolist() == [4000] * 10
    assert labels[validation].bincount().tolist() == [2000] * 10
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(60_000))


def test_every_class_is_on_both_sides_or_it_is_no_split() -> None:
    for count in (0, 1, 7, 8, 100):
        with pytest.raises(ValueError, match=f"{count} of 8 images cannot be held out"):
            hold_out(torch.tensor([0, 1] * 4), count)


def test_splitting_leaves_the_test_images_alone_and_takes_the_others_apart() -> None:
    pictures = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
    labels = torch.tensor([0, 1] * 4)
    test = pictures + 100, labels
    parts = Images((pictures, labels), test).split(Recipe(validation=4))
    assert parts.validation is not None
    assert parts.train[0].flatten().tolist() == [0, 1, 2, 3]
    assert parts.validation[0].flatten().tolist() == [4, 5, 6, 7]
    assert parts.test is test
