"""What a person sees of a search: bars on a terminal, and one line a trial that has ended."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from train.search.trials import Told


class TrialDisplay:
    """Shows what the workers tell of their trials; a context manager.

    Args:
        finished: trials that are finished already, of `trials`.
        epochs: of a trial.
    """

    def __init__(self, finished: int, trials: int, epochs: int) -> None:
        self.console = Console()
        self.epochs = epochs
        self.values: dict[int, str] = {}
        self.seconds: dict[int, float] = {}
        self.bars: dict[int, TaskID] = {}
        self.progress = Progress(
            TextColumn("{task.description:20}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.total = self.progress.add_task("trials", total=trials, completed=finished, state="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def show(self, told: Told) -> None:
        """Take in what was told."""
        number, content = told.number, told.content
        match told.kind:
            case "begun":
                self.values[number], self.seconds[number] = content, 0.0
                self.bars[number] = self.progress.add_task(f"trial {number}, epochs", total=self.epochs, state="")
            case "epoch":
                epoch, error, seconds = content
                self.seconds[number] += seconds
                self.progress.update(self.bars[number], completed=epoch, state=f"validation {100 * error:.2f} %")
            case "ended":
                error, reason = content
                self.progress.remove_task(self.bars.pop(number))
                self.progress.advance(self.total)
                state = "complete" if reason is None else f"pruned, {reason}"
                found = "" if error is None else f", validation error {100 * error:.2f} %"
                self._print(f"trial {number}: {state}{found}, {self.seconds[number]:.0f} s: {self.values[number]}")
            case "died":
                if number in self.bars:
                    self.progress.remove_task(self.bars.pop(number))
                self._print(f"a process ended with exit code {content}; what it had begun will be done again")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
