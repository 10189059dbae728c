"""Progress on standard error while large weights are read; small ones are read silently."""

import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from analysis.weights.matrix import Blocks

SILENT = 2**24
"""Fewer weights than this are read silently: they take some tenths of a second."""


class Progress(AbstractContextManager["Progress"]):
    """A bar on a terminal, a line a layer otherwise; used as a context."""

    def __init__(self, title: str, weights: int) -> None:
        self.title = title
        self.shown = weights >= SILENT
        self.bar: Any = None
        if self.shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self.bar = Bar(console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(title, total=weights)
            self.bar.start()

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def counted(self, blocks: Blocks, layer: str) -> Blocks:
        """The same blocks; each is counted when it is read."""
        if self.bar is not None:
            return replace(blocks, on_read=lambda size: self.bar.advance(self.task, size))
        if self.shown:
            print(f"{self.title}: reading {layer}", file=sys.stderr)
        return blocks
