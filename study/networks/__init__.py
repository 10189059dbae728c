"""The networks of the catalogue, one file a family."""

import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.artifacts import sha256
from study.entry import Entry
from study.errors import StudyError, one_line

if TYPE_CHECKING:
    from torch import nn


def build(entry: Entry) -> "nn.Module":
    """A newly initialised network of `entry`, in training mode; its weights are from torch's default generator.

    Raises:
        StudyError: there is no such class, or it cannot be constructed without arguments.
    """
    network: type[nn.Module] = _find(entry)
    try:
        return network()
    except Exception as error:  # a user's network may raise anything
        raise StudyError(f"{entry.name}: {entry.network}() fails ({type(error).__name__}: {one_line(error)})") from None


def _find(entry: Entry) -> Any:
    try:
        return pkgutil.resolve_name(entry.network)
    except Exception as error:  # of the user's module
        raise StudyError(
            f"{entry.name}: the network {entry.network!r} cannot be imported ({type(error).__name__}: "
            f"{one_line(error)}); expected the path of a class such as my_models:MyNetwork"
        ) from None


def source_sha256(entry: Entry) -> str:
    """SHA-256 of the source file of the entry's network; runs made with another one are stale."""
    try:
        file = inspect.getsourcefile(_find(entry))
    except TypeError:
        file = None
    if file is None:
        raise StudyError(f"{entry.name}: expected a class with a source file, found {entry.network}")
    return sha256(Path(file))


def parameters(network: "nn.Module") -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
