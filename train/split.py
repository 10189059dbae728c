"""Which training images are kept back for validation. Test images have no part in it."""

import torch
from torch import Tensor


def hold_out(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Keep back the last images of each class, in proportion to the classes: by index, the same for every seed.

    Args:
        labels: int64 [N].
        count: how many images to keep back.

    Returns:
        Indices int64 of the images to train on and of those to validate on, both ascending. The second has `count`
        elements, up to rounding in data sets whose classes differ in size.

    Raises:
        ValueError: not every class would have an image on either side.
    """
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        of_class = (labels == label).nonzero().squeeze(1)
        share = round(count * len(of_class) / len(labels))
        if not 0 < share < len(of_class):
            raise ValueError(f"{count} of {len(labels)} images cannot be kept back: class {label} has {len(of_class)}")
        kept[of_class[-share:]] = True
    return (~kept).nonzero().squeeze(1), kept.nonzero().squeeze(1)
