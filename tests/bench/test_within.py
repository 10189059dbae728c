"""A measurement in one process: numbers worked out by hand, and every reason why it is not valid."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench import measure
from bench.cases import Case
from bench.measure import Process
from bench.sampling import Budget, WarmUp
from bench.statistics.pilot import Shares
from bench.within import case_process, comparison_process, drift
from study.record_files import as_json
from study.records.bench import Calibration, CaseProcess, ControlsOnce
from tests.bench.builders import of_weights
from tests.bench.machine.test_interference import QUIET, disturbed

STEADY = [1e-3] * 1000
WARM = WarmUp(calls=16, seconds=0.5, stable=True, call_seconds=1e-3)
SHORT = replace(WARM, enough=False, stable=False, call_seconds=2.0)
RESTLESS = replace(WARM, stable=False, seconds=5.04)
SPEED = Calibration(arithmetic_seconds=1e-4, memory_seconds=4e-4)


def process_of(samples: Sequence[float] = STEADY, **changes: Any) -> CaseProcess:
    given = {
        "loads": [len(samples)],
        "warm_up": WARM,
        "seen": QUIET,
        "speed": SPEED,
        "threads": 1,
        "budget": Budget(),
        **changes,
    }
    record = case_process(2, samples, **given)
    as_json(record)  # raises unless every value is what its field allows, and of Python's own types
    return record


@pytest.mark.parametrize(
    ("samples", "change"),
    [
        ([1.0] * 30 + [5.0] * 30 + [1.06] * 30, 0.06),  # the middle third does not count
        ([1.0] * 30 + [5.0] * 30 + [0.5] * 30, -0.5),
        ([1.0, 2.0], 1),
        ([3.0], 0),
    ],
)
def test_drift_is_the_last_third_over_the_first(samples: list[float], change: float) -> None:
    assert drift(samples)[0] == pytest.approx(change)


def test_whether_a_drift_is_chance_depends_on_ranks() -> None:
    assert not drift([1.0] * 30 + [1.06] * 60)[1]
    # the same numbers in both thirds, except for one on either side of the middle
    change, by_chance = drift([1.0] * 16 + [1.1] * 15 + [1.0] * 31 + [1.0] * 15 + [1.1] * 16)
    assert change == pytest.approx(0.1)
    assert by_chance
    # three samples a side can be in order by chance
    assert drift([1.0, 1.1, 1.2] * 2 + [1.3, 1.4, 1.5])[1]
    assert drift([1.0] * 90) == (0, True)


def test_the_numbers_of_a_process_by_hand() -> None:
    # the first of three loads a tenth slower than the others, and the calls of a load alike
    record = process_of([1.1e-3] * 200 + [1e-3] * 800, loads=[200, 300, 500])
    assert record.load_medians_seconds == (1.1e-3, 1e-3, 1e-3)
    assert (record.process, record.samples, record.median_seconds, record.p90_seconds) == (2, 1000, 1e-3, 1.1e-3)
    assert record.drift == pytest.approx(1 / 1.1 - 1)
    assert record.spread == 0
    assert (record.warmup.calls, record.warmup.seconds, record.warmup.stable) == (16, 0.5, True)
    assert record.calibration == SPEED
    assert (record.machine, record.cores_used) == (QUIET.machine, QUIET.cores_used)


# ---- reasons


def over(*values: float) -> list[float]:
    """1,002 samples that take these values in turns."""
    return list(itertools.islice(itertools.cycle(values), 1002))


def half_and_half(first: float, last: float) -> list[float]:
    return [first] * 500 + [last] * 500


REASONS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"warm_up": SHORT},
        {"warm_up": SHORT, "budget": Budget(quick=True)},
        "the warm-up was too short to show a stable latency; give --seconds 10",  # for 64 calls of 2 s
    ),
    (
        {"warm_up": RESTLESS},
        {},
        "latency was still changing after 5.0 s of warm-up: let the machine rest",
    ),
    (
        {"samples": half_and_half(1e-3, 1.06e-3)},
        {"samples": half_and_half(1e-3, 1.04e-3)},
        "latency drifted by +6.0%: let the machine rest, then measure again",
    ),
    (
        {"samples": half_and_half(1e-3, 0.94e-3)},
        {"samples": half_and_half(1e-3, 0.96e-3)},
        "latency drifted by -6.0%: let the machine rest, then measure again",
    ),
    (
        {"samples": over(0.85e-3, 0.85e-3, 1e-3, 1e-3, 1.15e-3, 1.15e-3)},
        {"samples": over(0.9e-3, 0.9e-3, 1e-3, 1e-3, 1.1e-3, 1.1e-3)},
        "the interquartile range is 30% of the median: stop other programs",
    ),
    (
        {"seen": disturbed(steal_share=0.125)},
        {},
        "the host gave 12.5% of the CPU time to other virtual machines: measure when it is idle",
    ),
]


def test_each_reason_appears_exactly_beyond_its_limit() -> None:
    for changes, enough, reason in REASONS:
        assert process_of(**changes).reasons == (reason,)
        assert not process_of(**changes).valid
        assert (process_of(**enough).valid, process_of(**enough).reasons) == (True, ())


def test_a_drift_that_may_be_chance_is_no_reason() -> None:
    low, high = [1e-3] * 166 + [1.1e-3] * 168, [1e-3] * 168 + [1.1e-3] * 166
    record = process_of(high + low + low)
    assert record.drift == pytest.approx(0.1)
    assert record.reasons == ()


def test_a_comparison_has_the_reasons_of_its_blocks_and_of_the_machine() -> None:
    paired: Any = SimpleNamespace(
        ratio=1.5,
        controls=ControlsOnce(reference=1.0, runtime=1.001),
        rounds=5,
        blocks=20,
        full_speed_blocks=3,
        calls=400,
        engine_seconds=(3e-3, 2e-3),
        calibration=SPEED,
        reasons=("two speeds",),
    )
    record = comparison_process(3, paired, disturbed(steal_share=0.125), 1, 7)
    as_json(record)
    assert [reason.split()[0] for reason in record.reasons] == ["two", "the"]
    assert (record.process, record.ratio, record.full_speed_blocks, record.random_seed) == (3, 1.5, 3, 7)
    assert (record.reference_seconds, record.runtime_seconds) == (3e-3, 2e-3)
    assert not record.valid


# ---- loads


@pytest.mark.parametrize(("calls", "loads"), [(3, 5), (200, 3)])
def test_each_load_has_the_median_of_its_own_calls(
    calls: int, loads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load answers with its number."""
    case: Case = of_weights(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]])
    opened = itertools.count()

    @contextmanager
    def load(case: Case, pool: Any, *_: Any) -> Iterator[Any]:
        n = next(opened) + 1
        runtime = SimpleNamespace(context=nullcontext, settings=lambda: {"threads": 1, "load": n})
        inputs = itertools.repeat(None)
        yield SimpleNamespace(runtime=runtime, outputs=lambda *_: [], once=lambda: None, call=n, inputs=inputs)

    monkeypatch.setattr(measure, "opened_among", load)
    monkeypatch.setattr(measure, "expected", lambda *_: None)
    monkeypatch.setattr(measure, "parity", lambda engine, found, wanted, **_: (None, []))
    monkeypatch.setattr(measure, "warm_up", lambda once, *_, **__: WARM)
    monkeypatch.setattr(measure, "timed", lambda call, inputs, number, *_: ([float(call)] * number, [SPEED]))
    budget = Budget(seconds=10, percentiles=(50,), processes=1)
    shares = {"model onnxruntime batch 1": Shares(calls, loads)}
    once = measure.latency(case, Process(1, budget, 7, shares=shares))
    assert len(once.samples) == calls * loads
    assert once.process.load_medians_seconds == tuple(range(1, loads + 1))
    assert once.loads == [calls] * loads
    assert once.settings["load"] == loads
    assert np.isfinite(once.load_seconds)
