"""The progress of a search: bars on a terminal, and one line for each trial that has ended."""

from rich.progress import TaskID

from train.progress import Bars
from train.search.storage import REPEATS
from train.search.trials import Begun, Died, Ended, Epoch, Event


class TrialDisplay(Bars):
    """Shows the events of a search.

    Args:
        finished: number of trials that are finished, of `trials`.
        epochs: of a trial.
    """

    def __init__(self, finished: int, trials: int, epochs: int) -> None:
        super().__init__("trials", trials, 20, completed=finished)
        self.epochs = epochs
        self.values: dict[int, str] = {}
        self.seconds: dict[int, float] = {}
        self.bars: dict[int, TaskID] = {}

    def show(self, event: Event) -> None:
        number = event.number
        match event:
            case Begun():
                self.values[number], self.seconds[number] = event.values, 0.0
                self.bars[number] = self.progress.add_task(f"trial {number}, epochs", total=self.epochs, state="")
            case Epoch():
                self.seconds[number] += event.seconds
                state = f"validation {100 * event.error:.2f} %"
                self.progress.update(self.bars[number], completed=event.epoch, state=state)
            case Ended():
                self.progress.remove_task(self.bars.pop(number))
                self.progress.advance(self.total)
                state = "complete" if event.reason is None else f"pruned, {event.reason}"
                error = "" if event.error is None else f", validation error {100 * event.error:.2f} %"
                self.say(f"trial {number}: {state}{error}, {self.seconds[number]:.0f} s: {self.values[number]}")
            case Died():
                self.progress.remove_task(self.bars.pop(number))
                self.say(f"trial {number}: {event.reason}; repeated up to {REPEATS} times")
