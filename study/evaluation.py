"""The errors of a network on a set of images."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

BATCH = 500  # the activations of a LeNet stay in the cache


def batches(images: Tensor, size: int = BATCH) -> Iterator[Tensor]:
    """uint8 images [N, C, H, W] as float32 batches scaled to 0..1, the input of every network."""
    for batch in torch.split(images, size):
        yield batch.float().div_(255)


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor) -> Tensor:
    """float32 [N, classes] of uint8 images [N, C, H, W]; the network is in evaluation mode afterwards."""
    network.eval()
    return torch.cat([network(batch) for batch in batches(images)])


@dataclass(frozen=True)
class Evaluation:
    """The results of a network on a set of images."""

    error: float
    """Share of images whose class is not the label."""
    loss: float
    """Mean cross-entropy in nats."""
    predicted: list[int]
    """The class of each image."""


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> Evaluation:
    """Evaluate `network` on uint8 images [N, C, H, W] and int64 labels [N]."""
    scores = logits(network, images)
    predicted = scores.argmax(1)
    error = (predicted != labels).double().mean().item()
    return Evaluation(error, F.cross_entropy(scores.double(), labels).item(), predicted.tolist())
