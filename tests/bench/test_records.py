"""The records of a session: what processes come to together, and every reason why that is not valid."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as changed

from bench.cases import Case
from bench.measure import CaseOnce, PairOnce
from bench.records import case_record, comparison_record, judged
from bench.sampling import Budget
from study.record_files import as_json
from study.records.base import Interval, Parity
from study.records.bench import AfterSwitch, Calibration, CaseRecord, ComparisonRecord, ControlsOnce, PairSettings
from tests.bench.builders import of_weights
from tests.support import records

PARITY = Parity(images=8, max_abs_difference=1e-7, argmax_mismatches=0, against="torch")
ALL = Parity(images=1024, max_abs_difference=1e-6, argmax_mismatches=0, against="torch")
MEDIANS = (1.0e-3, 1.02e-3, 0.99e-3, 1.01e-3, 0.98e-3)
RATIOS = (1.50, 1.52, 1.49, 1.51, 1.48)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A user's model, y = W x for four inputs."""
    return of_weights(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]])


def once(number: int, median: float, samples: Sequence[float] | None = None, **changes: Any) -> CaseOnce:
    """A case in one process, in 300 calls if none are given."""
    of_process = {name: changes.pop(name) for name in ("valid", "reasons", "calibration") if name in changes}
    made = CaseOnce(
        process=records.case_process(number, median, **of_process),
        samples=samples or [median] * 300,
        parity=PARITY,
        output_reasons=(),
        settings={"threads": 1, "process": number},
        threads_read_back=1,
        inputs_sha256="a" * 64,
        input_shapes={"image": (1, 4)},
        loads=[200],
        load_seconds=0.1,
        seconds=1.0,
    )
    return replace(made, **changes)


def of(medians: Sequence[float], **changes: Any) -> list[CaseOnce]:
    return [once(n, median, **changes) for n, median in enumerate(medians, 1)]


def record_of(
    case: Case, results: Sequence[CaseOnce], budget: Budget | None = None, overhead: float = 1e-7
) -> CaseRecord:
    record = case_record(case, judged(results), budget or Budget(), overhead)
    as_json(record)  # raises unless every value is what its field allows, and of Python's own types
    return record


def pair(number: int, ratio: float, **changes: Any) -> PairOnce:
    """A comparison in one process."""
    of_process = {
        name: changes.pop(name) for name in ("valid", "reasons", "calibration", "controls") if name in changes
    }
    made = PairOnce(
        process=records.comparison_process(number, ratio, **of_process),
        after_switch=(
            AfterSwitch(lead_in_calls=number, effects=(0.1 * number, 0.01)),
            AfterSwitch(lead_in_calls=2, effects=(0.2,)),
        ),
        settings=PairSettings(reference={"threads": 1}, runtime={"threads": 1}),
        call_seconds=1e-3,
        fastest_call_seconds=1e-3,
        log_ratios=[np.zeros(2)],
        block_seconds=0.01,
        load_seconds=0.1,
        seconds=1.0,
    )
    return replace(made, **changes)


def of_pairs(ratios: Sequence[float] = RATIOS, **changes: Any) -> list[PairOnce]:
    return [pair(n, ratio, **changes) for n, ratio in enumerate(ratios, 1)]


def compared(case: Case, results: Sequence[PairOnce], *cases: CaseRecord, **changes: Any) -> ComparisonRecord:
    given = {"budget": Budget(), "overhead_seconds": 1e-7, "margin": 0.02, **changes}
    record = comparison_record(replace(case, runtime="torch"), case, judged(results), **given, cases=cases)
    as_json(record)
    return record


# ---- a case


def test_the_numbers_of_a_case_by_hand(case: Case) -> None:
    record = record_of(replace(case, batch=32), of(MEDIANS))
    # logarithms of 1, 1.02, 0.99, 1.01, 0.98: mean -1.0008e-4, sd 0.015815; t(0.975, 4) = 2.7764
    assert record.median_seconds.value == pytest.approx(0.99990e-3, rel=1e-5)
    assert record.median_seconds.low == pytest.approx(0.98047e-3, rel=1e-4)
    assert record.median_seconds.high == pytest.approx(1.01972e-3, rel=1e-4)
    assert record.samples == 1500
    assert record.p99_seconds is not None
    assert record.p99_seconds.value == pytest.approx(1.02e-3)
    assert record.p999_seconds is None
    assert record.images_per_second_at_median == pytest.approx(32 / record.median_seconds.value)
    assert (record.parameters, record.subnormal_weights, record.input_shapes) == (8, 0, {"image": (1, 4)})
    assert [one.process for one in record.processes] == [1, 2, 3, 4, 5]
    assert (record.valid, record.reasons) == (True, ())


def test_the_parity_is_that_of_the_process_that_compared_most(case: Case) -> None:
    results = of(MEDIANS)
    assert record_of(case, [replace(results[0], parity=ALL), *results[1:]]).parity == ALL
    assert record_of(case, [replace(one, parity=None) for one in results]).parity is None


def test_a_process_that_was_disturbed_does_not_count_where_five_others_are_valid(case: Case) -> None:
    disturbed = once(6, 5e-3, valid=False, reasons=("noisy",))
    record = record_of(case, [*of(MEDIANS), disturbed])
    assert (record.valid, record.reasons, record.samples) == (True, (), 1500)
    assert record.median_seconds == record_of(case, of(MEDIANS)).median_seconds
    assert [one.valid for one in record.processes] == [True] * 5 + [False]


def test_a_process_at_half_the_speed_of_the_others_does_not_count(case: Case) -> None:
    """By its calls, and by its calibration."""
    slow = Calibration(arithmetic_seconds=1.0, memory_seconds=1.0)
    for sixth in (once(6, 1.8e-3), once(6, 1e-3, calibration=slow)):
        record = record_of(case, [*of(MEDIANS), sixth])
        assert [one.valid for one in record.processes] == [True] * 5 + [False]
        assert "the machine ran at two speeds" in record.processes[-1].reasons[0]
        assert record.median_seconds == record_of(case, of(MEDIANS)).median_seconds


def test_of_a_single_process_the_interval_is_that_between_the_extremes(case: Case) -> None:
    record = record_of(case, [once(1, 2.0, [3.0, 1.0, 2.0])], Budget(quick=True))
    assert record.median_seconds == Interval(value=2, low=1, high=3)
    assert (record.p90_seconds, record.valid, record.quick) == (None, False, True)
    assert record.reasons == ("a quick run: one short process is only a smoke test; leave out --quick",)


NOISY: dict[str, Any] = {"valid": False, "reasons": ("the host gave 3.0% of the CPU time",)}
REASONS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"results": of([1e-3] * 5, samples=[1e-3] * 25)},
        {"results": of([1e-3] * 5, samples=[1e-3] * 26)},
        "too few samples: 125 do not give p95; give --seconds 2",
    ),
    (
        {"results": of([1e-3] * 5, samples=[1e-3] * 1327), "budget": Budget(percentiles=(99.9, 50))},
        {"results": of([1e-3] * 5, samples=[1e-3] * 1328), "budget": Budget(percentiles=(99.9, 50))},
        "too few samples: 6635 do not give p99.9; give --seconds 2",
    ),
    (
        {"results": of([1e-3] * 4)},
        {},
        "4 valid processes are too few, expected 5: measure again on an idle machine",
    ),
    (
        {"results": [*of([1e-3] * 4), once(5, 1e-3, threads_read_back=3)]},
        {},
        "3 threads read back instead of 1: keep other code from setting them",
    ),
    (
        {"results": of([1e-3] * 5, output_reasons=("output 'y' has NaN",))},
        {},
        "output 'y' has NaN",
    ),
    ({"overhead": 60e-6}, {"overhead": 49e-6}, "the harness overhead is 6.0% of the median: measure a larger batch"),
]


def test_each_reason_appears_exactly_beyond_its_limit(case: Case) -> None:
    steady = {"results": of([1e-3] * 5)}
    for changes, enough, reason in REASONS:
        assert record_of(case, **(steady | changes)).reasons == (reason,)
        assert (record_of(case, **(steady | enough)).valid, record_of(case, **(steady | enough)).reasons) == (True, ())


def test_the_reasons_of_processes_are_given_once_with_their_number(case: Case) -> None:
    other: dict[str, Any] = {"valid": False, "reasons": ("the host gave 7.5% of the CPU time", "noisy")}
    record = record_of(case, [*of([1e-3] * 3), once(4, 1e-3, **NOISY), once(5, 1e-3, **other)])
    assert record.reasons == (
        "3 valid processes are too few, expected 5: measure again on an idle machine",
        "the host gave 3.0% of the CPU time (in 2 of 5 processes)",
        "noisy (in 1 of 5 processes)",
    )


def test_subnormal_weights_are_a_reason(tmp_path: Path) -> None:
    record = record_of(of_weights(tmp_path, [[1e-40, 0, 3, -1e-39], [1, 2, 3, 1e-37]]), of(MEDIANS))
    assert record.subnormal_weights == 2
    assert record.reasons == ("2 weights are subnormal, which slows some processors down 100-fold: set them to 0",)


# ---- a comparison


def test_the_numbers_of_a_comparison_by_hand(case: Case) -> None:
    record = compared(case, of_pairs())
    # logarithms of 1.5, 1.52, 1.49, 1.51, 1.48: mean 0.405421, sd 0.010541
    assert record.ratio.value == pytest.approx(1.499933, rel=1e-6)
    assert record.ratio.low == pytest.approx(1.480429, rel=1e-5)
    assert record.ratio.high == pytest.approx(1.519694, rel=1e-5)
    assert (record.reference, record.key.runtime, record.margin, record.verdict) == (
        "torch",
        "onnxruntime",
        0.02,
        "faster",
    )
    assert record.controls.reference.value == pytest.approx(1.001)
    assert record.after_switch_reference.lead_in_calls == 5
    assert record.after_switch_reference.effects == pytest.approx((0.3, 0.01))
    assert record.after_switch_runtime == AfterSwitch(lead_in_calls=2, effects=(0.2,))
    assert [one.random_seed for one in record.processes] == [1, 2, 3, 4, 5]
    assert record.unpaired_ratio is None


def test_the_unpaired_ratio_is_that_of_the_two_cases_in_each_process(case: Case) -> None:
    torch = changed(
        record_of(case, of([3e-3, 3.06e-3, 2.97e-3, 3.03e-3, 2.94e-3])), key=replace(case, runtime="torch").key
    )
    record = compared(case, of_pairs([3.0, 3.01, 2.99, 3.0, 3.0]), record_of(case, of(MEDIANS)), torch)
    assert record.unpaired_ratio is not None
    assert record.unpaired_ratio.value == pytest.approx(3)
    assert record.unpaired_ratio.high == pytest.approx(3), "each process has a ratio of 3"
    assert record.valid


def test_a_contradiction_of_the_two_ratios_is_a_reason(case: Case) -> None:
    torch = changed(record_of(case, of([m * 3.3 for m in MEDIANS])), key=replace(case, runtime="torch").key)
    record = compared(case, of_pairs([3.0, 3.01, 2.99, 3.0, 3.0]), record_of(case, of(MEDIANS)), torch)
    assert record.verdict == "withheld"
    assert record.reasons[0].startswith("the engines measured apart give 3.300 (3.300 to 3.300), which contradicts")


@pytest.mark.parametrize(
    ("ratios", "margin", "verdict"),
    [
        ((1.01, 1.011, 1.009, 1.01, 1.01), 0.02, "faster"),
        ((0.99, 0.991, 0.989, 0.99, 0.99), 0.02, "slower"),
        ((1.0, 1.011, 0.992, 1.003, 0.995), 0.02, "the same"),
        ((1.0, 1.011, 0.992, 1.003, 0.995), 0.005, "undecided"),
    ],
)
def test_the_verdict_is_of_the_interval_and_the_margin(
    ratios: tuple[float, ...], margin: float, verdict: str, case: Case
) -> None:
    assert compared(case, of_pairs(ratios), margin=margin).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"budget": Budget(quick=True)}, "a quick run: one short process is only a smoke test; leave out --quick"),
        ({"results": of_pairs(RATIOS[:4])}, "4 valid processes are too few, expected 5"),
        ({"overhead_seconds": 60e-6}, "the harness overhead is 6.0% of the median"),
        (
            {"results": of_pairs(controls=ControlsOnce(reference=1.0, runtime=1.03))},
            "the runtime against itself is 1.030, not 1: measure again",
        ),
    ],
)
def test_an_invalid_comparison_withholds_its_verdict(changes: dict[str, Any], reason: str, case: Case) -> None:
    record = compared(case, **{"results": of_pairs(), **changes})
    assert (record.verdict, record.valid) == ("withheld", False)
    assert record.quick == ("a quick run" in reason)
    (only,) = record.reasons
    assert only.startswith(reason)
