"""A session: its pilot, its processes, what it repeats, and what it keeps; the processes are fakes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from bench import session as module
from bench.cases import Case
from bench.profile.measure import ProfileOnce, ProfileTask
from bench.sampling import Budget, TooSlowError
from bench.session import Session, Watcher
from bench.tasks import CaseTask, PairTask, Task
from bench.worker import Job, Message
from study.bench_file import read_bench
from study.errors import StudyError
from tests.bench.builders import ENVIRONMENT, NOWHERE, of_weights
from tests.bench.test_records import once, pair
from tests.support.records import matrix_product, profile

Answer = Callable[[Task, Job], Message]


class Lines(Watcher):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def begin(self, title: str, number: int) -> None:
        self.lines.append(f"{title}: {number}")


class Workers:
    """In place of processes: answers for each task, and keeps the jobs."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.jobs = answer, list[Job]()

    def __call__(self, job: Job) -> Iterator[Message]:
        self.jobs.append(job)
        yield Message(overhead_seconds=1e-7 * len(self.jobs))
        for task in job.tasks:
            yield Message(task.name, began=True)
            yield self.answer(task, job)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    case = of_weights(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]])
    return [Case(case.model, runtime, 1) for runtime in ("reference", "onnxruntime")]


def sound(task: Task, job: Job) -> Message:
    """2 ms in the reference, 1 ms in ONNX Runtime; the same in each process but for 1 %."""
    n = job.process.number
    if isinstance(task, PairTask):
        return Message(task.name, result=pair(n, 2.0 * (1 + 0.002 * (n % 3))))
    median = {"reference": 2e-3, "onnxruntime": 1e-3}[task.key.runtime] * (1 + 0.002 * (n % 3))
    return Message(task.name, result=once(n, median, [median, median * 1.001] * 150, loads=[150, 150]))


def measured(
    cases: list[Case], answer: Answer, monkeypatch: pytest.MonkeyPatch, file: Path | None = None, **options: Any
) -> tuple[Session, Workers, list[str]]:
    """A session of two cases and their comparison, its workers, and what it reported."""
    budget = options.pop("budget", Budget(percentiles=(50, 90)))
    one = Session(cases, [(cases[0], cases[1])], [], budget, ENVIRONMENT, **options)
    if file:
        one.begin_journal(file)
    workers, lines = Workers(answer), Lines()
    monkeypatch.setattr(module, "run_worker", workers)
    tasks: list[Task] = [*map(CaseTask, cases), PairTask(*cases)]
    one.run(tasks, [], lines)
    return one, workers, lines.lines


def test_a_pilot_then_five_processes_measure_everything(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    one, workers, lines = measured(cases, sound, monkeypatch)
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == [
        *("pilot 1 of 2", "pilot 2 of 2", "pilot", "forecast"),
        *(f"process {n} of 5" for n in (1, 2, 3, 4, 5)),
    ]
    assert [len(job.tasks) for job in workers.jobs] == [3] * 7
    assert [job.process.most_checked for job in workers.jobs] == [None] + [8] * 6, "the first compares all outputs"
    assert [job.again for job in workers.jobs] == [False] * 2 + [True] * 5
    assert [bool(job.process.shares) for job in workers.jobs] == [False] * 2 + [True] * 5
    assert [job.process.level is None for job in workers.jobs] == [True] + [False] * 6
    fastest = min(result.call_seconds for result in one.results[PairTask(*cases).name])
    assert [list(job.process.fastest.values()) for job in workers.jobs] == [[]] * 3 + [[fastest]] * 4
    assert len({job.process.seed for job in workers.jobs}) == 7
    record = one.record()
    assert (record.processes, record.failed, record.left_out) == (5, {}, {})
    assert record.harness_overhead_seconds == 1e-7
    assert [case.valid for case in record.cases] == [True, True]
    (comparison,) = record.comparisons
    assert (comparison.verdict, len(comparison.processes)) == ("faster", 5)
    assert comparison.unpaired_ratio is not None
    assert comparison.unpaired_ratio.value == pytest.approx(2)
    assert record.pilot is not None
    assert list(record.pilot.forecast_half_widths) == ["model reference/onnxruntime batch 1"]
    assert len(one.samples(cases[0])) == 5 * 300


def test_a_quick_session_is_one_process_without_a_pilot(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    one, workers, lines = measured(cases, sound, monkeypatch, budget=Budget(processes=1, quick=True))
    assert lines == ["process 1 of 1: 3"]
    assert (workers.jobs[0].again, workers.jobs[0].process.most_checked) == (False, None)
    assert (workers.jobs[0].peaks, one.record().matrix_products) == ((), ())
    assert one.record().pilot is None
    assert not any(record.valid for record in (*one.record().cases, *one.record().comparisons))


def test_the_first_processes_measure_the_peak_and_the_fastest_counts(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class WithPeaks(Workers):
        def __call__(self, job: Job) -> Iterator[Message]:
            yield from super().__call__(job)
            if job.peaks:
                rate = {1: 90e9, 2: 100e9, 3: 80e9}[job.process.number]
                yield Message(matrix_products=(matrix_product(rate),))

    monkeypatch.setattr("tests.bench.test_session.Workers", WithPeaks)
    one, workers, _ = measured(cases, sound, monkeypatch, file=tmp_path / "bench.json")
    assert [job.peaks for job in workers.jobs] == [()] * 2 + [(1,)] * 3 + [()] * 2
    assert one.record().matrix_products == (matrix_product(100e9),)
    assert one.path is not None
    assert read_bench(one.path, "").matrix_products == (matrix_product(100e9),)


def test_further_processes_replace_what_was_disturbed(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(task: Task, job: Job) -> Message:
        if job.process.number in (2, 4) and isinstance(task, PairTask):
            return Message(task.name, result=pair(job.process.number, 9.0, valid=False, reasons=("noisy",)))
        return sound(task, job)

    one, workers, lines = measured(cases, answer, monkeypatch)
    assert [len(job.tasks) for job in workers.jobs] == [3] * 7 + [1, 1]
    assert lines[-2:] == [f"process {n} of {n}, in place of disturbed ones: 1" for n in (6, 7)]
    (comparison,) = one.record().comparisons
    assert (comparison.valid, len(comparison.processes)) == (True, 7)
    assert comparison.ratio.high < 2.02


def test_a_machine_that_is_never_quiet_is_not_measured_for_ever(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(task: Task, job: Job) -> Message:
        given = sound(task, job).result
        make = pair if isinstance(task, PairTask) else once
        value = given.process.ratio if isinstance(task, PairTask) else given.process.median_seconds
        return Message(task.name, result=make(job.process.number, value, valid=False, reasons=("noisy",)))

    one, workers, _ = measured(cases, answer, monkeypatch)
    assert len(workers.jobs) == 7
    assert {record.reasons[-1] for record in one.record().cases} == {"noisy (in 5 of 5 processes)"}
    assert one.record().comparisons[0].verdict == "withheld"


def test_a_second_result_of_a_process_replaces_its_first(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(Workers):
        def __call__(self, job: Job) -> Iterator[Message]:
            for task in job.tasks:
                bad = pair if isinstance(task, PairTask) else once
                yield Message(task.name, result=bad(job.process.number, 7.0, valid=False, reasons=("noisy",)))
            yield from super().__call__(job)

    one = Session(cases, [(cases[0], cases[1])], [], Budget(percentiles=(50,), processes=1, quick=True), ENVIRONMENT)
    monkeypatch.setattr(module, "run_worker", Twice(sound))
    one.run([*map(CaseTask, cases), PairTask(*cases)], [], Watcher())
    assert [len(record.processes) for record in one.record().cases] == [1, 1]
    assert one.record().comparisons[0].ratio.value == pytest.approx(2.004)


def test_the_precision_decides_on_the_number_of_processes(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(task: Task, job: Job) -> Message:
        n = job.process.number
        return (
            Message(task.name, result=pair(n, 2.0 + 0.1 * (n % 2))) if isinstance(task, PairTask) else sound(task, job)
        )

    one, _, _ = measured(cases, answer, monkeypatch, precision=0.01)
    ratio = one.record().comparisons[0].ratio
    assert one.processes > 10
    assert ratio.high / ratio.low < 1.0203


@pytest.mark.parametrize("short_of_time", [0, 1, 2])
def test_the_pilot_finds_the_lead_in_calls_where_it_has_time(
    short_of_time: int, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its parts are one call after one; with as many, later processes would count calls that are 10 % slower."""

    known: list[dict[str, tuple[int, int]]] = []

    def answer(task: Task, job: Job) -> Message:
        if not isinstance(task, PairTask):
            return sound(task, job)
        known.append(dict(job.process.lead_in))
        once = pair(job.process.number, 2.0)
        calls = 4 * once.process.blocks if len(known) <= short_of_time else once.process.calls
        return Message(task.name, result=replace(once, process=structs.replace(once.process, calls=calls)))

    measured(cases, answer, monkeypatch)
    found = {PairTask(*cases).name: (1, 2)} if short_of_time < 2 else {}
    assert known == [{}, {}, *[found] * 5], "each pilot finds it for itself, the others know it"


def test_what_fails_or_takes_too_long_is_not_tried_again_and_loses_nothing_else(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(task: Task, job: Job) -> Message:
        if isinstance(task, PairTask):
            return Message(task.name, left_out="one round takes an hour")
        return Message(task.name, failed="wrong outputs") if task.key.runtime == "reference" else sound(task, job)

    one, workers, _ = measured(cases, answer, monkeypatch)
    assert [len(job.tasks) for job in workers.jobs] == [3] + [1] * 6
    record = one.record()
    assert record.failed == {"model reference batch 1": "wrong outputs"}
    assert record.left_out == {"model reference/onnxruntime batch 1": "one round takes an hour"}
    assert [case.key.runtime for case in record.cases] == ["onnxruntime"]
    assert record.cases[0].valid
    with pytest.raises(StudyError, match="wrong outputs"):
        one.require("model reference batch 1")
    with pytest.raises(TooSlowError, match="one round takes an hour"):
        one.require("model reference/onnxruntime batch 1")
    one.require("model onnxruntime batch 1")


def test_each_result_is_in_the_journal_at_once(
    cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bench.json"

    def answer(task: Task, job: Job) -> Message:
        if job.process.number == 3 and task.name.endswith("onnxruntime batch 1"):
            raise KeyboardInterrupt
        return sound(task, job)

    with pytest.raises(KeyboardInterrupt):
        measured(cases, answer, monkeypatch, file)
    kept = read_bench(tmp_path / "bench.json.journal", "")
    assert [len(case.processes) for case in kept.cases] == [3, 2]
    assert [len(comparison.processes) for comparison in kept.comparisons] == [2]
    assert not any(case.valid for case in kept.cases)


def test_each_profile_has_a_process_of_its_own_and_one_that_fails_costs_nothing_else(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(task: Task, job: Job) -> Message:
        if not isinstance(task, ProfileTask):
            return sound(task, job)
        if task.key.runtime == "reference":
            return Message(task.name, failed="no profile could be read")
        return Message(task.name, result=ProfileOnce(profile(NOWHERE, "gap", "onnxruntime", [("Gemm_1", "fc", 1e-5)])))

    one = Session(cases, [], [], Budget(percentiles=(50,), processes=1, quick=True), ENVIRONMENT)
    workers = Workers(answer)
    monkeypatch.setattr(module, "run_worker", workers)
    one.run(list(map(CaseTask, cases)), [], Watcher(), profiling=list(map(ProfileTask, cases)))
    assert [len(job.tasks) for job in workers.jobs] == [2, 1, 1]
    record = one.record()
    assert len(record.cases) == 2
    assert [profiled.operators[0].module for profiled in record.profiles] == ["fc"]
    assert record.failed == {"profile, model reference batch 1": "no profile could be read"}
