"""LeNet's layout with batch normalisation, ELU and dropout: as its publication describes it, and as it draws it.

The two differ in the widths of the hidden fully-connected layers.
"""

import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.data.fashion_mnist import CLASSES, MEAN, STD


class CNN5(nn.Module):
    """Two convolutions and fully-connected layers of 128 and 64; 62,850 parameters, 0.418 M MAC.

    Decided here, as the publication does not say: batch normalisation comes between convolution and ELU, and the
    convolutions keep their biases although it makes them redundant (the 62,850 count them).
    """

    HIDDEN = (128, 64)

    def __init__(self) -> None:
        super().__init__()
        first, second = self.HIDDEN
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc1 = nn.Linear(400, first)
        self.dropout1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(first, second)
        self.dropout2 = nn.Dropout(0.5)
        self.fc3 = nn.Linear(second, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        # ELU is monotonic: after the pooling it gives what it gives before it, of a quarter of the values
        x = F.elu(F.max_pool2d(self.bn1(self.conv1((images - MEAN) / STD)), 2))
        x = F.elu(F.max_pool2d(self.bn2(self.conv2(x)), 2))
        x = self.dropout1(F.elu(self.fc1(x.flatten(1))))
        x = self.dropout2(F.elu(self.fc2(x)))
        return self.fc3(x)  # type: ignore[no-any-return]  # modules are untyped callables


class CNN5Drawn(CNN5):
    """The same with 120 and 84, LeNet's own widths; 61,750 parameters, 0.417 M MAC."""

    HIDDEN = (120, 84)
