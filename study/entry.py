"""One model of the catalogue: its network, recipe and data set, and its published result. No torch here."""

from dataclasses import dataclass, field
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
    """One model: a network that this project trains, or, with `inputs`, any torch module as it is.

    Of a trained one `network` is the import path of a `torch.nn.Module` that takes no arguments.
    """

    name: str
    network: str
    recipe: Recipe = field(default_factory=Recipe)
    dataset: str = FASHION_MNIST
    origin: Literal["own", "published", "modern"] = "own"
    """Origin of the recipe; `modern` is this project's own recipe for a network published with another one."""
    published: Published | None = None
    largest_difference: float = 1e-5
    """Tolerance between the probabilities of two engines that count as computing the same."""
    note: str = ""
    """Decisions about network or recipe that the publication leaves open."""
    inputs: tuple[str, ...] = ()
    """Of a module that is not trained here: its inputs in the words of `--input`, such as
    "image=float32[batch,3,224,224]". `network` may then be any callable that returns a module,
    "package.module:callable" or "PATH.py:callable", and recipe and data set mean nothing."""
    sizes: tuple[str, ...] = ()
    """Sizes of its named dimensions in the words of `--size`, such as "sequence=128"."""
    arguments: str = ""
    """Arguments of the callable as JSON, as `--module-args` takes them: a list, or an object of keywords."""
    weights: str = ""
    """File of a state dict, or of safetensors, as `--weights` takes it; none: random weights of a fixed seed."""
    tolerance: float | None = None
    """Largest difference of two outputs, as a share of the largest value; None: from the dtype, see docs/method.md."""

    @property
    def is_module(self) -> bool:
        """Whether it is exported and measured as it is, and never trained."""
        return bool(self.inputs)
