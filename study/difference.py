"""How an output differs between two engines, and whether that is within a limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Limit:
    """How far an output may be from another engine's."""

    absolute: float
    relative: float = 0.0
    """As a share of the largest value of the same array. For decisions (integers, booleans, texts) it is the share that
    may be another one; integers of up to 16 bits may also be rounded numbers, whose difference keeps to it."""
    reason: str = ""
    """Derivation of the limit, for messages."""

    def __str__(self) -> str:
        relative = f"{self.relative:.1g} of its largest value and " if self.relative else ""
        return f"{relative}{self.absolute:.1g}{self.reason}"


@dataclass(frozen=True)
class Difference:
    """How an output differs between two engines, over all calls."""

    name: str
    unlike: str = ""
    """How its types, shapes or lengths differ; then nothing else is known."""
    shown: str = ""
    """Type and shape where the difference is largest."""
    kind: Literal["number", "rounded", "decision"] = "number"
    values: int = 0
    """Number of values compared."""
    differing: int = 0
    largest: float = 0.0
    """The largest distance of two values; infinite if one of them alone is not finite; of two texts 1."""
    scale: float = 0.0
    """The largest finite magnitude expected."""
    parts: tuple["Difference", ...] = ()
    """Those of the single arrays, each with its own scale: of one call, or of one element of a sequence in it."""
    place: str = ""
    """Where the difference is largest, and both values."""
    items: frozenset[tuple[int, int]] = frozenset()
    """Call and item of its batch where a decision differs: a value, or which number of the item is the largest."""
    call: int = 0
    """The index of the call in which the difference is largest."""
    nan: int = 0
    """Number of values expected that are NaN; one that is NaN in both engines counts as equal."""
    infinite: int = 0
    """Number of values expected that are infinite."""

    def holds(self, limit: Limit) -> bool:
        """Whether the output is within the limit."""
        if self.unlike:
            return False
        if self.kind == "number":
            return self._worst(limit)._excess(limit) <= limit.absolute
        return self._is_rounding(limit) or self.differing <= limit.relative * self.values

    def ratio(self, limit: Limit) -> float:
        """The difference as a multiple of its limit; infinite where a decision, a type or a shape differs."""
        if self.unlike or self.kind != "number":
            return 0.0 if self.holds(limit) else np.inf
        shares = [(part.largest, limit.absolute + limit.relative * part.scale) for part in self.parts or (self,)]
        return max((largest / allowed if allowed else np.inf for largest, allowed in shares if largest), default=0.0)

    @property
    def short_place(self) -> str:
        """The place and both values where there is but one call; how its types, shapes or lengths differ."""
        index, _, values = self.place.partition(" in call ")
        return self.unlike.partition(", in ")[0] or f"{index}:{values.partition(':')[2]}"

    @property
    def nothing_compared(self) -> bool:
        """Whether no number of it is finite in the first engine."""
        return 0 < self.values == self.nan + self.infinite

    @property
    def zero_throughout(self) -> bool:
        """Whether every number of it is 0 in the first engine."""
        return self.kind == "number" and self.values > 0 and not self.scale and not self.nan + self.infinite

    def doubt(self, limit: Limit) -> str:
        """Why an output within the limit is not known to be right; "" if it is."""
        if self.nothing_compared:
            return f"output {self.name!r} has no finite value for these inputs, so nothing was compared"
        if self.kind == "number":
            if self.scale <= limit.absolute and self._worst(limit)._excess(limit) > 0:
                return f"output {self.name!r} is too small ({self.scale:.1g}) to be compared"
        elif self.differing and not self._is_rounding(limit):
            return f"{self.differing:,} of {self.values:,} values of output {self.name!r} differ"
        return ""

    def _is_rounding(self, limit: Limit) -> bool:
        return self.kind == "rounded" and self._worst(limit)._excess(limit) <= 0

    def _worst(self, limit: Limit) -> "Difference":
        return max(self.parts or (self,), key=lambda part: (part._excess(limit), part.largest))

    def _excess(self, limit: Limit) -> float:
        """Of one array: its difference beyond the relative limit."""
        return self.largest - limit.relative * self.scale

    def sentence(self, engine: str, limit: Limit) -> str:
        """A message: the difference from the outputs of `engine`, its place, its size, and the limit."""
        if self.unlike:
            return f"output {self.name!r} differs from {engine}'s: {self.unlike}"
        worst = self._worst(limit)
        name = f"output {self.name!r} ({worst.shown}) differs from {engine}'s"
        if self.kind == "number":
            share = ""
            if worst.scale and worst.largest < np.inf:
                share = f", {worst.largest / worst.scale:.1g} of its largest value,"
            return f"{name} by {worst.largest:.1e}{share} {worst.place}; expected at most {limit}"
        few = f"at most {limit.relative:.1g} of them" if limit.relative else "none"
        return f"{name} in {self.differing} of {self.values} values, {worst.place}; expected {few}"


def worst_ratio(results: Sequence[Difference], limit: Limit) -> float:
    """The largest difference of all outputs as a multiple of its limit."""
    return max((one.ratio(limit) for one in results), default=0.0)
