"""The images of Fashion-MNIST as tensors, through torchvision's own data set."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor


def load(data: Path, train: bool) -> tuple[Tensor, Tensor]:
    """The training or the test part of the files that `study.fashion_mnist.prepare` has put below `data`.

    Returns:
        images: uint8 [N, 1, 28, 28], 0..255, contiguous; N is 60,000 for the training part, 10,000 for the test part.
        labels: int64 [N], 0..9, indices into `study.fashion_mnist.CLASSES`.

    Raises:
        RuntimeError: torchvision does not find the files.
    """
    part = import_torchvision().datasets.FashionMNIST(root=data, train=train, download=False)
    images: Tensor = part.data.unsqueeze(1).contiguous()
    labels: Tensor = part.targets
    return images, labels


def import_torchvision() -> ModuleType:
    """Import torchvision, also next to a torch for which its C++ operators do not load.

    On Linux the torchvision wheel of the default index is linked against CUDA. Beside a CPU-only torch its operators
    are not there, and the import stops when it describes the first of them. Nothing here uses one: declaring the two
    that it describes without looking, non-maximum suppression and its quantised form, lets the import go through.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return import_module("torchvision")
