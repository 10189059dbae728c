"""The records of a measurement: numbers worked out by hand, and every reason why it is not valid."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench import measure, models
from bench.cases import Case
from bench.pairing import Paired
from bench.records import case_record, comparison_record, drift
from bench.sampling import Budget, WarmUp
from study.artifacts import as_json
from study.onnx_given import Given
from study.records.base import Interval, Parity
from study.records.bench import CaseRecord, ComparisonRecord, Controls, PairSettings
from tests.bench.test_interference import QUIET, disturbed
from tests.support.study import write_model

STEADY = [1e-3] * 1000
WARM = WarmUp(calls=16, seconds=0.5, stable=True, call_seconds=1e-3)
RESTLESS = replace(WARM, stable=False, seconds=5.04)
PARITY = Parity(images=8, max_abs_difference=1e-7, argmax_mismatches=0, against="torch")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A user's model, y = W x for four inputs."""
    return of_weights(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]])


def of_weights(folder: Path, weights: Sequence[Sequence[float]]) -> Case:
    write_model(folder / "model.onnx", {"fc": np.array(weights, np.float32)})
    return Case(models.from_file(folder / "model.onnx", Given({"image": (1, 4)})), "onnxruntime", 1)


def record_of(case: Case, samples: Sequence[float] = STEADY, **changes: Any) -> CaseRecord:
    record = case_record(
        case,
        case.model.pool(1),
        samples,
        **{
            "budget": Budget(),
            "warm_ups": [WARM] * 6,
            "settings": [{"threads": 1, "n": n} for n in range(5)],
            "parity": PARITY,
            "seen": QUIET,
            "calibration_seconds": 2e-4,
            "overhead_seconds": 1e-7,
            **changes,
        },
    )
    as_json(record)  # raises unless every value is what its field allows, and of Python's own types
    return record


# ---- drift


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


# ---- reasons


def over(*values: float) -> list[float]:
    """1,002 samples that take these values in turns."""
    return list(itertools.islice(itertools.cycle(values), 1002))


def half_and_half(first: float, last: float) -> list[float]:
    return [first] * 500 + [last] * 500


ONE_MS = [1e-3]
MEDIAN_ALONE = {"budget": Budget(percentiles=(50,))}
P999 = {"budget": Budget(percentiles=(99.9, 50))}
REASONS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"budget": Budget(quick=True), "samples": ONE_MS * 70},
        {},
        "a quick run: 70 samples are only a smoke test; leave out --quick",
    ),
    (
        {"samples": ONE_MS * 661},
        {"samples": ONE_MS * 662},
        "too few samples: 661 do not give p99; give --seconds 4",
    ),
    (
        {"samples": ONE_MS * 6635, **P999},
        {"samples": ONE_MS * 6636, **P999},
        "too few samples: 6635 do not give p99.9; give --seconds 4",
    ),
    (
        {
            "samples": [2.0] * 10,
            **MEDIAN_ALONE,
            "warm_ups": [replace(WARM, enough=False, stable=False, call_seconds=2.0)],
        },
        {"samples": [2.0] * 10, **MEDIAN_ALONE},
        "the warm-up was too short to show a stable latency; give --seconds 19",  # for 64 calls of 2 s
    ),
    (
        {"samples": [2.0] * 5, **MEDIAN_ALONE},
        {"samples": [2.0] * 6, **MEDIAN_ALONE},
        "too few samples: 5 do not give p50; give --seconds 4",
    ),
    (
        {"warm_ups": [WARM, RESTLESS, WARM]},
        {"warm_ups": [WARM, replace(RESTLESS, stable=True), WARM]},
        "latency was still changing after 5.0 s of warm-up: let the machine rest",
    ),
    (
        {"settings": [{"threads": 1}, {"threads": 3}, {"threads": 1}]},
        {},
        "3 threads read back instead of 1: keep other code from setting them",
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
        {"overhead_seconds": 60e-6},
        {"overhead_seconds": 49e-6},
        "the harness overhead is 6.0% of the median: measure a larger batch",
    ),
    (
        {"seen": disturbed(other_share=0.49)},
        {"seen": disturbed(other_cores=None, steal_share=None, load_before=None, clock_disagreement=None)},
        "other processes used 0.98 cores: stop them, or measure on an idle machine",
    ),
]


def test_each_reason_appears_exactly_beyond_its_limit(case: Case) -> None:
    for changes, enough, reason in REASONS:
        invalid = record_of(case, **changes)
        assert (invalid.valid, invalid.processes[0].valid, invalid.reasons) == (False, False, (reason,))
        assert invalid.quick == ("a quick run" in reason)
        valid = record_of(case, **enough)
        assert (valid.valid, valid.processes[0].valid, valid.reasons) == (True, True, ())


def test_a_drift_that_may_be_chance_is_no_reason(case: Case) -> None:
    low, high = [1e-3] * 166 + [1.1e-3] * 168, [1e-3] * 168 + [1.1e-3] * 166
    record = record_of(case, high + low + low)
    assert record.drift == pytest.approx(0.1)
    assert record.reasons == ()


def test_subnormal_weights_are_a_reason(tmp_path: Path) -> None:
    record = record_of(of_weights(tmp_path, [[1e-40, 0, 3, -1e-39], [1, 2, 3, 1e-37]]))
    assert record.subnormal_weights == 2
    assert record.reasons == ("2 weights are subnormal, which slows some processors down 100-fold: set them to 0",)


def test_all_reasons_are_given(case: Case) -> None:
    record = record_of(
        case,
        half_and_half(1e-3, 2e-3),
        budget=Budget(quick=True),
        warm_ups=[RESTLESS],
        settings=[{"threads": 2}],
        overhead_seconds=1,
    )
    assert [reason.split()[0] for reason in record.reasons] == ["a", "latency", "2", "latency", "the", "the"]


# ---- the record of a case


def test_of_fewer_than_six_samples_the_interval_is_that_between_the_extremes(case: Case) -> None:
    record = record_of(case, [3.0, 1.0, 2.0], settings=[{"threads": 1}])
    assert record.median_seconds == Interval(value=2, low=1, high=3)
    assert (record.p90_seconds, record.valid) == (None, False)


def test_the_numbers_of_a_case_by_hand(case: Case) -> None:
    # five loads of 200 calls; the first a tenth slower than the others, and the calls of a load alike
    record = record_of(replace(case, batch=32), [1.1e-3] * 200 + [1e-3] * 800)
    assert record.load_medians_seconds == (1.1e-3, 1e-3, 1e-3, 1e-3, 1e-3)
    one_ms = Interval(value=1e-3, low=1e-3, high=1e-3)
    assert (record.samples, record.median_seconds) == (1000, one_ms)
    assert record.p90_seconds is not None
    assert record.p90_seconds.value == 1.1e-3
    assert record.p99_seconds == Interval(value=1.1e-3, low=1.1e-3, high=1.1e-3)
    assert record.p999_seconds is None
    assert record.images_per_second == pytest.approx(32_000)
    assert record.drift == pytest.approx(1 / 1.1 - 1)
    assert record.spread == 0
    assert (record.warmup.calls, record.warmup.seconds, record.warmup.stable) == (6 * 16, 3, True)
    assert [process.median_seconds for process in record.processes] == [one_ms]
    assert record.between_spread is None
    assert (record.parameters, record.subnormal_weights) == (8, 0)
    assert record.settings == {"threads": 1, "n": 4}
    assert (record.parity, record.yardstick_seconds, record.input_shapes) == (PARITY, 2e-4, {"image": (1, 4)})


@pytest.mark.parametrize("calls", [12, 662])
def test_each_load_has_the_median_of_its_own_calls(calls: int, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of a load take as many seconds as there were loads before; 12 is no multiple of five."""
    opened = itertools.count()

    @contextmanager
    def load(case: Case, pool: Any) -> Iterator[Any]:
        n = next(opened)  # load 0 is only compared and warmed up
        runtime = SimpleNamespace(context=nullcontext, settings=lambda: {"threads": 1, "load": n})
        inputs = itertools.repeat(None)
        yield SimpleNamespace(runtime=runtime, outputs=lambda _: [], once=None, call=lambda _: float(n), inputs=inputs)

    monkeypatch.setattr(measure, "opened", load)
    monkeypatch.setattr(measure, "parity", lambda engine, found, wanted: (None, []))
    monkeypatch.setattr(measure, "warm_up", lambda once, **_: replace(WARM, call_seconds=2 / calls))
    budget = Budget(percentiles=(50,))
    record = measure.latency(case, budget, None, lambda given, n: [call(x) for call, x in islice(given, n)])
    assert record.samples == calls
    assert record.load_medians_seconds == (1, 2, 3, 4, 5)
    assert record.settings["load"] == 5
    assert record.warmup.calls == 6 * WARM.calls


# ---- the record of a comparison

FOUND = Paired(
    Interval(value=1.5, low=1.45, high=1.55),
    Controls(
        reference=Interval(value=1.0, low=0.99, high=1.01),
        runtime=Interval(value=1.001, low=0.995, high=1.02),
    ),
    rounds=20,
    blocks=200,
    calls=4000,
)


def compared(case: Case, **changes: Any) -> ComparisonRecord:
    record = comparison_record(
        replace(case, runtime="torch"),
        case,
        **{
            "paired": FOUND,
            "budget": Budget(),
            "warm_ups": [WARM, WARM],
            "settings": PairSettings(reference={"threads": 1}, runtime={"threads": 1}),
            "seen": QUIET,
            "seed": 7,
            "overhead_seconds": None,
            **changes,
        },
    )
    as_json(record)
    return record


def test_the_record_of_a_comparison(case: Case) -> None:
    record = compared(case)
    assert (record.reference, record.key.runtime, record.random_seed) == ("torch", "onnxruntime", 7)
    assert (record.rounds, record.blocks, record.calls, record.controls) == (20, 200, 4000, FOUND.controls)
    assert record.noise_floor == pytest.approx(0.02)
    (process,) = record.processes
    assert (
        (process.ratio, process.noise_floor) == (record.ratio, record.noise_floor) == (FOUND.ratio, FOUND.noise_floor)
    )
    assert (record.verdict, record.valid, record.reasons) == ("faster", True, ())
    slower = compared(case, paired=replace(FOUND, ratio=Interval(value=0.9, low=0.88, high=0.92)))
    assert slower.verdict == "slower"
    within_the_floor = compared(case, paired=replace(FOUND, ratio=Interval(value=1.01, low=1.005, high=1.015)))
    assert within_the_floor.verdict == "no difference shown"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"budget": Budget(quick=True), "paired": replace(FOUND, rounds=3)},
            "a quick run: 3 rounds are only a smoke test; leave out --quick",
        ),
        ({"warm_ups": [WARM, RESTLESS]}, "latency was still changing after 5.0 s of warm-up: let the machine rest"),
        (
            {"warm_ups": [replace(WARM, call_seconds=2.0)] * 2, "paired": replace(FOUND, rounds=19)},
            "too few rounds: 19 instead of 20; give --seconds 45",  # for 80 calls of 4 s together
        ),
        ({"seen": disturbed(steal_share=0.125)}, "the host gave 12.5% of the CPU time to other virtual machines"),
        ({"overhead_seconds": 60e-6}, "the harness overhead is 6.0% of the median"),
    ],
)
def test_an_invalid_comparison_withholds_its_verdict(changes: dict[str, Any], reason: str, case: Case) -> None:
    record = compared(case, **changes)
    assert (record.verdict, record.valid) == ("withheld", False)
    assert record.quick == ("a quick run" in reason)
    (only,) = record.reasons
    assert only.startswith(reason)
