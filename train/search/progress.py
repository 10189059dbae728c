"""What a person sees of a search: bars on a terminal, and one line a trial that has ended."""

from rich.progress import TaskID

from train.progress import Bars
from train.search.trials import Told


class TrialDisplay(Bars):
    """Shows what the workers tell of their trials.

    Args:
        finished: trials that are finished already, of `trials`.
        epochs: of a trial.
    """

    def __init__(self, finished: int, trials: int, epochs: int) -> None:
        super().__init__("trials", trials, 20, completed=finished)
        self.epochs = epochs
        self.values: dict[int, str] = {}
        self.seconds: dict[int, float] = {}
        self.bars: dict[int, TaskID] = {}

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
                self.say(f"trial {number}: {state}{found}, {self.seconds[number]:.0f} s: {self.values[number]}")
            case "died":
                if number in self.bars:
                    self.progress.remove_task(self.bars.pop(number))
                self.say(f"a process ended with exit code {content}; what it had begun will be done again")
