"""Networks of a few small layers, some of them square, so that a matrix turned the wrong way does not fit.

Each stands for one way in which torch's exporters write fully-connected layers, or what is none.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._higher_order_ops.scan import scan  # no public name yet
from torch.nn import Conv2d, Linear, Parameter
from torch.nn.functional import linear

SEQUENCE = 3
"""Rows of an input of rank 3."""
Children = Callable[[], Mapping[str, nn.Module | Parameter]]


class Net(nn.Module):
    """Modules and parameters by name, the same each time, and what they compute."""

    def __init__(self, children: Children, compute: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name, child in children().items():
            setattr(self, name, child)
        self.compute = compute

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.compute(self, *inputs)


def linears(*names: str, size: int = 12) -> dict[str, nn.Module]:
    return {name: Linear(size, size) for name in names}


def pair(tied: bool = False, normed: Callable[[nn.Module], nn.Module] = lambda module: module) -> nn.Module:
    """Two square layers."""

    def children() -> dict[str, nn.Module]:
        first, second = normed(Linear(12, 12)), Linear(12, 12)
        if tied:
            second.weight = first.get_parameter("weight")
        return {"fc1": first, "fc2": second}

    return Net(children, lambda net, x: net.fc2(torch.relu(net.fc1(x))))


def _tied() -> dict[str, nn.Module]:
    embedding, head = nn.Embedding(20, 12), Linear(12, 20, bias=False)
    head.weight = embedding.weight
    return {"embedding": embedding, "head": head}


def _attend(net: Any, x: torch.Tensor) -> Any:
    return net.out(torch.softmax(net.q(x) @ net.k(x).transpose(-1, -2), -1) @ net.v(x))


def _recur(net: Any, x: torch.Tensor) -> Any:
    def step(state: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = torch.tanh(net.fc(state) + row)
        return state, state.clone()

    return net.out(scan(step, x[0], x)[1])


def low_rank_weight(net: Any) -> torch.Tensor:
    """A square weight and an update of rank 2, added up in every pass."""
    weight: torch.Tensor = net.fc.weight + net.b @ net.a * 0.5
    return weight


perceptron = partial(
    Net,
    lambda: {
        "body": nn.Sequential(Linear(12, 16), nn.ReLU(), Linear(16, 16, bias=False)),
        "head": Linear(16, 5),
    },
    lambda net, x: net.head(net.body(x)),
)
attention = partial(Net, lambda: linears("q", "k", "v", "out", size=16), _attend)
multi_head = partial(
    Net,
    lambda: {"attention": nn.MultiheadAttention(16, 2, batch_first=True), "out": Linear(16, 16)},
    lambda net, x: net.out(net.attention(x, x, x, need_weights=False)[0]),
)
language = partial(
    Net,
    lambda: {
        "embedding": nn.Embedding(20, 12),
        "lstm": nn.LSTM(12, 12, batch_first=True),
        "out": Linear(12, 20),
    },
    lambda net, words: net.out(net.lstm(net.embedding(words))[0]),
)
tied_embedding = partial(Net, _tied, lambda net, words: net.head(torch.relu(net.embedding(words))))
low_rank = partial(
    Net,
    lambda: {
        "fc": Linear(12, 12),
        "a": Parameter(torch.randn(2, 12)),
        "b": Parameter(torch.randn(12, 2)),
    },
    lambda net, x: linear(x, low_rank_weight(net), net.fc.bias),
)
lenet = partial(  # c5 is a convolution of 3x3 over a map of 3x3
    Net,
    lambda: {
        "conv": Conv2d(1, 4, 3),
        "pool": nn.MaxPool2d(2),
        "c5": Conv2d(4, 12, 3),
        "fc": Linear(12, 10),
    },
    lambda net, x: net.fc(torch.flatten(torch.relu(net.c5(net.pool(net.conv(x)))), 1)),
)
pointwise = partial(
    Net,
    lambda: {"conv": Conv2d(1, 8, 3), "head": Conv2d(8, 10, 1)},
    lambda net, x: net.head(net.conv(x)).mean((2, 3)),
)
products = partial(  # a scaled layer, a layer of the turned input, and a parameter on the left: y = W x
    Net,
    lambda: {
        "scaled": Linear(12, 12, bias=False),
        "turned": Linear(SEQUENCE, 7, bias=False),
        "left": Parameter(torch.randn(5, 12)),
    },
    lambda net, x: (net.scaled(x) * 0.5, net.turned(x.transpose(-1, -2)), net.left @ x.transpose(-1, -2)),
)
traced_choice = partial(
    Net,
    lambda: linears("fc1", "fc2", "out"),
    lambda net, x: net.out(torch.cond(x.sum() > 0, lambda y: net.fc1(y), lambda y: net.fc2(y), (x,))),
)
recurrence = partial(Net, lambda: {"fc": Linear(12, 12), "out": Linear(12, 5)}, _recur)


class ScriptedChoice(nn.Module):
    """One of two layers, as the input decides, then another; compiled, so that its `if` stays."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2, self.out = Linear(12, 12), Linear(12, 12), Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc1(x) if bool(x.sum() > 0) else self.fc2(x)
        return self.out(y)  # type: ignore[no-any-return]


class ScriptedLoop(nn.Module):
    """The same layer `rounds` times, then another; compiled, so that its `for` stays."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out = Linear(12, 12), Linear(12, 5)

    def forward(self, x: torch.Tensor, rounds: int) -> torch.Tensor:
        for _ in range(rounds):
            x = torch.relu(self.fc(x))
        return self.out(x)  # type: ignore[no-any-return]
