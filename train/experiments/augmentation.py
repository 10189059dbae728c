"""Speed of this project's augmentation and of torchvision's: `python -m train.experiments.augmentation`.

Images per second on one core, each side in turns, for flips, shifts by a pixel, rotations by up to ten degrees,
erasing, and the four together:

- v2-image: `torchvision.transforms.v2` for each image, so that each has its own random draw;
- v2-batch: the same transforms once for a batch of 256, whose images then share one draw: an upper limit for v2, but a
  different augmentation;
- ours: a draw for each image, computed for all of them together, and shuffled (train/augmentation.py).
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from study.errors import exit_with
from study.recipe import Recipe
from train.experiments import turns

if TYPE_CHECKING:
    from torch import Tensor

STILL = Recipe(flip=False, shift=0, unshifted=0)
RECIPES = {
    "flip": structs.replace(STILL, flip=True),
    "shift": structs.replace(STILL, shift=1),
    "rotation": structs.replace(STILL, rotation=10.0),
    "erasing": structs.replace(STILL, erasing=0.25),
    "all four": structs.replace(STILL, flip=True, shift=1, rotation=10.0, erasing=0.25),
}
BATCH = 256
IMAGES = {"v2-image": 2_000, "v2-batch": 60_000, "ours": 60_000}
"""Images of a turn."""


def main() -> int:
    options = turns.parser("train.experiments.augmentation", __doc__).parse_args()
    data = turns.images(options)

    import torch

    from study.data.tensors import load

    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, _ = load(data, train=True)
    for name, recipe in RECIPES.items():
        sides = _sides(recipe)
        for side in sides.values():
            side(images[:BATCH])  # warm-up

        def rate(side: str, sides: "dict[str, Callable[[Tensor], object]]" = sides) -> float:
            started = time.perf_counter()
            sides[side](images[: IMAGES[side]])
            return IMAGES[side] / (time.perf_counter() - started)

        medians = turns.medians(options.turns, sides, rate)
        print(f"{name}: {turns.summary(medians, 'ours')}", flush=True)
    print(turns.conditions(options.turns))
    return 0


def _sides(recipe: Recipe) -> "dict[str, Callable[[Tensor], object]]":
    """What each side does with images uint8 [N, C, H, W]."""
    import torch

    from study.data.tensors import import_torchvision
    from train.augmentation import Augmentation

    import_torchvision()
    from torchvision.transforms import InterpolationMode, v2

    transform = v2.Compose(
        [
            *([v2.RandomHorizontalFlip()] if recipe.flip else []),
            *([v2.RandomCrop(28, padding=recipe.shift)] if recipe.shift else []),
            *([v2.RandomRotation(recipe.rotation, InterpolationMode.BILINEAR)] if recipe.rotation else []),
            *([v2.RandomErasing(p=recipe.erasing)] if recipe.erasing else []),
        ]
    )
    return {
        "v2-image": lambda images: [transform(image) for image in images],
        "v2-batch": lambda images: [transform(batch) for batch in torch.split(images, BATCH)],
        "ours": lambda images: Augmentation(images, recipe, seed=0).epoch(0),
    }


if __name__ == "__main__":
    exit_with(main)
