"""The convolutional network of Géron's "Hands-On Machine Learning", chapter 14, for 28x28 grey images.

Published for Fashion-MNIST; large for the task, and by far the slowest to train of the catalogue.
"""

import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from study.data.fashion_mnist import CLASSES, MEAN, STD


class ConvNet7x7(nn.Module):
    """Five convolutions, the first of 7x7, and three fully-connected layers; 1,413,834 parameters, 89.5 M MAC.

    Weights of layers with ReLU are normal with variance 2 / fan-in (Keras' `he_normal`, though without its truncation
    at two standard deviations), those of the last uniform as by Glorot, and all biases start from zero. Pooling drops
    the odd last row and column (7 -> 3), as Keras' "valid" does. Images are normalised as for the catalogue's other
    networks, not as in the book.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, padding=3)
        self.conv2 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv3 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv4 = nn.Conv2d(128, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.fc1 = nn.Linear(256 * 3 * 3, 128)
        self.dropout1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(128, 64)
        self.dropout2 = nn.Dropout(0.5)
        self.fc3 = nn.Linear(64, len(CLASSES))
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.xavier_uniform_(self.fc3.weight)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1((images - MEAN) / STD)), 2)
        x = F.max_pool2d(F.relu(self.conv3(F.relu(self.conv2(x)))), 2)
        x = F.max_pool2d(F.relu(self.conv5(F.relu(self.conv4(x)))), 2)
        x = self.dropout1(F.relu(self.fc1(x.flatten(1))))
        x = self.dropout2(F.relu(self.fc2(x)))
        return self.fc3(x)  # type: ignore[no-any-return]  # modules are untyped callables
