"""Every model of the project: its name, its network and its recipe. No torch here.

A model is one entry. To add one, add a line to `ENTRIES` (and, for a new architecture, a module under
`study/networks/`); `python -m train NAME` then trains it, and every later stage finds it by its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from study.errors import StudyError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum under a one-cycle schedule.

    The penalties are written in Keras' form, over the kernels (weights of convolutions and fully-connected
    layers, never biases), and applied as steps of their own after the optimiser's:

    - `l2`: lambda * sum w^2, gradient 2 * lambda * w; step w <- w * (1 - 2 * lr * l2) (decoupled: Loshchilov & Hutter,
      arXiv 1711.05101).
    - `l1`: lambda * sum |w|; step w <- sign(w) * max(|w| - lr * l1, 0) (proximal), or, to compare,
      w <- w - lr * l1 * sign(w) (`l1_update="subgradient"`), which never leaves an exact zero.
    """

    epochs: int = 28
    batch_size: int = 256
    learning_rate: float = 0.1
    """Peak of the one-cycle schedule: linear from 0 over `warmup` of the steps, then linear back to 0."""
    warmup: float = 0.2
    momentum: float = 0.9
    label_smoothing: float = 0.0
    flip: bool = True
    """Mirror every image in every other epoch, half of them in the first (alternating flips)."""
    shift: int = 1
    """Move each image by up to this many pixels in both directions, anew in each epoch."""
    unshifted: int = 6
    """So many epochs at the end are without shifts."""
    l1: float = 0.0
    l1_update: Literal["proximal", "subgradient"] = "proximal"
    l2: float = 0.0

    def __post_init__(self) -> None:
        if self.l1_update not in ("proximal", "subgradient"):
            raise ValueError(f"l1_update: expected 'proximal' or 'subgradient', found {self.l1_update!r}")


@dataclass(frozen=True)
class Entry:
    """One model: `network` is the import path of a `torch.nn.Module` that takes no arguments."""

    name: str
    network: str
    recipe: Recipe


LENET5 = "study.networks.lenet5:LeNet5"
LENET5_GAP = "study.networks.lenet5:LeNet5GAP"

ENTRIES = (
    Entry("baseline", LENET5, Recipe()),
    Entry("l2-1e-4", LENET5, Recipe(l2=1e-4)),
    Entry("l2-1e-3", LENET5, Recipe(l2=1e-3)),
    Entry("l1-1e-4", LENET5, Recipe(l1=1e-4)),
    Entry("l1-1e-3", LENET5, Recipe(l1=1e-3)),
    Entry("gap", LENET5_GAP, Recipe()),
)

STUDIES = {"regularisers": ("baseline", "l2-1e-4", "l2-1e-3", "l1-1e-4", "l1-1e-3", "gap")}
"""Named sets of models; the first model of a study is the baseline that the others are compared with."""

DEFAULT_STUDY = "regularisers"
DEFAULT_SEEDS = (0, 1, 2)


def entry(name: str) -> Entry:
    """The entry called `name`.

    Raises:
        StudyError: no entry has that name; the message lists those there are.
    """
    for candidate in ENTRIES:
        if candidate.name == name:
            return candidate
    raise StudyError(f"no model is called {name!r}; the catalogue has: {', '.join(e.name for e in ENTRIES)}")


def select(names: Sequence[str] = (), study: str = DEFAULT_STUDY) -> list[Entry]:
    """The entries called `names`, each once and in that order, or without names those of `study`."""
    if not names:
        if study not in STUDIES:
            raise StudyError(f"no study is called {study!r}; there are: {', '.join(STUDIES)}")
        names = STUDIES[study]
    return [entry(name) for name in dict.fromkeys(names)]
