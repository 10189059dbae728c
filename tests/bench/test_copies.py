"""A case is loaded behind copies of its engine, which are gone before it is called."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.cases import Case
from bench.copies import COPIES, opened_among_copies
from bench.measure import LARGE_BYTES, Process, latency, loaded_alone
from bench.runtimes.onnx_runtime import ONNXRuntime
from bench.sampling import Budget
from tests.bench.builders import of_weights


class Noted(ONNXRuntime):
    """Notes what happens to each of its loads."""

    events: ClassVar[list[str]] = []

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.events.append("loaded")

    def run(self, inputs: Any) -> Any:
        self.events.append("called")
        return super().run(inputs)

    def close(self) -> None:
        super().close()
        self.events.append("closed")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    Noted.events.clear()
    return replace(of_weights(tmp_path, [[1.0, 2.0, 3.0, 4.0]]), runtime=f"{__name__}:Noted")


def test_up_to_three_copies_are_loaded_before_it_and_closed_before_it_is_called(case: Case) -> None:
    numbers = set()
    for seed in range(30):
        Noted.events.clear()
        with opened_among_copies(case, case.model.pool(1), np.random.default_rng(seed)) as engine:
            engine.once()
        copies = Noted.events.count("loaded") - 1
        assert Noted.events == ["loaded"] * (copies + 1) + ["closed"] * copies + ["called", "closed"]
        numbers.add(copies)
    assert numbers == set(range(COPIES + 1))


def test_a_case_has_copies_but_not_one_of_several_threads_or_of_a_large_file(
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
