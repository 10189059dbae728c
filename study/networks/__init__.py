"""The networks of the catalogue, one file a family."""

import pkgutil
from typing import TYPE_CHECKING

from study.catalogue import Entry

if TYPE_CHECKING:
    from torch import nn


def build(entry: Entry) -> "nn.Module":
    """A freshly initialised network of `entry`, in training mode; the default torch generator draws its weights."""
    network: nn.Module = pkgutil.resolve_name(entry.network)()
    return network


def parameters(network: "nn.Module") -> int:
    """How many trainable numbers the network has."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
