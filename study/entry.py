"""One model of the catalogue: its network, recipe and data set, and its published result. No torch here."""

from dataclasses import dataclass
from typing import Literal

from study.recipe import Recipe

FASHION_MNIST = "fashion-mnist"


@dataclass(frozen=True)
class Published:
    """A published result of an entry's network with its published recipe."""

    accuracy: float
    """Percent."""
    source: str
    """Who published it, with any reservation."""
    images: Literal["test", "validation"] = "test"
    """The images that `accuracy` was measured on."""
    seconds: float | None = None
    """Training time on the publication's machine."""


@dataclass(frozen=True)
class Entry:
    """One model: `network` is the import path of a `torch.nn.Module` that takes no arguments."""

    name: str
    network: str
    recipe: Recipe
    dataset: str = FASHION_MNIST
    origin: Literal["own", "published", "modern"] = "own"
    """Origin of the recipe; `modern` is this project's own recipe for a network published with another one."""
    published: Published | None = None
    largest_difference: float = 1e-5
    """Tolerance between the probabilities of two engines that count as computing the same."""
    note: str = ""
    """Decisions about network or recipe that the publication leaves open."""
