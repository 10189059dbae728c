"""LeNet-5 with ReLU and its layers' first names, C1 to F6: plain, with dropout, with batch normalisation.

It is `study.networks.lenet5:LeNet5` but for C5, which is a convolution here as it was in 1998. On 28x28 images its
kernel covers the whole map, so both compute the same, and the analysis counts C5 as the fully-connected layer it is.
"""

import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.data.fashion_mnist import CLASSES, MEAN, STD
from study.networks.lenet5 import ConvReLUPool


class LeNet5Plain(nn.Module):
    """Three convolutions and two fully-connected layers; 61,706 parameters, 0.417 M MAC.

    Decided here, as the publication does not say: max-pooling, and torch's own initialisation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.c1 = ConvReLUPool(1, 6, 5, padding=2)
        self.c3 = ConvReLUPool(6, 16, 5)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        x = self.c3(self.c1((images - MEAN) / STD))
        x = F.relu(self.c5(x)).flatten(1)
        x = F.relu(self.f6(x))
        return self.output(x)  # type: ignore[no-any-return]  # modules are untyped callables


class LeNet5Dropout(LeNet5Plain):
    """The plain one with dropout before F6 and before the output; 61,706 parameters, 0.417 M MAC.

    The published notes do not state the rate. It is decided here: 0.5, the value of the paper that introduced dropout.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropout1 = nn.Dropout(0.5)
        self.dropout2 = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.c3(self.c1((images - MEAN) / STD))
        x = self.dropout1(F.relu(self.c5(x)).flatten(1))
        x = self.dropout2(F.relu(self.f6(x)))
        return self.output(x)  # type: ignore[no-any-return]  # modules are untyped callables


class LeNet5BatchNorm(nn.Module):
    """The plain one with batch normalisation of its three convolutions; 61,990 parameters, 0.417 M MAC.

    Decided here, as the publication does not say: the normalisation comes between convolution and ReLU, and the
    convolutions keep their biases although it makes them redundant (the 61,990 count them).
    """

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(6)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.bn3 = nn.BatchNorm2d(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.bn5 = nn.BatchNorm2d(120)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        # ReLU is monotonic: after the pooling it gives what it gives before it, of a quarter of the values
        x = F.relu(F.max_pool2d(self.bn1(self.c1((images - MEAN) / STD)), 2))
        x = F.relu(F.max_pool2d(self.bn3(self.c3(x)), 2))
        x = F.relu(self.bn5(self.c5(x))).flatten(1)
        x = F.relu(self.f6(x))
        return self.output(x)  # type: ignore[no-any-return]  # modules are untyped callables
