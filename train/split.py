"""Hold out training images for validation; test images are never used for it."""

import torch
from torch import Tensor


def hold_out(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Hold out the last images of each class, in proportion to the class sizes; the same for every seed.

    Args:
        labels: int64 [N].
        count: number of images to hold out.

    Returns:
        Indices int64 of the images to train on and of those to validate on, both ascending. The second has `count`
        elements, up to rounding if the classes differ in size.

    Raises:
        ValueError: a class would have no image on one side.
    """
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        of_class = (labels == label).nonzero().squeeze(1)
        share = round(count * len(of_class) / len(labels))
        if not 0 < share < len(of_class):
            raise ValueError(f"{count} of {len(labels)} images cannot be held out: class {label} has {len(of_class)}")
        kept[of_class[-share:]] = True
    return (~kept).nonzero().squeeze(1), kept.nonzero().squeeze(1)
