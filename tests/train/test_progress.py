"""The display of training accounts for all epochs, also if a run ends early."""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from study import catalogue
from study.artifacts import Artifacts
from study.record_files import read_record
from study.records.training import RunRecord
from tests.support.study import layers, write_run
from train.progress import Display
from train.tasks import Epoch, Failed, Finished, Task


def epoch(number: int, validation_error: float | None = None) -> Epoch:
    return Epoch(number, 0.1, 1.5, 0.25, None, validation_error, 1.0)


def test_a_run_that_ends_early_leaves_no_epochs_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = (catalogue.entry(name) for name in ("gap", "baseline", "l2-1e-3"))
    gap, baseline, l2 = (
        Task(replace(e, recipe=structs.replace(e.recipe, epochs=n)), Artifacts(tmp_path).run(e.name, 0), tmp_path)
        for e, n in zip(entries, (10, 20, 1), strict=True)
    )
    write_run(Artifacts(tmp_path), "gap", 0, layers(0))
    made = read_record(gap.files.record, RunRecord, "")
    finished = Finished(structs.replace(made, train_error=0.1, test_error=0.2, seconds=5.0))
    display = Display([gap, baseline, l2])

    def completed() -> float:
        total = display.progress.tasks[display.total]
        assert total.total == 31
        return total.completed

    assert completed() == 0
    for number in (1, 2, 3):
        display.show(gap, epoch(number, 0.3))
    assert completed() == 3
    display.show(gap, finished)
    assert completed() == 10
    display.show(baseline, epoch(1))
    display.show(baseline, Failed("why"))
    display.show(l2, epoch(1))
    display.show(l2, finished)
    assert completed() == 31
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "gap seed 0  epoch 3/10  loss 1.5000  error 25.00 %  validation 30.00 %  1.0 s"
    assert lines[3].startswith("gap seed 0: stopped after 3 of 10 epochs, training error 10.00 %, test error 20.00 %")
    assert lines[4] == "baseline seed 0  epoch 1/20  loss 1.5000  error 25.00 %  1.0 s"
    assert lines[5] == "baseline seed 0: FAILED, why"
    assert lines[7].startswith("l2-1e-3 seed 0: training error 10.00 %, test error 20.00 %, 5 s, wrote "), "not stopped"
