"""Which node makes the outputs of two engines differ: search by halves, with a part of the graph in each engine.

`wrong(start, stop)` computes the graph in the first engine, but the nodes from `start` to `stop` in the second one. It
returns the difference of the outputs from those of the first engine as a multiple of their limit. A difference inside
that never reaches an output is therefore no fault, and a node that takes wrong values is not blamed for them.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from study.errors import StudyError

Wrong = Callable[[int, int], float]
WIDTHS = (1, 2, 4, 8, 16)
"""Numbers of nodes that are tried together: an engine may be wrong only where it fuses some of them."""
ENOUGH = 0.5
"""Share of the limit from which some nodes alone are to blame; the rest comes from rounding elsewhere."""

FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>[0-9]+)')
NOT_THE_USERS = re.compile(r"/(site|dist)-packages/torch/|/lib/python3[^/]*/[^/]+$|/study/modules/[a-z]+\.py$|^<")
"""Files of torch, of Python and of this project, and what has no file."""


TIED = (
    "no value of a number differs by more than the limit, but a decision, such as that of ArgMax or of a comparison, "
    "does: it is taken on values that are tied within the limit"
)


@dataclass(frozen=True)
class Place:
    """Where the outputs begin to differ, in words."""

    sentence: str
    tied: bool = False
    """Whether no node is wrong: decisions fall differently on values that are equal within the limit."""


@dataclass(frozen=True)
class Blame:
    """The nodes from `start` to `stop`, by their indices; none where `start` equals `stop`."""

    start: int
    stop: int
    value: float = 0.0
    """The difference that they alone make, as a multiple of the limit; infinite for a decision."""
    growth: tuple[tuple[int, float], ...] = ()
    """The difference as a multiple of the limit, with so many of the first nodes in the second engine."""

    @property
    def is_drift(self) -> bool:
        """Whether no few nodes alone make the difference."""
        return self.start == self.stop

    @property
    def decides(self) -> bool:
        """Whether a decision differs, rather than a number."""
        return self.value == math.inf

    def grows(self) -> str:
        """How the difference grows, in words."""
        shown = ", ".join(f"{value:.2g} of it with {stop}" for stop, value in self.growth if stop)
        return f"the difference grows slowly towards its limit ({shown})"


def search(nodes: int, wrong: Wrong, seconds: float) -> Blame:
    """The nodes that make the outputs differ.

    Args:
        nodes: their number, or that of the groups that cannot be taken apart.
        seconds: no computation begins after that.

    Raises:
        StudyError: the difference does not recur, or there is no time left.
    """
    until = time.monotonic() + seconds
    measured: dict[tuple[int, int], float] = {(0, 0): 0.0}

    def tried(start: int, stop: int) -> float:
        if (start, stop) not in measured:
            if time.monotonic() > until:
                raise StudyError(f"it was searched for in vain for {seconds:.0f} s")
            measured[start, stop] = wrong(start, stop)
        return measured[start, stop]

    if not tried(0, nodes) > 1:
        raise StudyError("it does not recur when the graph is computed again")
    low, high = 0, nodes
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tried(0, middle) > 1 else (middle, high)
    for width in WIDTHS:
        start = max(0, high - width)
        if tried(start, high) > ENOUGH:
            return Blame(start, high, tried(start, high))
        if not start:
            break
    growth = sorted((stop, value) for (start, stop), value in measured.items() if not start)
    return Blame(high, high, growth[-1][1], tuple(growth))


def source_line(trace: str) -> str:
    """File and line of the user's own code, the innermost, in a stack trace as torch's exporter stores it."""
    frames = [found for found in FRAME.finditer(trace) if not NOT_THE_USERS.search(found["file"])]
    return f"{frames[-1]['file'].rpartition('/')[2]}:{frames[-1]['line']}" if frames else ""
