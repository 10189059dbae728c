"""Runs and trials on a cluster: the bytes of local ones, also if a worker or a node dies."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from study import catalogue
from study.artifacts import Artifacts, RunFiles
from study.entry import Entry
from study.recipe import Recipe
from study.remote import cluster
from study.remote.tasks import Lost, Message, Tasks
from tests.ray.conftest import Nodes
from tests.train.test_search import searched
from train import engine, ray_engine
from train.experiments.ray import worker_of
from train.search import trials
from train.search.storage import Storage
from train.tasks import Epoch, Event, Failed, Finished, Resumed, Task

ENTRIES = tuple(
    replace(catalogue.entry(name), recipe=Recipe(epochs=6, unshifted=1, l1=1e-3)) for name in ("baseline", "gap")
)


def tasks_of(folder: Path, data: Path, entries: tuple[Entry, ...] = ENTRIES) -> list[Task]:
    return [Task(entry, Artifacts(folder).run(entry.name, 0), data) for entry in entries]


def make(nodes: Nodes, tasks: list[Task], act: Callable[[Event], None] = lambda event: None) -> list[Event]:
    """Make the runs on the cluster; `act` is called with each event."""
    events: list[Event] = []

    def report(task: Task, event: Event) -> None:
        events.append(event)
        act(event)

    ray_engine.run(tasks, 9, report, nodes.place)
    return events


def content(files: RunFiles) -> list[bytes]:
    """The files of a finished run, but for times and the machine; there are no others."""
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "checkpoint.pt",
        "history.csv",
        "predictions.csv",
        "run.json",
    ]
    rows = [line.rpartition(b",")[0] for line in files.history.read_bytes().splitlines()]  # the last is the time
    return [files.checkpoint.read_bytes(), files.predictions.read_bytes(), *rows]


@pytest.fixture(scope="session")
def expected(few_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    """The files of the same runs made by `--engine local`."""
    tasks = tasks_of(tmp_path_factory.mktemp("local"), few_data)
    engine.run(tasks, 2, lambda task, event: None)
    return [content(task.files) for task in tasks]


def test_runs_have_the_same_bytes_as_local_ones(
    nodes: Nodes, few_data: Path, tmp_path: Path, expected: list[list[bytes]]
) -> None:
    tasks = tasks_of(tmp_path, few_data)
    events = make(nodes, tasks)
    assert [type(event) for event in events].count(Epoch) == 12
    assert [content(task.files) for task in tasks] == expected


def test_a_run_whose_worker_is_killed_goes_on_after_its_last_epoch(
    nodes: Nodes, few_data: Path, tmp_path: Path, expected: list[list[bytes]]
) -> None:
    (task,) = tasks_of(tmp_path, few_data, ENTRIES[:1])
    killed: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, Epoch) and event.epoch == 2 and not killed:
            worker = worker_of(task.label)
            assert worker is not None
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)

    events = make(nodes, [task], kill)
    lost = next(event for event in events if isinstance(event, Lost))
    assert lost.again
    resumed = events[events.index(lost) + 1]
    assert isinstance(resumed, Resumed)
    assert resumed.epoch >= 2
    assert [event.epoch for event in events if isinstance(event, Epoch)] == [1, 2, 3, 4, 5, 6]
    assert content(task.files) == expected[0]


def test_a_state_that_is_damaged_is_reported_and_the_run_starts_again(
    nodes: Nodes, few_data: Path, tmp_path: Path, expected: list[list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = tasks_of(tmp_path, few_data, ENTRIES[:1])
    task.files.folder.mkdir(parents=True)
    task.files.resume.write_bytes(b"no state of a run")
    make(nodes, [task])
    assert capsys.readouterr().err.startswith(f"{task.files.resume} cannot be read")
    assert content(task.files) == expected[0]


def test_a_run_whose_files_cannot_be_written_fails_alone(
    nodes: Nodes, few_data: Path, tmp_path: Path, expected: list[list[bytes]]
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gap").write_text("a file where the folder of the runs should be")
    tasks = tasks_of(tmp_path, few_data)
    events = make(nodes, tasks)
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert "models/gap" in failed.reason
    assert isinstance(next(event for event in events if isinstance(event, Finished)), Finished)
    assert content(tasks[0].files) == expected[0]


def test_a_task_that_kills_its_workers_is_given_up(nodes: Nodes) -> None:
    cluster.join(nodes.place, "train", [], {})

    def deadly(task: str) -> Iterator[Message]:
        yield Message("begun")
        os._exit(7)

    events = []
    with Tasks[str](deadly, lambda task: ()) as tasks:
        tasks.start("deadly")
        while tasks.running:
            events += [event for _, event in tasks.wait() if isinstance(event, Lost)]
    assert [event.again for event in events] == [True, True, False]


def test_trials_have_the_results_of_local_ones(nodes: Nodes, few_data: Path, tmp_path: Path) -> None:
    storages = [Storage(searched(tmp_path / name, few_data, trials=3)) for name in ("local", "ray")]
    trials.side_by_side(storages[0], 2, lambda event: None)
    tasks = ray_engine.trials(storages[1].search, nodes.place)
    trials.side_by_side(storages[1], 2, lambda event: None, lambda: tasks)
    results = [[(trial.params, trial.values, trial.state) for trial in storage.trials()] for storage in storages]
    assert results[0] == results[1]


def test_last_the_runs_of_a_node_that_is_removed_go_on_elsewhere_also_if_the_other_loses_its_worker_then(
    nodes: Nodes, few_data: Path, tmp_path: Path, expected: list[list[bytes]]
) -> None:
    tasks = tasks_of(tmp_path, few_data)
    killed: list[int] = []

    def remove(event: Event) -> None:
        if isinstance(event, Epoch) and event.epoch == 2 and len(nodes.workers) == 2:
            nodes.remove()
        if isinstance(event, Epoch) and event.epoch == 4 and not killed:
            killed.extend(worker for task in tasks if (worker := worker_of(task.label)))
            os.kill(killed[0], signal.SIGKILL)

    events = make(nodes, tasks, remove)
    assert [event.again for event in events if isinstance(event, Lost)] == [True, True]
    assert [content(task.files) for task in tasks] == expected
