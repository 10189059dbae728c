"""What a person sees while the runs are made: bars on a terminal, one line an epoch in a log."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from train.tasks import Event, Task

ALL = "all runs, epochs"


class Bars:
    """A bar for all that is to be done, and others that come and go below it; a context manager.

    Args:
        title: of the first bar, of which `completed` of `total` steps are done.
        width: of the column of titles, in characters.
        columns: further ones on the right.
    """

    def __init__(self, title: str, total: int, width: int, *columns: ProgressColumn, completed: int = 0) -> None:
        self.console = Console()
        self.progress = Progress(
            TextColumn(f"{{task.description:{width}}}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            *columns,
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.total = self.progress.add_task(title, total=total, completed=completed, state="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Display(Bars):
    """Shows events of all runs together."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        epochs = sum(task.entry.recipe.epochs for task in tasks)
        width = max(len(text) for text in (ALL, *(task.label for task in tasks)))
        super().__init__(ALL, epochs, width, TimeRemainingColumn())
        self.bars: dict[str, TaskID] = {}
        self.done: dict[str, int] = {}
        """Epochs that each run has told of."""

    def show(self, event: Event) -> None:
        """Take in one event."""
        label, epochs = event.task.label, event.task.entry.recipe.epochs
        if event.kind == "epoch":
            row = event.content
            state = f"loss {row['train_loss']:.4f}  error {100 * row['train_error']:.2f} %"
            if row["validation_error"] is not None:
                state += f"  validation {100 * row['validation_error']:.2f} %"
            if label not in self.bars:
                self.bars[label] = self.progress.add_task(label, total=epochs, state="")
            self.progress.update(self.bars[label], completed=row["epoch"], state=state)
            self.done[label] = row["epoch"]
            self.progress.advance(self.total)
            if not self.console.is_terminal:
                print(f"{label}  epoch {row['epoch']}/{epochs}  {state}  {row['seconds']:.1f} s", flush=True)
            return
        if label in self.bars:
            self.progress.remove_task(self.bars.pop(label))
        done = self.done.get(label, 0)
        self.progress.advance(self.total, epochs - done)  # those that an early end has saved
        if event.kind == "finished":
            record = event.content
            stopped = f"stopped after {done} of {epochs} epochs, " if done < epochs else ""
            text = (
                f"{label}: {stopped}training error {100 * record['train_error']:.2f} %, test error "
                f"{100 * record['test_error']:.2f} %, {record['seconds']:.0f} s, wrote {event.task.files.checkpoint}"
            )
        else:
            text = f"{label}: FAILED, {event.content}"
        self.say(text)
