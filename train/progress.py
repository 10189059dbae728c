"""The progress of training: bars on a terminal, one line an epoch in a log."""

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

from study.remote.tasks import Lost
from train.tasks import Elsewhere, Epoch, Event, Failed, NoRoom, Resumed, Task, Waiting

ALL = "all runs, epochs"


class Output(Console):
    """Standard output; when its reader has gone, the command ends like any other (study/errors.py)."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Bars:
    """A bar for the whole work, above those of its parts; a context manager.

    Args:
        title: of the first bar, with `completed` of `total` steps.
        width: of the column of titles, in characters.
        columns: further columns on the right.
    """

    def __init__(self, title: str, total: int, width: int, *columns: ProgressColumn, completed: int = 0) -> None:
        self.console = Output()
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
    """Shows the events of all runs."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        epochs = sum(task.entry.recipe.epochs for task in tasks)
        width = max(len(text) for text in (ALL, *(task.label for task in tasks)))
        super().__init__(ALL, epochs, width, TimeRemainingColumn())
        self.bars: dict[str, TaskID] = {}
        self.done: dict[str, int] = {}
        """Epochs that each run has completed."""

    def show(self, task: Task, event: Event) -> None:
        label, epochs = task.label, task.entry.recipe.epochs
        if isinstance(event, Epoch):
            self._epoch(label, epochs, event)
            return
        if isinstance(event, Resumed):
            self._advance(label, epochs, event.epoch, "")
            self.say(f"{label}: resumed after epoch {event.epoch} of {epochs}")
            return
        if isinstance(event, Waiting):
            self.say(f"{label}: {event.holder} makes it: waiting for it")
            return
        if isinstance(event, Lost):
            self.say(f"{label}: {event.reason}" + "; another goes on after its last epoch" * event.again)
            return
        if label in self.bars:
            self.progress.remove_task(self.bars.pop(label))
        if isinstance(event, NoRoom):
            self.say(f"{label}: does not fit on the GPU beside the other runs; fewer run at a time from now on")
            return
        done = self.done.get(label, 0)
        self.progress.advance(self.total, epochs - done)  # the epochs saved by early stopping
        if isinstance(event, Elsewhere):
            self.say(f"{label}: finished by another command")
            return
        if isinstance(event, Failed):
            self.say(f"{label}: FAILED, {event.reason}")
            return
        stopped = f"stopped after {done} of {epochs} epochs, " if done < epochs else ""
        record = event.record
        self.say(
            f"{label}: {stopped}training error {100 * record.train_error:.2f} %, test error "
            f"{100 * record.test_error:.2f} %, {record.seconds:.0f} s, wrote {task.files.checkpoint}"
        )

    def _epoch(self, label: str, epochs: int, event: Epoch) -> None:
        state = f"loss {event.train_loss:.4f}  error {100 * event.train_error:.2f} %"
        if event.validation_error is not None:
            state += f"  validation {100 * event.validation_error:.2f} %"
        self._advance(label, epochs, event.epoch, state)
        if not self.console.is_terminal:
            print(f"{label}  epoch {event.epoch}/{epochs}  {state}  {event.seconds:.1f} s", flush=True)

    def _advance(self, label: str, epochs: int, epoch: int, state: str) -> None:
        """Show that a run has completed this epoch, from 1."""
        if label not in self.bars:
            self.bars[label] = self.progress.add_task(label, total=epochs, state="")
        self.progress.update(self.bars[label], completed=epoch, state=state)
        self.progress.advance(self.total, epoch - self.done.get(label, 0))
        self.done[label] = epoch
