"""The two networks of study/networks/lenet5.py for 32x32 colour images: CIFAR-10, float32 [N, 3, 32, 32] in 0..1.

The first convolution takes three channels and pads nothing, so that all after it is as for 28x28 grey images.
"""

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.data.cifar10 import CLASSES, MEAN, STD
from study.networks.lenet5 import ConvReLUPool


class Normalise(nn.Module):
    """(images - mean) / std of each channel; two constants, which are no part of a checkpoint."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class LeNet5Colour(nn.Module):
    """Two convolutions and three fully-connected layers; 62,006 parameters, 0.652 M MAC."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.conv1 = ConvReLUPool(3, 6, 5)
        self.conv2 = ConvReLUPool(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv2(self.conv1(self.normalise(images)))
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.fc3(x)  # type: ignore[no-any-return]  # modules are untyped callables


class LeNet5GAPColour(nn.Module):
    """Five convolutions and global average pooling; 14,698 parameters, 0.887 M MAC; initialised as `LeNet5GAP` is."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.conv1 = ConvReLUPool(3, 6, 5)
        self.conv2 = ConvReLUPool(6, 16, 5)
        self.conv3 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, 24, 3, padding=1)
        self.conv5 = nn.Conv2d(24, len(CLASSES), 1)
        for layer in (self.conv3, self.conv4, self.conv5):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv2(self.conv1(self.normalise(images)))
        x = F.relu(self.conv3(x))
        x = F.relu(self.conv4(x))
        return F.adaptive_avg_pool2d(self.conv5(x), 1).flatten(1)
