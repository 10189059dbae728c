"""Tells on standard error how far the reading of large weights is; of small ones it says nothing."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, overload

from numpy.typing import NDArray

WORTH_TELLING = 2**24
"""Weights, which take some tenths of a second."""


class Progress:
    """A bar on a terminal, a line a layer otherwise; used as a context."""

    def __init__(self, title: str, weights: int) -> None:
        self.title = title
        self.weights = weights
        self.told = weights >= WORTH_TELLING
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        if self.told and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self.bar = Bar(console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(self.title, total=self.weights)
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def watched(self, blocks: Sequence[NDArray[Any]], layer: str) -> Sequence[NDArray[Any]]:
        """The same blocks, of which each is counted when it is read."""
        if self.bar is not None:
            return _Watched(blocks, lambda block: self.bar.advance(self.task, block.size))
        if self.told:
            print(f"{self.title}: reading {layer}", file=sys.stderr)
        return blocks


@dataclass(frozen=True)
class _Watched(Sequence[NDArray[Any]]):
    blocks: Sequence[NDArray[Any]]
    tell: Callable[[NDArray[Any]], None]

    def __len__(self) -> int:
        return len(self.blocks)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | Sequence[NDArray[Any]]:
        found = self.blocks[index]
        if not isinstance(index, slice):
            self.tell(found)  # type: ignore[arg-type]  # an array, which is no Sequence
        return found
