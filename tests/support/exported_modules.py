"""Networks of a few small layers, some of them square, so that a matrix turned the wrong way does not fit.

Each stands for one way in which torch's exporters write fully-connected layers, or what is none.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch._higher_order_ops.scan import scan  # no public name yet

SEQUENCE = 3
"""Rows of an input of rank 3."""


class Seeded(nn.Module):
    """Its weights are the same each time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)


class Perceptron(Seeded):
    """Three layers, the second square and without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16, bias=False))
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.body(x))
        return y


class Pair(Seeded):
    """Two square layers, `fc1` and `fc2`, and what is between them."""

    def __init__(self, *, tied: bool = False, normed: Callable[[nn.Module], nn.Module] = lambda module: module) -> None:
        super().__init__()
        self.fc1 = normed(nn.Linear(12, 12))
        self.fc2 = nn.Linear(12, 12)
        if tied:
            self.fc2.weight = self.fc1.get_parameter("weight")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
        return y


class Attention(Seeded):
    """One head, whose two products have no constant operand."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(torch.softmax(self.q(x) @ self.k(x).transpose(-1, -2), -1) @ self.v(x))
        return y


class MultiHead(Seeded):
    """torch's own attention, whose three projections are one matrix of 3 x 16 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.out = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.attention(x, x, x, need_weights=False)[0])
        return y


class Language(Seeded):
    """Words to words: an embedding (a table of 20 rows), packed gates, and one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 12)
        self.lstm = nn.LSTM(12, 12, batch_first=True)
        self.out = nn.Linear(12, 20)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.lstm(self.embedding(words))[0])
        return y


class TiedEmbedding(Seeded):
    """Words to words with one table: `head` multiplies by what `embedding` picks rows of."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 12), nn.Linear(12, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(torch.relu(self.embedding(words)))
        return y


class LowRank(Seeded):
    """A square weight and an update of rank 2, added up in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 12)
        self.a, self.b = nn.Parameter(torch.randn(2, 12)), nn.Parameter(torch.randn(12, 2))

    def weight(self) -> torch.Tensor:
        return self.fc.weight + self.b @ self.a * 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight(), self.fc.bias)


class LeNet(Seeded):
    """A 3x3 convolution over a map of 3x3, `c5`, as in LeNet-5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 4, 3), nn.MaxPool2d(2)
        self.c5, self.fc = nn.Conv2d(4, 12, 3), nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc(torch.flatten(torch.relu(self.c5(self.pool(self.conv(x)))), 1))
        return y


class Pointwise(Seeded):
    """A 1x1 convolution as the head, then the mean of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.conv(x)).mean((2, 3))
        return y


class Products(Seeded):
    """A scaled layer, a layer of the turned input, and a parameter on the left: y = W x."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled = nn.Linear(12, 12, bias=False)
        self.turned = nn.Linear(SEQUENCE, 7, bias=False)
        self.left = nn.Parameter(torch.randn(5, 12))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        turned = x.transpose(-1, -2)
        return self.scaled(x) * 0.5, self.turned(turned), self.left @ turned


class Choice(Seeded):
    """One of two layers, as the input decides, then another; written for either exporter."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 5)


class Scripted(Choice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc1(x) if bool(x.sum() > 0) else self.fc2(x)
        return self.out(y)  # type: ignore[no-any-return]


class Traced(Choice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = torch.cond(x.sum() > 0, lambda y: self.fc1(y), lambda y: self.fc2(y), (x,))
        y: torch.Tensor = self.out(chosen)
        return y


class Loop(Seeded):
    """The same layer `rounds` times, then another."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(12, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor, rounds: int) -> torch.Tensor:
        for _ in range(rounds):
            x = torch.relu(self.fc(x))
        return self.out(x)  # type: ignore[no-any-return]


class Recurrence(Seeded):
    """A layer in the body of a scan over the first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(12, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def step(state: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            state = torch.tanh(self.fc(state) + row)
            return state, state.clone()

        y: torch.Tensor = self.out(scan(step, x[0], x)[1])
        return y
