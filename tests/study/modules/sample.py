"""Modules as users bring them, a few weights each; their file is given to `--module` as PATH.py:NAME."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.fc = nn.Linear(4, width)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


class Tied(nn.Module):
    """A word's embedding is its row of the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Any:
        return self.head(self.embedding(ids))


class ThreeOutputs(nn.Module):
    """Two inputs, one boolean; three outputs, one integer, one that has an input's name; an unused input."""

    def forward(self, x: Tensor, mask: Tensor, unused: Tensor) -> dict[str, Tensor | None]:
        kept = x.masked_fill(mask[:, :, None], 0)
        return {"kept": kept, "mask": mask, "nothing": None, "count": mask.sum(1)}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.lstm(x)[0][:, -1]


class OneByOne(nn.Module):
    """A loop over the items of the batch, which an exporter cannot keep free."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([item * 2 for item in x])


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x)


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class NoisyAtLargeBatches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x) if len(x) > 4 else x * 2


class Overwriting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


class Counting(nn.Module):
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return x * self.calls


class Untrained(nn.Module):
    """Its last layer begins with zeros, as those of many vision transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        nn.init.zeros_(self.fc.weight)

    def forward(self, x: Tensor) -> Any:
        return {"features": x * 2, "logits": self.fc(x)}


class Leaving(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(3)


class Encoder(nn.Module):
    """Which takes no sequence whose tokens are all padding."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4, batch_first=True), 1)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        out: Tensor = self.encoder(x, src_key_padding_mask=hidden)
        return out


@dataclass
class Result:
    logits: Tensor
    hidden: tuple[Tensor, Tensor] | None = None
    past_key_values: object = None


def half() -> nn.Module:
    return Linear().half()


def number() -> int:
    return 3


def scripted() -> nn.Module:
    return torch.jit.script(nn.Linear(4, 3))


def leaving() -> nn.Module:
    raise SystemExit(3)


def failing() -> nn.Module:
    raise ValueError("first line\nsecond line")
