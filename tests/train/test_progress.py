"""What is shown of the runs: all epochs are accounted for, also where a run ends before its recipe does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from study import catalogue
from study.artifacts import Artifacts
from train.progress import Display
from train.tasks import Event, Task

RECORD = {"train_error": 0.1, "test_error": 0.2, "seconds": 5.0}


def row(epoch: int, validation_error: float | None = None) -> dict[str, Any]:
    losses = {"train_loss": 1.5, "train_error": 0.25, "validation_error": validation_error}
    return {"epoch": epoch, **losses, "seconds": 1.0}


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    """One run of ten epochs and one of twenty."""
    entries = [catalogue.entry("gap"), catalogue.entry("baseline")]
    lengths = (10, 20)
    return [
        Task(replace(e, recipe=structs.replace(e.recipe, epochs=n)), Artifacts(tmp_path).run(e.name, 0), tmp_path)
        for e, n in zip(entries, lengths, strict=True)
    ]


def test_a_run_that_ends_early_leaves_no_epochs_open(tasks: list[Task], capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(tasks)

    def total() -> tuple[float, float | None]:
        task = display.progress.tasks[display.total]
        return task.completed, task.total

    assert total() == (0, 30)
    for epoch in (1, 2, 3):
        display.show(Event(tasks[0], "epoch", row(epoch, 0.3)))
    assert total() == (3, 30)
    display.show(Event(tasks[0], "finished", RECORD))
    assert total() == (10, 30)
    display.show(Event(tasks[1], "epoch", row(1)))
    display.show(Event(tasks[1], "failed", "why"))
    assert total() == (30, 30)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "gap seed 0  epoch 3/10  loss 1.5000  error 25.00 %  validation 30.00 %  1.0 s"
    assert lines[3].startswith("gap seed 0: stopped after 3 of 10 epochs, training error 10.00 %, test error 20.00 %")
    assert lines[4] == "baseline seed 0  epoch 1/20  loss 1.5000  error 25.00 %  1.0 s"
    assert lines[5] == "baseline seed 0: FAILED, why"


def test_a_run_that_reaches_its_end_does_not_say_so(tasks: list[Task], capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(tasks[:1])
    for epoch in range(1, 11):
        display.show(Event(tasks[0], "epoch", row(epoch)))
    display.show(Event(tasks[0], "finished", RECORD))
    assert display.progress.tasks[display.total].completed == 10
    assert "stopped" not in capsys.readouterr().out
