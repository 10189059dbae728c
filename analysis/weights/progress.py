"""Progress on standard error while large weights are read; small ones are read silently."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, overload

from numpy.typing import NDArray

SILENT = 2**24
"""Fewer weights than this are read silently: they take some tenths of a second."""


class Progress:
    """A bar on a terminal, a line a layer otherwise; used as a context."""

    def __init__(self, title: str, weights: int) -> None:
        self.title = title
        self.weights = weights
        self.shown = weights >= SILENT
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        if self.shown and sys.stderr.isatty():
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
        """The same blocks; each is counted when it is read."""
        if self.bar is not None:
            return _Watched(blocks, lambda block: self.bar.advance(self.task, block.size))
        if self.shown:
            print(f"{self.title}: reading {layer}", file=sys.stderr)
        return blocks


@dataclass(frozen=True)
class _Watched(Sequence[NDArray[Any]]):
    blocks: Sequence[NDArray[Any]]
    counted: Callable[[NDArray[Any]], None]

    def __len__(self) -> int:
        return len(self.blocks)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | Sequence[NDArray[Any]]:
        block = self.blocks[index]
        if not isinstance(index, slice):
            self.counted(block)  # type: ignore[arg-type]  # an array, which is no Sequence
        return block
