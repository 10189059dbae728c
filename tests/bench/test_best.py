"""Best against best: which families, which pair, and why the pilot chooses it; processes and engines are fakes."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import session as module
from bench.best import Families, choose, find_families, pilot_seconds
from bench.cases import Case, find_pairs
from bench.sampling import Budget, TooSlowError
from bench.session import Session
from bench.tasks import CaseTask, PairTask, Task
from bench.worker import Job, Message
from study.families import family
from study.record_files import as_json
from tests.bench.builders import ENVIRONMENT, of_weights
from tests.bench.test_records import once, pair
from tests.bench.test_session import Answer, Lines, Workers

TORCH = ("torch", "torch-a", "torch-b")
ONNXRUNTIME = ("onnxruntime", "onnxruntime-c")
Names = tuple[str, ...]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return of_weights(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]]).model


def cases_of(model: Any, *runtimes: str, batch: int = 1) -> list[Case]:
    return [Case(model, name, batch) for name in runtimes]


def named(cases: tuple[Case, ...]) -> Names:
    return tuple(case.runtime for case in cases)


def seconds_of(cases: list[Case], *seconds: float) -> dict[str, float]:
    return {CaseTask(case).name: one for case, one in zip(cases, seconds, strict=True)}


def test_settings_of_torch_and_of_onnxruntime_are_families_and_every_other_runtime_is_its_own() -> None:
    names = ("torch", "torch-compile", "onnxruntime-spinning", "onnx2torch", "openvino", "my.torch:Torch")
    assert [family(name) for name in names] == [
        *("torch", "torch", "onnxruntime", "onnx2torch", "openvino", "my.torch:Torch")
    ]


def test_the_references_family_is_compared_with_each_other_one_where_there_is_a_choice(model: Any) -> None:
    found = find_families([*cases_of(model, *TORCH, *ONNXRUNTIME, "openvino"), *cases_of(model, "torch", batch=8)])
    assert [(named(one.reference), named(one.runtime)) for one in found] == [
        (TORCH, ONNXRUNTIME),
        (TORCH, ("openvino",)),
    ]
    assert found[0].name == "model best of torch/onnxruntime batch 1"
    assert find_families(cases_of(model, "torch", "onnxruntime", "openvino")) == [], "nothing to choose from"
    assert find_families(cases_of(model, *ONNXRUNTIME)) == [], "one family alone"


def test_the_fastest_of_each_is_chosen_and_the_candidates_are_kept_in_their_order(model: Any) -> None:
    cases = cases_of(model, *TORCH, *ONNXRUNTIME)
    (families,) = find_families(cases)
    chosen = choose(families, seconds_of(cases, 5.0, 3.0, 4.0, 1.0, 2.0))
    assert chosen is not None
    assert chosen.pair.name == "model torch-a/onnxruntime batch 1"
    assert [(one.runtime, one.pilot_seconds) for one in chosen.best_of.reference] == [
        *(("torch-a", 3.0), ("torch-b", 4.0), ("torch", 5.0))
    ]
    assert choose(families, seconds_of(cases[:3], 5.0, 3.0, 4.0)) is None, "ONNX Runtime has no result"


def test_a_time_of_the_pilot_is_over_its_sound_processes_and_wrong_outputs_are_no_candidate(model: Any) -> None:
    first, second, third = cases_of(model, *TORCH)
    results = {
        CaseTask(first).name: [once(0, 2e-3), once(1, 8e-3)],
        CaseTask(second).name: [once(0, 2e-3), once(1, 8e-3, valid=False, reasons=("noisy",))],
        CaseTask(third).name: [once(0, 1e-3, output_reasons=("an output is NaN",))],
    }
    found = pilot_seconds(results, [first, second, third, *cases_of(model, "torch-c")])
    assert found == {CaseTask(first).name: pytest.approx(4e-3), CaseTask(second).name: pytest.approx(2e-3)}


# ---- in a session


def measured(cases: list[Case], answer: Answer, monkeypatch: pytest.MonkeyPatch) -> tuple[Session, Workers, list[str]]:
    budget = Budget(percentiles=(50, 90))
    one = Session(cases, find_pairs(cases), [], budget, ENVIRONMENT, families=find_families(cases))
    workers, lines = Workers(answer), Lines()
    monkeypatch.setattr(module, "run_worker", workers)
    one.run([*map(CaseTask, cases), *(PairTask(*pair) for pair in one.pairs)], [], lines, one.families)
    return one, workers, lines.lines


def with_times(**milliseconds: float) -> Answer:
    """Cases with these medians; the pilot's ratios are 100, those of the session about 2."""

    def answer(task: Task, job: Job) -> Message:
        n = job.process.number
        if isinstance(task, PairTask):
            return Message(task.name, result=pair(n, 2.0 * (1 + 0.002 * (n % 3)) if job.process.shares else 100.0))
        median = milliseconds[task.key.runtime.replace("-", "_")] * 1e-3 * (1 + 0.002 * (n % 3))
        return Message(task.name, result=once(n, median, [median, median * 1.001] * 150, loads=[150, 150]))

    return answer


def test_the_chosen_pair_has_a_pilot_of_its_own_and_is_then_measured_like_the_others(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = cases_of(model, "torch", "torch-a", "onnxruntime", "openvino")
    answer = with_times(torch=4, torch_a=2, onnxruntime=1, openvino=3)
    one, workers, lines = measured(cases, answer, monkeypatch)
    assert [len(job.tasks) for job in workers.jobs] == [7] * 2 + [2] * 2 + [9] * 5
    assert lines[2:4] == ["pilot of best against best 1 of 2: 2", "pilot of best against best 2 of 2: 2"]
    chosen = "torch-a/onnxruntime (model batch 1), torch-a/openvino (model batch 1)"
    assert lines[4] == f"best against best, as the pilot shows it: {chosen}"
    record = one.record()
    as_json(record)
    assert record.pilot is not None
    assert (record.pilot.processes, len(record.pilot.forecast_half_widths)) == (4, 5)
    *plain, best, other = record.comparisons
    assert [(pair.reference, pair.key.runtime) for pair in (best, other)] == [
        *(("torch-a", "onnxruntime"), ("torch-a", "openvino"))
    ]
    assert [pair.best_of for pair in plain] == [None] * 3
    assert best.best_of is not None
    assert [candidate.runtime for candidate in best.best_of.reference] == ["torch-a", "torch"]
    assert (best.valid, len(best.processes)) == (True, 5)
    assert best.ratio.high < 2.1, "no ratio of the pilot is in it"
    assert best.unpaired_ratio is not None
    assert best.unpaired_ratio.value == pytest.approx(2)
    for families in one.families:
        one.require_best(families)


def test_a_pair_that_is_measured_anyway_is_marked(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = with_times(torch=2, torch_a=4, onnxruntime=1)
    one, workers, _ = measured(cases_of(model, "torch", "torch-a", "onnxruntime"), answer, monkeypatch)
    assert [len(job.tasks) for job in workers.jobs] == [5] * 7
    found = {pair.key.runtime: pair.best_of for pair in one.record().comparisons}
    assert found["torch-a"] is None
    assert found["onnxruntime"] is not None
    assert [candidate.runtime for candidate in found["onnxruntime"].runtime] == ["onnxruntime"]


def test_without_a_result_of_an_engine_nothing_is_chosen(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = with_times(torch=2, torch_a=4)

    def answer(task: Task, job: Job) -> Message:
        return Message(task.name, failed="no file") if task.key.runtime == "onnxruntime" else sound(task, job)

    one, _, _ = measured(cases_of(model, "torch", "torch-a", "onnxruntime"), answer, monkeypatch)
    name = "model best of torch/onnxruntime batch 1"
    assert one.record().left_out == {name: "an engine has no result in the pilot"}
    with pytest.raises(TooSlowError):
        one.require_best(one.families[0])


# ---- why the pilot chooses


def best_ratio(families: Families, chosen_by: dict[str, float], measured_in: dict[str, float]) -> float:
    """Logarithm of the ratio of the two that are the fastest in one measurement, by another one's times."""
    chosen = choose(families, chosen_by)
    assert chosen is not None
    reference, runtime = (CaseTask(case).name for case in (chosen.pair.reference, chosen.pair.runtime))
    return float(np.log(measured_in[reference] / measured_in[runtime]))


def test_of_equal_engines_the_best_differ_by_nothing_but_would_if_the_same_data_chose_them(model: Any) -> None:
    """Six settings of torch and two of ONNX Runtime, all of the same speed, with a noise of 1 %, 2000 sessions.

    The least of six normal numbers lies 1.267 standard deviations below the mean, of two 0.564 (Harter, Biometrika 48,
    1961): chosen on the data that judge them, torch looks 0.70 % faster than an equal engine.
    """
    cases = cases_of(model, "torch", *(f"torch-{n}" for n in range(5)), *ONNXRUNTIME)
    (families,) = find_families(cases)
    generator, noise = np.random.default_rng(0), 0.01
    ratios = defaultdict(list)
    for _ in range(2000):
        pilot, session = (seconds_of(cases, *np.exp(generator.normal(0, noise, len(cases)))) for _ in range(2))
        ratios["as it is"].append(best_ratio(families, pilot, session))
        ratios["same data"].append(best_ratio(families, session, session))
    mean = {name: np.mean(logs) for name, logs in ratios.items()}
    error = {name: np.std(logs, ddof=1) / np.sqrt(len(logs)) for name, logs in ratios.items()}
    assert abs(mean["as it is"]) < 3 * error["as it is"]
    assert mean["same data"] == pytest.approx(-(1.267 - 0.564) * noise, abs=3 * error["same data"])
