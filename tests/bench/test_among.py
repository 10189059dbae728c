"""A case is loaded among the engines that a comparison would load."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.among import beside, opened_among
from bench.cases import Case
from bench.measure import LARGE_BYTES, Process, latency, loaded_alone
from bench.parity import Expected
from bench.runtimes.onnx_runtime import ONNXRuntime
from bench.sampling import Budget
from tests.bench.builders import of_weights


class Noted(ONNXRuntime):
    """Notes what happens to each of its loads."""

    events: ClassVar[list[str]] = []
    numbers: ClassVar[list[int]] = []
    """Of the loads that were called."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.number = self.events.count("loaded")
        self.events.append("loaded")

    def run(self, inputs: Any) -> Any:
        self.events.append("called")
        self.numbers.append(self.number)
        return super().run(inputs)

    def close(self) -> None:
        super().close()
        self.events.append("closed")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    Noted.events.clear()
    return replace(of_weights(tmp_path, [[1.0, 2.0, 3.0, 4.0]]), runtime=f"{__name__}:Noted")


def test_the_others_are_loaded_before_or_after_it_and_stay_uncalled_until_its_end(case: Case) -> None:
    orders = set()
    for seed in range(20):
        Noted.events.clear()
        others = [replace(case, runtime="onnxruntime"), replace(case, runtime="onnxruntime")]
        with opened_among(case, [case, *others], case.model.pool(1), np.random.default_rng(seed)) as engine:
            engine.once()
        assert Noted.events == ["loaded", "loaded", "called", "closed", "closed"]
        orders.add(Noted.numbers[-1])
    assert len(orders) == 2, "it is the first load of its engine, or the second"


def test_no_other_is_loaded_after_a_tenth_of_a_second(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.among.SECONDS", -1)
    with opened_among(case, [case] * 3, case.model.pool(1), np.random.default_rng(0)) as engine:
        engine.once()
    assert Noted.events == ["loaded", "called", "closed"]


def test_beside_a_case_are_the_engines_of_a_comparison(case: Case) -> None:
    """(What a comparison loads is in bench/measure.py: each engine twice.)"""
    assert beside(case, None) == [replace(case, against=())]
    assert [one.runtime for one in beside(case, Expected("torch", []))] == [case.runtime, "torch", "torch"]


def test_a_case_has_a_second_load_beside_it_but_not_one_of_several_threads_or_of_a_large_file(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(case: Case) -> int:
        Noted.events.clear()
        once = latency(case, Process(1, Budget(seconds=0.05), seed=5))
        return Noted.events.count("loaded") - len(once.loads)

    assert loads(case) > 0
    assert loaded_alone(replace(case, threads=2))
    monkeypatch.setattr("bench.measure.LARGE_BYTES", case.model.facts.bytes - 1)
    assert case.model.facts.bytes < LARGE_BYTES
    assert loads(case) == 0
