"""Augmentation of a whole epoch at once, as tensor operations on uint8 images."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor

from study.catalogue import Recipe

_BEFORE_TRAINING = 2**31  # stands in for an epoch number no run reaches


class Augmentation:
    """The augmented, shuffled training images of every epoch.

    What epoch e looks like depends on the seed and on e alone, so that a resumed run sees what it would have seen.

    Args:
        images: uint8 [N, C, H, W].
        recipe: its `flip` and `shift` are used.
        seed: the run's seed.
    """

    def __init__(self, images: Tensor, recipe: Recipe, seed: int) -> None:
        self.shape = images.shape
        self.seed = seed
        self.recipe = recipe
        self.padded = F.pad(images, (recipe.shift,) * 4)
        self.flipped_first = torch.rand(len(images), generator=self._generator(_BEFORE_TRAINING)) < 0.5

    def _generator(self, epoch: int) -> torch.Generator:
        # torch's CPU generator keeps 32 bits of its seed: let numpy mix both numbers into those
        mixed = np.random.SeedSequence((self.seed, epoch)).generate_state(1)[0]
        return torch.Generator().manual_seed(int(mixed))

    def epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Images uint8 [N, C, H, W] in the order of epoch number `epoch`, and that order int64 [N].

        Alternating flips (Jordan 2024, arXiv 2404.00498): each image is mirrored in every other epoch, which shows
        both of its views equally often. Shifts are drawn anew, uniform over all offsets; pixels moved in are 0. In
        the recipe's last `unshifted` epochs the images are where they are in the test set.
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
        return result, order
