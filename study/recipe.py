"""How a network is trained: the fields of every recipe in the catalogue. No torch here."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import msgspec

Optimiser = Literal["sgd", "adam", "adamw", "nadam"]
Schedule = Literal["one-cycle", "constant"]
L1Update = Literal["proximal", "subgradient"]
Initialisation = Literal["own", "he"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The defaults are the study's: SGD with Nesterov momentum under a one-cycle schedule, flips and small shifts.

    The penalties are written in Keras' form, over the kernels (weights of convolutions and fully-connected
    layers, never biases), and applied as separate steps after the optimiser's:

    - `l2`: lambda * sum w^2, gradient 2 * lambda * w; step w <- w * (1 - 2 * lr * l2) (decoupled: Loshchilov & Hutter,
      arXiv 1711.05101).
    - `l1`: lambda * sum |w|; step w <- sign(w) * max(|w| - lr * l1, 0) (proximal), or, to compare,
      w <- w - lr * l1 * sign(w) (`l1_update="subgradient"`), which never leaves an exact zero.

    Raises:
        ValueError: a value that no training can have.
    """

    epochs: int = 28
    """Passes over the training images, at most."""
    batch_size: int = 256
    """Images per step."""
    optimiser: Optimiser = "sgd"
    """The optimiser, as torch has it."""
    learning_rate: float = 0.1
    """The constant rate, or the peak of the one-cycle schedule."""
    schedule: Schedule = "one-cycle"
    """one-cycle: linear from 0 over `warmup` of the steps, then linear back to 0."""
    warmup: float = 0.2
    """Share of the steps with a rising rate, in the one-cycle schedule."""
    momentum: float = 0.9
    """Nesterov momentum of SGD; the other optimisers have their own."""
    weight_decay: float = 0.0
    """The optimiser's own, over all parameters: lambda * w added to the gradient, but a separate step in AdamW."""
    label_smoothing: float = 0.0
    """Probability that the target spreads over all classes."""
    rubbish: float | None = None
    """A number j adds a class of score -j to the cross-entropy: the MAP criterion of LeCun et al. 1998 (equation 9),
    where scores are minus the distances of a radial basis output."""
    dropout: float | None = None
    """Rate of every dropout layer, instead of the network's own."""
    initialisation: Initialisation = "own"
    """own: as the network draws its weights; he: kernels from a normal distribution of variance 2 / fan-in, biases 0
    (He et al., arXiv 1502.01852, equation 10)."""
    flip: bool = True
    """Mirror every image in every other epoch, half of the images in the first (alternating flips)."""
    shift: int = 1
    """Move each image by up to this many pixels in both directions, drawn in each epoch."""
    rotation: float = 0.0
    """Rotate each image by up to this many degrees either way, drawn in each epoch."""
    erasing: float = 0.0
    """Share of the images in which a random rectangle is blackened, drawn in each epoch."""
    unshifted: int = 6
    """Number of last epochs without shifts, rotations and erasing."""
    validation: int = 0
    """Number of training images kept back for validation, the last ones of each class."""
    patience: int = 0
    """Stop after this many epochs without a lower validation loss, and keep the weights of the lowest (0: never)."""
    bfloat16: bool = False
    """Forward pass in bfloat16 autocast, images and weights channels last; weights and update stay float32."""
    l1: float = 0.0
    """Strength of the L1 penalty."""
    l1_update: L1Update = "proximal"
    """Step of the L1 penalty."""
    l2: float = 0.0
    """Strength of the L2 penalty."""

    def __post_init__(self) -> None:
        for names, holds, expected in RULES:
            for name in names:
                if not holds(getattr(self, name)):
                    raise ValueError(f"{name}: expected {expected}, found {getattr(self, name)!r}")
        if self.patience and not self.validation:
            raise ValueError(f"patience: expected 0 without validation images, found {self.patience}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    *(
        ((name,), get_args(kind).__contains__, f"one of {', '.join(get_args(kind))}")
        for name, kind in (
            ("optimiser", Optimiser),
            ("schedule", Schedule),
            ("l1_update", L1Update),
            ("initialisation", Initialisation),
        )
    ),
    (("flip", "bfloat16"), lambda v: isinstance(v, bool), "True or False"),
    (("epochs", "batch_size"), lambda v: _whole(v) and v >= 1, "a whole number from 1"),
    (("shift", "unshifted", "validation", "patience"), lambda v: _whole(v) and v >= 0, "a whole number from 0"),
    (("learning_rate",), lambda v: _number(v) and v > 0, "a number above 0"),
    (("weight_decay", "rotation", "l1", "l2"), lambda v: _number(v) and v >= 0, "a number from 0"),
    (
        ("warmup", "momentum", "label_smoothing", "erasing"),
        lambda v: _number(v) and 0 <= v <= 1,
        "a number from 0 to 1",
    ),
    (("rubbish",), lambda v: v is None or _number(v), "None or a number"),
    (("dropout",), lambda v: v is None or (_number(v) and 0 <= v < 1), "None or a rate from 0 to below 1"),
)
"""The values that the fields may have: which fields, the test, and its words."""


FIRST = (
    *("epochs", "batch_size", "learning_rate", "warmup", "momentum", "label_smoothing"),
    *("flip", "shift", "l1", "l1_update", "l2", "unshifted"),
)
"""The fields that every run.json has; later ones have their default in older runs."""


def recorded(values: Mapping[str, Any]) -> Recipe:
    """The recipe with these fields, as JSON has them; a field that is missing has its default.

    Raises:
        ValueError: it has a field that no recipe has, or a value that none can have.
    """
    return msgspec.convert(values, Recipe)
