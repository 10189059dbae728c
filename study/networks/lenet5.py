"""LeNet-5 with ReLU for 28x28 grey images, and the same network without fully-connected layers.

Every network of the catalogue takes images float32 [N, 1, 28, 28] scaled to 0..1, normalises them itself and returns
logits float32 [N, 10].
"""

import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.data.fashion_mnist import CLASSES, MEAN, STD
from study.networks.fused import conv_relu_pool


class ConvReLUPool(nn.Conv2d):
    """Convolution, ReLU, 2x2 max-pooling; the fused step in training, the plain operators otherwise."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.bias is not None and input.device.type == "cpu":
            return conv_relu_pool(input, self.weight, self.bias, int(self.padding[0]))
        return F.max_pool2d(F.relu(super().forward(input)), 2)


class LeNet5(nn.Module):
    """Two convolutions and three fully-connected layers; 61,706 parameters, 0.417 M multiply-accumulates an image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvReLUPool(1, 6, 5, padding=2)
        self.conv2 = ConvReLUPool(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv2(self.conv1((images - MEAN) / STD))
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.fc3(x)  # type: ignore[no-any-return]  # modules are untyped callables


class LeNet5GAP(nn.Module):
    """LeNet-5 with three convolutions and global average pooling for its fully-connected layers; 14,398 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvReLUPool(1, 6, 5, padding=2)
        self.conv2 = ConvReLUPool(6, 16, 5)
        self.conv3 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, 24, 3, padding=1)
        self.conv5 = nn.Conv2d(24, len(CLASSES), 1)
        # torch's own initialisation is meant for no ReLU: three layers deeper, signals fade and the start is slow
        for layer in (self.conv3, self.conv4, self.conv5):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv2(self.conv1((images - MEAN) / STD))
        x = F.relu(self.conv3(x))
        x = F.relu(self.conv4(x))
        return F.adaptive_avg_pool2d(self.conv5(x), 1).flatten(1)
