"""Augment the images of a whole epoch at once, as tensor operations on uint8 images."""

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor

from study.recipe import Recipe

_BEFORE_TRAINING = 2**31  # stands in for an epoch number no run reaches
_CHUNK = 2000  # images rotated at a time, to keep their coordinates and float copies small


class Augmentation:
    """The augmented, shuffled training images of every epoch.

    An epoch depends on the seed and its number alone, so a resumed run sees the same images.

    Args:
        images: uint8 [N, C, H, W].
        recipe: `flip`, `shift`, `rotation`, `erasing` and `unshifted` apply.
        seed: the run's seed.
    """

    def __init__(self, images: Tensor, recipe: Recipe, seed: int) -> None:
        self.shape = images.shape
        self.seed = seed
        self.recipe = recipe
        self.padded = F.pad(images, (recipe.shift,) * 4)
        self.flipped_first = torch.rand(len(images), generator=self._generator(_BEFORE_TRAINING)) < 0.5

    def _generator(self, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed(mixed(self.seed, epoch))

    def epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Images uint8 [N, C, H, W] in the order of epoch number `epoch`, and that order int64 [N].

        Alternating flips (Jordan 2024, arXiv 2404.00498): each image is mirrored in every other epoch, so both of its
        views are shown equally often. Each epoch draws its own shifts, uniform over all offsets; pixels moved in are
        0. In the recipe's last `unshifted` epochs the images are only flipped.
        """
        n, _, height, width = self.shape
        generator = self._generator(epoch)
        order = torch.randperm(n, generator=generator)
        recipe = self.recipe
        shifted = epoch < recipe.epochs - recipe.unshifted
        offsets = 2 * recipe.shift + 1
        centre = recipe.shift * offsets + recipe.shift
        offset = torch.randint(offsets**2, (n,), generator=generator) if shifted else torch.full((n,), centre)
        flipped = (self.flipped_first ^ bool(epoch % 2))[order] & recipe.flip
        result = torch.empty(self.shape, dtype=torch.uint8)
        for row in range(offsets):
            for column in range(offsets):
                window = self.padded[:, :, row : row + height, column : column + width]
                here = offset == row * offsets + column
                for mirror in (False, True):
                    places = (here & (flipped == mirror)).nonzero().squeeze(1)
                    chosen = window[order[places]]
                    result[places] = chosen.flip(3) if mirror else chosen
        if shifted and recipe.rotation:
            rotate(result, recipe.rotation, generator)
        if shifted and recipe.erasing:
            erase(result, recipe.erasing, generator)
        return result, order


def mixed(*numbers: int) -> int:
    """A seed from several numbers, of 32 bits: torch's CPU generator uses no more."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def rotate(images: Tensor, degrees: float, generator: torch.Generator) -> None:
    """Rotate each of `images` (uint8 [N, C, H, W], in place) by its own angle, uniform in +-`degrees`.

    Bilinear, about the centre; pixels from outside are 0. `torchvision.transforms.v2.RandomRotation` rotates a whole
    batch by one angle and would have to be called for each image (`python -m train.experiments.augmentation`).
    """
    _, _, height, width = images.shape
    angles = (torch.rand(len(images), generator=generator) * 2 - 1) * math.radians(degrees)
    for chunk, angle in zip(torch.split(images, _CHUNK), torch.split(angles, _CHUNK), strict=True):
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        # affine_grid's coordinates run from -1 to 1 along both sides: a rotation of pixels is sheared by their ratio
        rows = (cos, -sin * height / width, zero, sin * width / height, cos, zero)
        grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(chunk.shape), align_corners=False)
        chunk.copy_(F.grid_sample(chunk.float(), grid, align_corners=False).round_())


def erase(images: Tensor, probability: float, generator: torch.Generator) -> None:
    """Blacken a random rectangle in a share of `probability` of `images` (uint8 [N, C, H, W], in place).

    Random erasing (Zhong et al. 2017, arXiv 1708.04896) with its sizes: an area of 2 to 33 % of the image, sides in a
    ratio of 0.3 to 1 / 0.3, as `torchvision.transforms.v2.RandomErasing`, which blackens the same rectangle in a
    whole batch. Sides are clipped to the image.
    """
    n, _, height, width = images.shape
    chosen, area, ratio, down, right = torch.rand(5, n, generator=generator)
    size = (0.02 + area * (0.33 - 0.02)) * height * width
    shape = ((2 * ratio - 1) * math.log(1 / 0.3)).exp()
    tall = (size * shape).sqrt().round().clamp(1, height)
    wide = (size / shape).sqrt().round().clamp(1, width)
    top = (down * (height - tall + 1)).floor().unsqueeze(1)
    left = (right * (width - wide + 1)).floor().unsqueeze(1)
    y, x = torch.arange(height), torch.arange(width)
    rows = (y >= top) & (y < top + tall.unsqueeze(1)) & (chosen < probability).unsqueeze(1)
    columns = (x >= left) & (x < left + wide.unsqueeze(1))
    images.mul_(~(rows[:, None, :, None] & columns[:, None, None, :]))
