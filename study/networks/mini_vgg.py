"""A VGG in small for 28x28 grey images: pairs of 3x3 convolutions, then two fully-connected layers."""

import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.data.fashion_mnist import CLASSES, MEAN, STD


class MiniVGG(nn.Module):
    """Four convolutions and two fully-connected layers; 2,167,786 parameters, 26.0 M MAC.

    The first convolution pads by three, which makes 32x32 of 28x28, so that 8x8 are left after two poolings: 97 % of
    the parameters are the 4096 * 512 weights of the first fully-connected layer.

    Decided here, as the publication does not say: kernels of layers with ReLU are drawn normal with variance
    2 / fan-in, their biases start from zero; there is no dropout.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=3)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv4 = nn.Conv2d(64, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 8 * 8, 512)
        self.fc2 = nn.Linear(512, len(CLASSES))
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4, self.fc1):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.conv1((images - MEAN) / STD))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.conv3(x))
        x = F.max_pool2d(F.relu(self.conv4(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)  # type: ignore[no-any-return]  # modules are untyped callables
