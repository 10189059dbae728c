"""Augmentation as this project does it, beside torchvision's: `python -m train.experiments.augmentation`.

Images per second on one core, each side in turns, of flips, shifts by a pixel, rotations by up to ten degrees and
erasing, and of the four together:

- v2-image: `torchvision.transforms.v2` image by image, so that each image has a draw of its own;
- v2-batch: the same transforms once for a batch of 256, all images of which then share one draw: the most that v2 could
  give, but another augmentation;
- ours: a draw for each image, computed for all of them together, which are also shuffled (train/augmentation.py).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from msgspec import structs

from study.artifacts import DEFAULT_ROOT, Artifacts
from study.data import fashion_mnist
from study.environment import cpu_name, versions
from study.errors import exit_with
from study.recipe import Recipe

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
"""That each side goes through in a turn."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.experiments.augmentation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--turns", type=int, choices=range(1, 100), default=5, metavar="N", help="of each side (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the Fashion-MNIST files")
    parser.add_argument("--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="default: %(default)s")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    data = fashion_mnist.prepare(Artifacts(options.artifacts).data, options.data)

    import torch

    from study.data.tensors import load

    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, _ = load(data, train=True)
    for name, recipe in RECIPES.items():
        sides = _sides(recipe)
        for side in sides.values():
            side(images[:BATCH])  # to warm up
        rates: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.turns):
            for which, augment in sides.items():
                started = time.perf_counter()
                augment(images[: IMAGES[which]])
                rates[which].append(IMAGES[which] / (time.perf_counter() - started))
        medians = {side: median(found) for side, found in rates.items()}
        shown = ", ".join(f"{side} {rate:,.0f}" for side, rate in medians.items())
        ratios = ", ".join(f"{medians['ours'] / medians[side]:.2g} times {side}" for side in ("v2-image", "v2-batch"))
        print(f"{name}: {shown} images/s; ours is {ratios}", flush=True)
    packages = ", ".join(f"{package} {versions()[package]}" for package in ("torch", "torchvision"))
    print(f"medians of {options.turns} turns; {cpu_name()}, {packages}, one thread")
    return 0


def _sides(recipe: Recipe) -> "dict[str, Callable[[Tensor], Any]]":
    """What each side does with images uint8 [N, C, H, W]."""
    from study.data.tensors import import_torchvision
    from train.augmentation import Augmentation

    import_torchvision()
    from torchvision.transforms import InterpolationMode, v2

    steps: list[Any] = []
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip())
    if recipe.shift:
        steps.append(v2.RandomCrop(28, padding=recipe.shift))
    if recipe.rotation:
        steps.append(v2.RandomRotation(recipe.rotation, interpolation=InterpolationMode.BILINEAR))
    if recipe.erasing:
        steps.append(v2.RandomErasing(p=recipe.erasing))
    transform = v2.Compose(steps)
    return {
        "v2-image": lambda images: [transform(image) for image in images],
        "v2-batch": lambda images: [transform(batch) for batch in images.split(BATCH)],
        "ours": lambda images: Augmentation(images, recipe, seed=0).epoch(0),
    }


if __name__ == "__main__":
    exit_with(main)
