"""Every epoch shows every image once, mirrored and moved as the recipe says, and always the same for one seed."""

import numpy as np
import pytest
import torch
from msgspec import structs
from torch import Tensor

from study.recipe import Recipe
from train.augmentation import Augmentation, erase, rotate

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
    augmentation = Augmentation(images, structs.replace(RECIPE, shift=0), seed=0)
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
    shown, order = Augmentation(images, structs.replace(RECIPE, flip=False, shift=0), seed=0).epoch(0)
    assert torch.equal(shown, images[order])


def test_an_epoch_depends_on_its_seed_and_number_alone(images: Tensor) -> None:
    first, again = Augmentation(images, RECIPE, seed=3), Augmentation(images, RECIPE, seed=3)
    for epoch in range(3):
        first.epoch(epoch)
    torch.manual_seed(99)
    assert torch.equal(first.epoch(3)[0], again.epoch(3)[0])
    assert not torch.equal(again.epoch(3)[0], Augmentation(images, RECIPE, seed=4).epoch(3)[0])


# ---- rotation and erasing


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_quarter_turn_is_numpys(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images as wide as they are high, and there the bilinear mean is of one pixel."""
    square = images[:, :, :6, :6].clone()
    turned = square.clone()
    monkeypatch.setattr(torch, "rand", lambda n, generator: torch.ones(n))  # the largest angle
    rotate(turned, 90, generator())
    expected = np.rot90(square.numpy(), 1, axes=(2, 3))
    assert np.array_equal(turned.numpy(), expected)


def test_a_half_turn_of_an_oblong_image_mirrors_it_twice(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = images.clone()
    monkeypatch.setattr(torch, "rand", lambda n, generator: torch.ones(n))
    rotate(turned, 180, generator())
    assert torch.equal(turned, images.flip(2, 3))


def test_rotation_keeps_lengths_in_an_oblong_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar of 5 x 1 pixels turned upright is 1 x 5, whatever the ratio of the image's sides."""
    bar = torch.zeros(1, 1, 9, 15, dtype=torch.uint8)
    bar[0, 0, 4, 5:10] = 200
    monkeypatch.setattr(torch, "rand", lambda n, generator: torch.ones(n))
    rotate(bar, 90, generator())
    upright = torch.zeros_like(bar)
    upright[0, 0, 2:7, 7] = 200
    assert torch.equal(bar, upright)


def test_every_image_is_turned_by_its_own_angle() -> None:
    """The angle of a bright pixel to the right of the centre is within the range, and spread over it."""
    dot = torch.zeros(500, 1, 41, 41, dtype=torch.uint8)
    dot[:, :, 20, 38] = 255
    rotate(dot, 30, generator())
    peak = dot.flatten(1).argmax(1)
    angles = torch.atan2((peak // 41 - 20).double(), (peak % 41 - 20).double()) * 180 / torch.pi
    assert angles.abs().max() <= 33, "30 degrees, and half a pixel"
    assert angles.std().item() == pytest.approx(30 / 3**0.5, rel=0.1)


def test_erasing_blackens_one_rectangle_in_its_share_of_the_images() -> None:
    white = torch.full((4000, 1, 28, 28), 255, dtype=torch.uint8)
    erase(white, 0.25, generator())
    black = white[:, 0] == 0
    erased = black.flatten(1).any(1)
    assert erased.double().mean().item() == pytest.approx(0.25, abs=0.02)
    areas = []
    for image in black[erased]:
        rows, columns = image.any(1), image.any(0)
        assert torch.equal(image, rows[:, None] & columns[None, :]), "a rectangle"
        assert (rows.diff().sum(), columns.diff().sum()) <= (2, 2), "in one piece"
        areas.append(image.double().mean().item())
    assert min(areas) > 0.01
    assert max(areas) < 0.36
    assert sum(areas) / len(areas) == pytest.approx(0.175, abs=0.02)


def test_rotation_and_erasing_stop_with_the_shifts(images: Tensor) -> None:
    recipe = structs.replace(RECIPE, flip=False, shift=0, rotation=20.0, erasing=1.0)
    augmentation = Augmentation(images, recipe, seed=0)
    for epoch, changed in ((0, True), (7, True), (8, False), (9, False)):
        shown, order = augmentation.epoch(epoch)
        assert bool((shown != images[order]).flatten(1).any(1).all()) == changed
