"""The networks of the catalogue, one file a family."""

import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, one_line
from study.files import sha256

if TYPE_CHECKING:
    from torch import nn


def build(entry: Entry) -> "nn.Module":
    """A newly initialised network of `entry`, in training mode; its weights are from torch's default generator.

    Raises:
        StudyError: there is no such class, or it cannot be constructed without arguments.
    """
    from torch import nn

    made = _find(entry)
    if not isinstance(made, nn.Module):  # a class, or a function that returns a network
        try:
            made = made()
        except (Exception, SystemExit) as error:  # a user's network may raise anything
            raise StudyError(
                f"{entry.name}: {entry.network}() fails ({type(error).__name__}: {one_line(error)})"
            ) from None
        if isinstance(made, nn.Module):
            _shape_lazy_layers(entry, made)
            return made
    raise StudyError(
        f"{entry.name}: expected a class of torch.nn.Module, or a function that makes a network, found "
        f"{type(made).__name__} as {entry.network}; write `def network(): return nn.Sequential(...)`"
    )


def _shape_lazy_layers(entry: Entry, network: "nn.Module") -> None:
    """Give nn.LazyLinear and its like their shapes and weights, by a black image; another network is not run.

    Raises:
        StudyError: the network does not accept the image, or does not use such a layer.
    """
    import torch
    from torch.nn.parameter import is_lazy

    def unshaped() -> list[str]:
        named = (*network.named_parameters(), *network.named_buffers())
        return [name for name, tensor in named if is_lazy(tensor)]

    if not unshaped():
        return
    shape = datasets.find(entry.dataset).shape
    network.eval()  # no statistics are changed
    try:
        with torch.no_grad():
            network(torch.zeros(1, *shape))
    except Exception as error:  # of any kind
        raise StudyError(
            f"{entry.name}: the lazy layers of {entry.network} cannot be initialised by an image float32 {[1, *shape]} "
            f"({type(error).__name__}: {one_line(error)})"
        ) from None
    network.train()
    if unused := unshaped():
        raise StudyError(
            f"{entry.name}: expected a forward pass of {entry.network} that uses every lazy layer, found {unused[0]!r} "
            "unused; remove it"
        )


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
