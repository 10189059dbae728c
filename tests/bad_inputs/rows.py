"""The table of bad inputs: a command line, what lies in its folder, and a part of the answer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Row:
    """`{dir}` in the words and in the answer is the folder of the test."""

    name: str
    words: str
    answer: str
    """Is in the line."""
    prepare: Prepare = lambda folder: None
    within: Callable[[], AbstractContextManager[None]] = nullcontext
    """The state of the machine while the command runs."""

    def __str__(self) -> str:
        return self.name
