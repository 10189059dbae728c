"""Two commands on one folder share its runs: each makes those that the other does not."""

import os
import threading
from pathlib import Path

import pytest

from study import catalogue, locks
from study.artifacts import Artifacts
from train import claims
from train.claims import Claims
from train.tasks import Elsewhere, Event, Failed, Task, Waiting


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    return [Task(catalogue.entry("gap"), Artifacts(tmp_path).run("gap", seed), tmp_path) for seed in (0, 1, 2)]


def lock_of(task: Task) -> Path:
    return locks.of_folder(task.files.folder)


def test_runs_are_shared(tasks: list[Task]) -> None:
    with Claims(tasks, print) as ours, Claims(tasks, print) as theirs:
        assert ours.next(wait=False) == tasks[0]
        assert theirs.next(wait=False) == tasks[1]
        assert ours.next(wait=False) == tasks[2]
        assert ours.next(wait=False) is theirs.next(wait=False) is None
        ours.release(tasks[0])  # it failed, or its command was interrupted
        assert theirs.next(wait=False) == tasks[0]
    assert [list(task.files.folder.iterdir()) for task in tasks] == [[], [], []]


@pytest.mark.parametrize("finished", [True, False])
def test_the_last_run_is_waited_for_and_made_only_if_the_other_command_has_not_finished_it(
    finished: bool, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = locks.take(lock_of(tasks[0]))
    assert theirs is not None
    monkeypatch.setattr(claims, "is_finished", lambda files, entry: finished)
    events: list[Event] = []

    def report(task: Task, event: Event) -> None:
        assert task == tasks[0]
        events.append(event)
        if isinstance(event, Waiting):
            threading.Timer(0.1, locks.release, [theirs]).start()

    with Claims(tasks[:1], report) as ours:
        assert ours.next(wait=True) == (None if finished else tasks[0])
    assert events == [Waiting(f"process {os.getpid()}"), *([Elsewhere()] if finished else [])]


def test_a_run_whose_lock_cannot_be_made_fails_alone_with_the_path_and_no_number(tasks: list[Task]) -> None:
    folder = tasks[0].files.folder
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the folder of the run should be")
    events: list[Event] = []
    with Claims(tasks, lambda task, event: events.append(event)) as ours:
        assert ours.next(wait=False) == tasks[1]
    assert events == [Failed(f"{folder}: File exists")]
