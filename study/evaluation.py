"""The errors of a network on a set of images."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

BATCH = 500  # the activations of a LeNet stay in the cache


def batches(images: Tensor) -> Iterator[Tensor]:
    """uint8 images [N, C, H, W] as float32 batches scaled to 0..1, the input of every network."""
    for batch in torch.split(images, BATCH):
        yield batch.float().div_(255)


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor) -> Tensor:
    """float32 [N, classes] of uint8 images [N, C, H, W]; the network is in evaluation mode afterwards."""
    network.eval()
    return torch.cat([network(batch) for batch in batches(images)])


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Error rate (a fraction) and mean cross-entropy (nats) on uint8 images [N, C, H, W] and int64 labels [N]."""
    found = logits(network, images)
    error = (found.argmax(1) != labels).double().mean().item()
    return error, F.cross_entropy(found.double(), labels).item()
