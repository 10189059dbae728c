"""What is written down of a measurement: the numbers by hand, and every reason not to believe them."""

import itertools
import json
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
from bench.pairing import Comparison, Interval
from bench.records import case_reasons, case_record, comparison_record, drift
from bench.sampling import Budget, WarmUp
from study.artifacts import check
from tests.bench.test_interference import QUIET
from tests.support.synthetic import BENCH_ENVIRONMENT, write_model

Record = dict[str, Any]
STEADY = [1e-3] * 1000
WARM = WarmUp(calls=16, seconds=0.5, stable=True, call_seconds=1e-3)
PARITY = {"images": 8, "max_abs_difference": 1e-7, "argmax_mismatches": 0, "against": "torch"}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A user's model, y = W x for four inputs."""
    return of_weights(tmp_path, [[1, 2, 3, 4], [5, 6, 7, 8]])


def of_weights(folder: Path, weights: Sequence[Sequence[float]]) -> Case:
    write_model(folder / "model.onnx", {"fc": np.array(weights, np.float32)})
    return Case(models.from_file(folder / "model.onnx", {"image": (1, 4)}), "onnxruntime", 1)


def in_bench(cases: Sequence[Record] = (), comparisons: Sequence[Record] = ()) -> Record:
    """A whole record with these, as it comes back from a file, held against the schema."""
    record = {
        "schema": "bench/2",
        "environment": BENCH_ENVIRONMENT,
        "harness_overhead_seconds": 1e-7,
        "processes": 1,
        **{"comparisons": list(comparisons), "cold_starts": [], "cases": list(cases)},
    }
    found: Record = json.loads(json.dumps(record, allow_nan=False))
    check(found, "bench/2", "this test", "")
    return found


# ---- drift


@pytest.mark.parametrize(
    ("samples", "moved"),
    [
        ([1.0] * 30 + [5.0] * 30 + [1.06] * 30, 0.06),  # what is in the middle does not matter
        ([1.0] * 30 + [5.0] * 30 + [0.5] * 30, -0.5),
        ([2.0, 2.0, 2.0], 0),
        ([1.0, 2.0], 1),
        ([3.0], 0),
    ],
)
def test_drift_is_of_the_last_third_against_the_first(samples: list[float], moved: float) -> None:
    assert drift(samples)[0] == pytest.approx(moved)


def test_whether_a_drift_is_an_accident_is_a_matter_of_ranks() -> None:
    assert not drift([1.0] * 30 + [1.06] * 60)[1]
    # the same numbers in both thirds, but for one on the one side or the other of the middle
    moved, by_accident = drift([1.0] * 16 + [1.1] * 15 + [1.0] * 31 + [1.0] * 15 + [1.1] * 16)
    assert moved == pytest.approx(0.1)
    assert by_accident
    # three samples a side can be sorted by chance
    assert drift([1.0, 1.1, 1.2] * 2 + [1.3, 1.4, 1.5])[1]
    assert drift([1.0] * 90) == (0, True)


# ---- doubts


def reasons(case: Case, samples: Sequence[float] = STEADY, budget: Budget | None = None, **changes: Any) -> list[str]:
    given: Record = {"warm_ups": [WARM, WARM], "threads": 1, "overhead_seconds": 1e-7, **changes}
    return case_reasons(case, samples, budget or Budget(), **given)


def over(*values: float) -> list[float]:
    """1,002 samples that take these values in turns."""
    return list(itertools.islice(itertools.cycle(values), 1002))


def half_and_half(first: float, last: float) -> list[float]:
    return [first] * 500 + [last] * 500


RESTLESS = replace(WARM, stable=False, seconds=5.04)


@pytest.mark.parametrize(
    ("changes", "enough", "reason"),
    [
        pytest.param(
            {"budget": Budget(quick=True), "samples": [1e-3] * 70},
            {"samples": [1e-3] * 662},
            "a quick run: 70 samples are only a smoke test; leave out --quick",
            id="quick",
        ),
        pytest.param(
            {"samples": [1e-3] * 661},
            {"samples": [1e-3] * 662},
            "too few samples: 661 do not give p99; measure longer",
            id="too few samples",
        ),
        pytest.param(
            {"budget": Budget(percentiles=(99.9, 50)), "samples": [1e-3] * 6635},
            {"budget": Budget(percentiles=(99.9, 50)), "samples": [1e-3] * 6636},
            "too few samples: 6635 do not give p99.9; measure longer",
            id="too few for the percentile that is asked for",
        ),
        pytest.param(
            {"warm_ups": [WARM, RESTLESS, WARM]},
            {"warm_ups": [WARM, replace(RESTLESS, stable=True), WARM]},
            "latency was still changing after 5.0 s of warm-up: let the machine rest",
            id="not stable",
        ),
        pytest.param(
            {"threads": 2},
            {"threads": 1},
            "2 threads read back instead of 1: keep other code from setting them",
            id="threads",
        ),
        pytest.param(
            {"samples": half_and_half(1e-3, 1.06e-3)},
            {"samples": half_and_half(1e-3, 1.04e-3)},
            "latency drifted by +6.0%: let the machine rest, then measure again",
            id="slower and slower",
        ),
        pytest.param(
            {"samples": half_and_half(1e-3, 0.94e-3)},
            {"samples": half_and_half(1e-3, 0.96e-3)},
            "latency drifted by -6.0%: let the machine rest, then measure again",
            id="faster and faster",
        ),
        pytest.param(
            {"samples": over(0.85e-3, 0.85e-3, 1e-3, 1e-3, 1.15e-3, 1.15e-3)},
            {"samples": over(0.9e-3, 0.9e-3, 1e-3, 1e-3, 1.1e-3, 1.1e-3)},
            "the interquartile range is 30% of the median: stop other programs",
            id="spread",
        ),
        pytest.param(
            {"overhead_seconds": 60e-6},
            {"overhead_seconds": 49e-6},
            "the harness overhead is 6.0% of the median: measure a larger batch",
            id="overhead",
        ),
    ],
)
def test_each_doubt_is_told_exactly_when_there_is_cause(
    changes: Record, enough: Record, reason: str, case: Case
) -> None:
    assert reasons(case, **changes) == [reason]
    assert reasons(case, **enough) == []


def test_without_cause_there_is_no_doubt(case: Case) -> None:
    assert reasons(case) == []
    assert reasons(case, overhead_seconds=None) == []


def test_a_drift_that_may_be_an_accident_is_no_doubt(case: Case) -> None:
    low, high = [1.0] * 166 + [1.1] * 168, [1.0] * 168 + [1.1] * 166
    assert drift(high + low + low)[0] == pytest.approx(0.1)
    assert reasons(case, high + low + low) == []


def test_subnormal_weights_are_a_doubt(tmp_path: Path) -> None:
    found = reasons(of_weights(tmp_path, [[1e-40, 0, 3, -1e-39], [1, 2, 3, 1e-37]]))
    slow = "2 weights are subnormal, which slows some processors down 100-fold: set them to 0"
    assert found == [slow]


def test_all_doubts_are_told(case: Case) -> None:
    quick = Budget(quick=True)
    found = reasons(case, half_and_half(1e-3, 2e-3), quick, warm_ups=[RESTLESS], threads=2, overhead_seconds=1)
    assert [reason.split()[0] for reason in found] == ["a", "latency", "2", "latency", "the", "the"]


# ---- the record of a case


def record_of(case: Case, samples: Sequence[float] = STEADY, **changes: Any) -> Record:
    given: Record = {
        **{"pool": case.model.pool(1), "samples": samples, "budget": Budget(), "warm_ups": [WARM] * 6},
        **{"settings": [{"threads": 1, "n": n} for n in range(5)], "parity": PARITY, "observed": QUIET},
        **{"yardstick_seconds": 2e-4, "overhead_seconds": 1e-7},
        **changes,
    }
    return case_record(case, **given)


def test_the_record_of_a_case_fits_the_schema(case: Case) -> None:
    record = record_of(case)
    assert in_bench([record])["cases"] == [record]  # nothing that JSON has not, such as numpy's numbers
    assert (record["valid"], record["reasons"]) == (True, [])


def test_so_does_that_of_one_without_parity_and_on_a_system_that_tells_nothing(case: Case) -> None:
    silent = replace(QUIET, other_cores=None, steal_share=None, load_before=None, clock_disagreement=None)
    record = record_of(case, parity=None, observed=silent, overhead_seconds=None)
    assert in_bench([record])["cases"] == [record]


def test_the_numbers_of_a_case_by_hand(case: Case) -> None:
    # five loads of 200 calls; the first a tenth slower than the others, and each call of a load alike
    samples = [1.1e-3] * 200 + [1e-3] * 800
    record = record_of(replace(case, batch=32), samples)
    assert record["load_medians_seconds"] == [1.1e-3, 1e-3, 1e-3, 1e-3, 1e-3]
    assert (record["samples"], record["median_seconds"]) == (1000, 1e-3)
    assert (record["p90_seconds"], record["p99_low_seconds"], record["p99_high_seconds"]) == (1.1e-3, 1.1e-3, 1.1e-3)
    assert record["p999_seconds"] is record["p999_low_seconds"] is record["p999_high_seconds"] is None
    assert record["images_per_second"] == pytest.approx(32_000)
    assert record["drift"] == pytest.approx(1 / 1.1 - 1)
    assert record["spread"] == 0
    assert record["warmup"] == {"calls": 6 * 16, "seconds": 3, "stable": True}
    medians = {f"median{end}_seconds": 1e-3 for end in ("", "_low", "_high")}
    assert record["processes"] == [{**medians, "valid": False}]
    assert record["between_spread"] is None
    assert (record["parameters"], record["subnormal_weights"]) == (8, 0)
    assert record["settings"] == {"threads": 1, "n": 4}


@pytest.mark.parametrize("calls", [12, 662, 2000])
def test_each_load_has_the_median_of_its_own_calls(calls: int, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that take as many seconds as there were loads before; 12 is no multiple of five."""
    opened = itertools.count()

    @contextmanager
    def load(case: Case, pool: Any) -> Iterator[Any]:
        n = next(opened)  # load 0 is only compared and warmed up
        runtime = SimpleNamespace(context=nullcontext, settings=lambda: {"threads": 1, "load": n})
        yield SimpleNamespace(runtime=runtime, once=None, call=lambda _: float(n), inputs=itertools.repeat(None))

    monkeypatch.setattr(measure, "opened", load)
    monkeypatch.setattr(measure, "parity", lambda engine, expected: None)
    monkeypatch.setattr(measure, "warm_up", lambda once: replace(WARM, call_seconds=2 / calls))
    budget = Budget(percentiles=(50,))
    record = measure.latency(case, budget, None, lambda given, n: [call(x) for call, x in islice(given, n)])
    assert record["samples"] == calls
    assert record["load_medians_seconds"] == [1, 2, 3, 4, 5]
    assert record["settings"]["load"] == 5
    assert record["warmup"]["calls"] == 6 * WARM.calls


def test_one_load_with_other_threads_is_enough_to_doubt(case: Case) -> None:
    settings = [{"threads": 1}, {"threads": 3}, {"threads": 1}]
    record = record_of(case, settings=settings)
    assert record["threads_read_back"] == 3
    assert record["reasons"] == ["3 threads read back instead of 1: keep other code from setting them"]
    assert not record["valid"]


def test_a_disturbed_machine_is_a_doubt(case: Case) -> None:
    record = record_of(case, observed=replace(QUIET, other_cores=0.98))
    (reason,) = record["reasons"]
    assert reason.startswith("other processes used 0.98 cores")
    assert not record["valid"]
    assert not record["processes"][0]["valid"]


def test_a_quick_case_is_marked(case: Case) -> None:
    record = record_of(case, [1e-3] * 70, budget=Budget(quick=True))
    assert (record["quick"], record["valid"]) == (True, False)
    assert record["p90_seconds"] == 1e-3
    assert record["p95_seconds"] is None
    assert in_bench([record])["cases"] == [record]


# ---- the record of a comparison

FOUND = Comparison(
    Interval(1.5, 1.45, 1.55),
    Interval(1.0, 0.99, 1.01),
    Interval(1.001, 0.995, 1.02),
    rounds=20,
    blocks=200,
    calls=4000,
)


def compared(case: Case, **changes: Any) -> Record:
    given: Record = {"found": FOUND, "budget": Budget(), "warm_ups": [WARM, WARM], "observed": QUIET, "seed": 7}
    given |= {"settings": {"reference": {"threads": 1}, "runtime": {"threads": 1}}, "overhead_seconds": None}
    return comparison_record(replace(case, runtime="torch"), case, **{**given, **changes})


def test_the_record_of_a_comparison_fits_the_schema(case: Case) -> None:
    record = compared(case)
    assert in_bench(comparisons=[record])["comparisons"] == [record]
    assert (record["reference"], record["runtime"], record["random_seed"]) == ("torch", "onnxruntime", 7)
    assert record["noise_floor"] == pytest.approx(0.02)
    assert record["processes"] == [{"ratio": 1.5, "low": 1.45, "high": 1.55, "noise_floor": record["noise_floor"]}]
    assert (record["verdict"], record["valid"], record["reasons"]) == ("faster", True, [])


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Interval(1.5, 1.45, 1.55), "faster"),
        (Interval(0.9, 0.88, 0.92), "slower"),
        (Interval(1.01, 1.005, 1.015), "no difference shown"),  # the floor is 2 %
    ],
)
def test_its_verdict(ratio: Interval, said: str, case: Case) -> None:
    assert compared(case, found=replace(FOUND, ratio=ratio))["verdict"] == said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"budget": Budget(quick=True), "found": replace(FOUND, rounds=3)},
            "a quick run: 3 rounds are only a smoke test; leave out --quick",
        ),
        ({"warm_ups": [WARM, RESTLESS]}, "latency was still changing after the warm-up: let the machine rest"),
        ({"observed": replace(QUIET, steal_share=0.125)}, "the host gave 12.5% of the CPU time to other"),
        ({"overhead_seconds": 60e-6}, "the harness overhead is 6.0% of the median"),
    ],
)
def test_a_doubtful_comparison_withholds_its_verdict(changes: Record, reason: str, case: Case) -> None:
    record = compared(case, **changes)
    assert (record["verdict"], record["valid"]) == ("withheld", False)
    (found,) = record["reasons"]
    assert found.startswith(reason)
    assert in_bench(comparisons=[record])["comparisons"] == [record]
