"""Every epoch shows every image once, mirrored and moved as the recipe says, and always the same for one seed."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from study.recipe import Recipe
from train.augmentation import Augmentation

RECIPE = Recipe(epochs=10, unshifted=2, shift=1)


@pytest.fixture
def images() -> Tensor:
    """200 images without a zero pixel, all different."""
    return torch.randint(1, 256, (200, 1, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def moved(image: Tensor, down: int, right: int) -> Tensor:
    """The image moved by pixels, zeros moved in; written apart from the code under test."""
    result = torch.zeros_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[:, y, x] = image[:, y - down, x - right]
    return result


def test_every_epoch_is_a_permutation(images: Tensor) -> None:
    augmentation = Augmentation(images, RECIPE, seed=0)
    orders = [augmentation.epoch(e)[1] for e in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(200))
    assert not torch.equal(orders[0], orders[1])


def test_an_image_is_one_of_its_nine_shifts_of_one_of_its_two_mirror_views(images: Tensor) -> None:
    shown, order = Augmentation(images, RECIPE, seed=0).epoch(0)
    seen = set()
    for picture, index in zip(shown, order.tolist(), strict=True):
        views = {
            (mirror, down, right): moved(images[index].flip(2) if mirror else images[index], down, right)
            for mirror in (False, True)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        }
        matches = [view for view, content in views.items() if torch.equal(content, picture)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 18, "200 images show all eighteen views"


def test_flips_alternate(images: Tensor) -> None:
    augmentation = Augmentation(images, replace(RECIPE, shift=0), seed=0)
    mirrored = []
    for epoch in (0, 1, 2):
        shown, order = augmentation.epoch(epoch)
        back = torch.empty_like(shown)
        back[order] = shown
        mirrored.append((back != images).flatten(1).any(1))
    assert 60 < mirrored[0].sum() < 140
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert torch.equal(mirrored[0], mirrored[2])


def test_the_last_epochs_are_not_shifted(images: Tensor) -> None:
    augmentation = Augmentation(images, RECIPE, seed=0)
    zeros = [(augmentation.epoch(epoch)[0] == 0).sum().item() for epoch in range(10)]
    assert all(count > 0 for count in zeros[:8]), "a shift brings in zeros"
    assert zeros[8:] == [0, 0]


def test_without_flip_and_shift_the_images_are_untouched(images: Tensor) -> None:
    shown, order = Augmentation(images, replace(RECIPE, flip=False, shift=0), seed=0).epoch(0)
    assert torch.equal(shown, images[order])


def test_an_epoch_depends_on_its_seed_and_number_alone(images: Tensor) -> None:
    first, again = Augmentation(images, RECIPE, seed=3), Augmentation(images, RECIPE, seed=3)
    for epoch in range(3):
        first.epoch(epoch)
    torch.manual_seed(99)
    assert torch.equal(first.epoch(3)[0], again.epoch(3)[0])
    assert not torch.equal(again.epoch(3)[0], Augmentation(images, RECIPE, seed=4).epoch(3)[0])
