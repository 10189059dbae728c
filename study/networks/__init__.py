"""The networks of the catalogue, one file a family."""

import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from study.artifacts import sha256
from study.catalogue import Entry
from study.errors import StudyError

if TYPE_CHECKING:
    from torch import nn


def build(entry: Entry) -> "nn.Module":
    """A freshly initialised network of `entry`, in training mode; the default torch generator draws its weights."""
    network: nn.Module = pkgutil.resolve_name(entry.network)()
    return network


def source_sha256(entry: Entry) -> str:
    """SHA-256 of the source file of the entry's network: what was trained before it changed is stale."""
    file = inspect.getsourcefile(pkgutil.resolve_name(entry.network))
    if file is None:
        raise StudyError(f"{entry.network} has no source file; put the network into a module of its own")
    return sha256(Path(file))


def parameters(network: "nn.Module") -> int:
    """How many trainable numbers the network has."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
