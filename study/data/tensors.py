"""The images of a data set as tensors, through torchvision's own classes."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from study.data.datasets import find
from study.entry import FASHION_MNIST


def load(data: Path, train: bool, dataset: str = FASHION_MNIST) -> tuple[Tensor, Tensor]:
    """The training or the test part of the files that `study.data.datasets.prepare` has put below `data`.

    torchvision verifies the published MD5 of the files of CIFAR-10, which are pickles, before it loads them.

    Returns:
        images: uint8 [N, C, H, W], 0..255, contiguous; C, H, W are the data set's `shape`.
        labels: int64 [N], 0..9, indices into the data set's `classes`.

    Raises:
        StudyError: there is no such data set.
        RuntimeError: the files are missing, or not the right ones.
    """
    datasets = import_torchvision().datasets
    if find(dataset).name == FASHION_MNIST:
        part = datasets.FashionMNIST(root=data, train=train, download=False)
        return part.data.unsqueeze(1).contiguous(), part.targets
    part = datasets.CIFAR10(root=data, train=train, download=False)
    return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)


def import_torchvision() -> ModuleType:
    """Import torchvision, even if its C++ operators cannot be loaded.

    On Linux the torchvision wheel of the default index is linked against CUDA. With a CPU-only torch its operators are
    missing, and the import fails at the first one that it registers a fake for. Nothing here uses them: declaring the
    two that it does not look up first, non-maximum suppression and its quantised form, lets the import succeed.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return import_module("torchvision")
