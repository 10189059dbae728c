"""How a network is trained: the one description that every recipe of the catalogue is written in. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Optimiser = Literal["sgd", "adam", "adamw", "nadam"]
Schedule = Literal["one-cycle", "constant"]
L1Update = Literal["proximal", "subgradient"]


@dataclass(frozen=True)
class Recipe:
    """The defaults are the study's: SGD with Nesterov momentum under a one-cycle schedule, flips and small shifts.

    The penalties are written in Keras' form, over the kernels (weights of convolutions and fully-connected
    layers, never biases), and applied as steps of their own after the optimiser's:

    - `l2`: lambda * sum w^2, gradient 2 * lambda * w; step w <- w * (1 - 2 * lr * l2) (decoupled: Loshchilov & Hutter,
      arXiv 1711.05101).
    - `l1`: lambda * sum |w|; step w <- sign(w) * max(|w| - lr * l1, 0) (proximal), or, to compare,
      w <- w - lr * l1 * sign(w) (`l1_update="subgradient"`), which never leaves an exact zero.

    Raises:
        ValueError: a value that no training can have.
    """

    epochs: int = 28
    batch_size: int = 256
    optimiser: Optimiser = "sgd"
    learning_rate: float = 0.1
    """The constant one, or the peak of the one-cycle schedule."""
    schedule: Schedule = "one-cycle"
    """one-cycle: linear from 0 over `warmup` of the steps, then linear back to 0."""
    warmup: float = 0.2
    momentum: float = 0.9
    """Of SGD, in Nesterov's form; the others have their own."""
    weight_decay: float = 0.0
    """The optimiser's own, over all parameters: lambda * w added to the gradient, but a step of its own in AdamW."""
    label_smoothing: float = 0.0
    rubbish: float | None = None
    """With a number j: one more class, of score -j, in the cross-entropy: the MAP criterion of LeCun et al. 1998
    (equation 9) where scores are minus the distances of a radial basis output."""
    dropout: float | None = None
    """The rate of every dropout layer, instead of the network's own."""
    flip: bool = True
    """Mirror every image in every other epoch, half of them in the first (alternating flips)."""
    shift: int = 1
    """Move each image by up to this many pixels in both directions, anew in each epoch."""
    rotation: float = 0.0
    """Turn each image by up to this many degrees either way, anew in each epoch."""
    erasing: float = 0.0
    """Share of the images in which a random rectangle is blackened, anew in each epoch."""
    unshifted: int = 6
    """So many epochs at the end are without shifts, rotations and erasing."""
    validation: int = 0
    """So many training images are kept out of training, the last ones of each class, to be validated on."""
    patience: int = 0
    """Stop after so many epochs without a lower validation loss, and keep the weights of the lowest (0: never stop)."""
    bfloat16: bool = False
    """Forward pass in bfloat16 autocast, images and weights channels last; weights and update stay float32."""
    l1: float = 0.0
    l1_update: L1Update = "proximal"
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in (("optimiser", Optimiser), ("schedule", Schedule), ("l1_update", L1Update)):
            self._expect(name, getattr(self, name) in get_args(kind), f"one of {', '.join(get_args(kind))}")
        for name in ("epochs", "batch_size"):
            self._expect(name, getattr(self, name) >= 1, "a number from 1")
        for name in ("warmup", "momentum", "label_smoothing", "erasing"):
            self._expect(name, 0 <= getattr(self, name) <= 1, "a number from 0 to 1")
        self._expect("dropout", self.dropout is None or 0 <= self.dropout < 1, "None or a rate from 0 to below 1")
        self._expect("patience", not self.patience or self.validation > 0, "0 where no image is kept for validation")

    def _expect(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            value: Any = getattr(self, name)
            raise ValueError(f"{name}: expected {expected}, found {value!r}")


def recorded(values: Mapping[str, Any]) -> Recipe:
    """The recipe that a run.json tells of; a field that came after the run was made is at its default.

    Raises:
        ValueError: it has a field that no recipe has, or a value that none can have.
    """
    try:
        return Recipe(**values)
    except TypeError as error:
        raise ValueError(str(error)) from None
