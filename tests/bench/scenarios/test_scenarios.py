"""`pytest bench --scenario`: its options, its tasks in a session, and its tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench import session as module
from bench.cases import Case
from bench.output import terminal
from bench.sampling import Budget
from bench.scenarios.options import add_scenario_options, scenario_notes, scenario_tasks
from bench.scenarios.server import Goal
from bench.scenarios.tasks import LoadTask
from bench.session import Session
from bench.tasks import Task
from bench.worker import Job, Message
from study.bench_file import read_bench
from study.errors import StudyError
from tests.bench.builders import ENVIRONMENT, of_weights
from tests.bench.scenarios import test_offline, test_server
from tests.bench.test_session import Lines, Workers


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return of_weights(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]])


def tasks(words: str, cases: Sequence[Case], streams: Sequence[int] = (1,)) -> list[LoadTask]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--precision")
    add_scenario_options(parser.add_argument)
    return scenario_tasks(parser.parse_args(words.split()), cases, streams)


def test_a_scenario_measures_each_case_in_each_number_of_streams(case: Case) -> None:
    assert tasks("", [case]) == []
    assert tasks("--scenario offline", [case], [1, 2]) == [LoadTask(case, 1), LoadTask(case, 2)]
    assert tasks("--scenario server --rate 50", [case]) == [LoadTask(case, 1, Goal(rate=50.0))]
    bounds = {"10ms": 0.01, "1.5 s": 1.5, "500us": 500e-6}
    for text, seconds in bounds.items():
        options = argparse.Namespace(scenario="server", bound=text, rate=None, precision=None)
        (task,) = scenario_tasks(options, [case], [1])
        assert task.goal is not None
        assert task.goal.bound_seconds == pytest.approx(seconds)


SERVER = "--scenario server: expected a limit of the p99 (--bound 10ms) or queries a second (--rate 1000)"


@pytest.mark.parametrize(
    ("words", "streams", "message"),
    [
        ("--bound 10ms", [1], "--bound applies to --scenario server"),
        ("", [1, 2], "--streams applies to --scenario offline or server"),
        ("--scenario offline --rate 5", [1], "--rate applies to --scenario server"),
        ("--scenario server", [1], f"{SERVER}, found neither"),
        ("--scenario server --bound 1s --rate 5", [1], f"{SERVER}, found both"),
        ("--scenario server --bound 10", [1], "--bound: expected a time such as 10ms, 500us or 1.5s, found '10'"),
        ("--scenario server --bound 0ms", [1], "--bound: expected a time such as 10ms, 500us or 1.5s, found '0ms'"),
        ("--scenario server --rate 0", [1], "--rate: expected queries a second above 0, found 0"),
        ("--scenario offline --precision 1%", [1], "--precision applies to --scenario latency; give --processes"),
    ],
)
def test_a_mistake_is_refused_in_one_line(case: Case, words: str, streams: list[int], message: str) -> None:
    with pytest.raises(StudyError) as error:
        tasks(words, [case], streams)
    assert str(error.value) == message


def test_more_threads_than_cores_are_noted(case: Case) -> None:
    assert scenario_notes([LoadTask(case, 1)], None) == []
    (line,) = scenario_notes([LoadTask(case, 1000)], None)
    assert line.startswith("oversubscribed, more threads than physical cores: ")


def answer(task: Task, job: Job) -> Message:
    assert isinstance(task, LoadTask)
    n = job.process.number
    result = test_offline.once(n, 1000.0) if task.goal is None else test_server.once(n)
    return Message(task.name, result=result)


def test_five_processes_measure_a_scenario_without_a_pilot_and_the_journal_is_read_like_the_json(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads = [LoadTask(case, 1), LoadTask(case, 2), LoadTask(case, 3, Goal(bound_seconds=0.01))]
    one = Session([], [], [], Budget(), ENVIRONMENT, scenarios=loads)
    one.begin_journal(tmp_path / "bench.json")
    workers, lines = Workers(answer), Lines()
    monkeypatch.setattr(module, "run_worker", workers)
    one.run(loads[:2], [], lines)
    assert [line.split(":")[0] for line in lines.lines] == [f"process {n} of 5" for n in (1, 2, 3, 4, 5)]
    one.run(loads[2:], [], lines)
    record = one.record()
    assert [load.streams for load in record.offline] == [1, 2]
    assert [(load.valid, len(load.processes)) for load in record.offline] == [(True, 5)] * 2
    assert [(load.valid, len(load.processes)) for load in record.server] == [(True, 5)]
    assert one.path is not None
    read = read_bench(one.path, "")
    assert (read.offline, read.server) == (record.offline, record.server)
    shown = "\n".join(terminal.tables(record, 120))
    assert "offline: throughput of all streams together" in shown
    assert "server: highest rate whose p99 stays under 10 ms" in shown
