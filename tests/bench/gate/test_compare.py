"""The comparison of two benchmark files: ratios over processes, their intervals, what is matched, and when withheld."""

import math
import re
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from scipy import stats

from bench.gate.compare import compare
from bench.gate.limits import LIMITS
from bench.gate.multiplicity import holm
from bench.gate.welch import contrast
from study.errors import StudyError
from study.records.bench import Calibration, CaseRecord, ColdStartRecord, Range
from study.records.gate import Change
from tests.bench.builders import NOWHERE, apart, bench, case, paired
from tests.support import records

NAME = "gap-onnxruntime-batch1-threads1-native"
INVALID: dict[str, Any] = {"valid": False, "reasons": ("noisy",)}


def change(old: CaseRecord, new: CaseRecord, metric: str = "median") -> Change:
    changes = compare(bench(old), bench(new), LIMITS).changes
    return next(it for it in changes if it.metric == metric)


def calibrated(record: CaseRecord, arithmetic: float, memory: float) -> CaseRecord:
    """The case, beside which the calibration loops took so many times as long."""
    was = records.CALIBRATION
    now = Calibration(
        arithmetic_seconds=was.arithmetic_seconds * arithmetic, memory_seconds=was.memory_seconds * memory
    )
    return replace(record, processes=tuple(replace(it, calibration=now) for it in record.processes))


def start(*seconds: float, bytes_each: float = 2**20, **changes: Any) -> ColdStartRecord:
    """A cold start whose processes took so long, and grew by so many bytes each."""
    total = Range(median=seconds[0], lowest=min(seconds), highest=max(seconds), values=seconds)
    peak = Range(median=bytes_each, lowest=bytes_each, highest=bytes_each, values=(bytes_each,) * len(seconds))
    return replace(records.cold_start(NOWHERE, "gap", "onnxruntime", **changes), total_seconds=total, peak_bytes=peak)


# ---- ratio and interval


def test_the_ratio_and_its_tests_are_those_of_welch_over_the_logarithms_of_the_processes() -> None:
    old, new = (1.00, 1.02, 0.99, 1.01, 0.98), (1.10, 1.03, 1.09, 1.12)
    found, scipy = contrast(old, new), stats.ttest_ind(np.log(new), np.log(old), equal_var=False)
    low, high = np.exp(scipy.confidence_interval(0.95))
    interval = found.interval()
    assert interval.value == pytest.approx(stats.gmean(new) / stats.gmean(old))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    for limit in (0.0, 0.05):
        shifted = np.log(old) + limit
        above = stats.ttest_ind(np.log(new), shifted, equal_var=False, alternative="greater").pvalue
        assert float(found.p_above(limit)) == pytest.approx(above)
        assert float(found.p_below(limit)) == pytest.approx(1 - above)


def test_a_file_of_ratios_is_tested_at_once_as_each_alone() -> None:
    old, new = np.exp(np.random.default_rng(1).normal(size=(2, 3, 4, 5)))
    found = contrast(old, new)
    assert found.p_above(0.1)[2, 1] == contrast(old[2, 1], new[2, 1]).p_above(0.1)


def test_where_nothing_varies_the_difference_decides() -> None:
    found = contrast([[1, 1], [1, 1]], [[1.1, 1.1], [1.0, 1.0]])
    assert found.p_above(0.0).tolist() == [0, 1]
    assert found.p_below(math.log(1.2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x .01; 2 x .03; 1 x .04, which may not be below the one before
        ([0.02], [0.02]),
        ([0.5, 0.9], [1.0, 1.0]),
    ],
)
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert holm(p).tolist() == pytest.approx(adjusted)
    assert holm([p, p])[1].tolist() == pytest.approx(adjusted)


def test_swapping_two_files_inverts_the_ratio() -> None:
    one, other = case(100e-6, 0.01), case(103e-6, 0.02)
    there, back = change(one, other).ratio, change(other, one).ratio
    assert there
    assert back
    assert (there.value, there.low, there.high) == pytest.approx((1 / back.value, 1 / back.high, 1 / back.low))


def test_processes_that_are_not_valid_do_not_count() -> None:
    new = case(medians=(110e-6, 111e-6, 109e-6, 500e-6))
    disturbed = replace(new.processes[-1], valid=False, reasons=("other processes",))
    found = change(case(), replace(new, processes=(*new.processes[:-1], disturbed)))
    assert found.ratio
    assert found.ratio.value == pytest.approx(1.1, rel=1e-3)


# ---- the speed of the machine


@pytest.mark.parametrize(
    ("factor", "arithmetic", "memory", "verdict"),
    [
        (1.08, 1.0, 1.0, "slower"),
        (1.08, 1.06, 1.0, "undecided"),  # 1.08 / 1.06 is within 5 %, 1.08 is not: it depends on the engine's part
        (1.08, 1.0, 1.06, "undecided"),
        (1.20, 1.06, 1.0, "slower"),  # 1.20 / 1.06 = 1.13
        (1.00, 1.06, 1.0, "within the limit"),  # it may have become faster, but not slower
        (1.00, 0.94, 1.0, "undecided"),  # a faster machine may hide 6 %
        (0.94, 0.94, 0.94, "within the limit"),
        (0.94, 1.0, 1.0, "faster"),
        (1.08, 0.97, 1.03, "undecided"),  # the loops disagree: 1.08 / 1.03 = 1.049
    ],
)
def test_a_verdict_holds_whatever_part_an_engine_takes_in_the_change_of_the_machine(
    factor: float, arithmetic: float, memory: float, verdict: str
) -> None:
    found = change(case(100e-6), calibrated(case(100e-6 * factor), arithmetic, memory))
    assert found.ratio
    assert found.ratio.value == pytest.approx(factor)  # nothing is divided by the loops
    assert found.verdict == verdict
    assert found.machine == pytest.approx((arithmetic - 1, memory - 1))


@pytest.mark.parametrize(("arithmetic", "memory"), [(1.7, 1.0), (1.0, 1.12), (1 / 1.7, 1.0)])
def test_at_another_speed_of_the_machine_the_verdict_is_withheld(arithmetic: float, memory: float) -> None:
    found = change(case(100e-6), calibrated(case(180e-6), arithmetic, memory))
    assert (found.verdict, found.ratio) == ("withheld", None)
    assert re.match(r"the machine ran at another speed \((arithmetic|memory) loop [+-]\d+%\)", found.reasons[0])


# ---- metrics


def test_every_metric_that_both_files_have_is_compared() -> None:
    few, many = case(), case(p99_seconds=case().median_seconds)
    with_starts = bench(many, cold_starts=(start(1, 1.01, 0.99),))
    for old, new, metrics in (
        (bench(few), bench(few), ["median", "size"]),
        (bench(many), bench(few), ["median", "size"]),
        (bench(many), with_starts, ["median", "p99", "size"]),
        (with_starts, with_starts, ["median", "p99", "cold-start", "memory", "size"]),
    ):
        assert [it.metric for it in compare(old, new, LIMITS).changes] == metrics


def test_the_tail_is_that_of_each_process() -> None:
    old, new = (case(seconds, p99_seconds=case().median_seconds) for seconds in (100e-6, 110e-6))
    found = change(old, new, "p99")
    assert (found.old, found.new) == pytest.approx((140e-6, 154e-6))  # 1.4 times the median
    assert found.ratio
    assert found.ratio.value == pytest.approx(1.1)


def test_the_cold_start_is_its_total_time_and_memory_the_growth_of_its_peak() -> None:
    old = bench(case(), cold_starts=(start(*apart(0.5, 0.01), bytes_each=100),))
    new = bench(case(), cold_starts=(start(*apart(0.7, 0.01), bytes_each=120),))
    time, memory = (it for it in compare(old, new, LIMITS).changes if it.metric in ("cold-start", "memory"))
    assert (time.old, time.new, memory.old, memory.new) == pytest.approx((0.5, 0.7, 100, 120))
    assert time.verdict == memory.verdict == "slower"


def test_a_cold_start_without_growth_has_no_ratio() -> None:
    record = bench(case(), cold_starts=(start(0.5, 0.51, bytes_each=0),))
    found = next(it for it in compare(record, record, LIMITS).changes if it.metric == "memory")
    assert found.reasons == ("old: a value of 0, which has no ratio", "new: a value of 0, which has no ratio")


def test_the_size_of_a_file_is_exact_and_counted_once_a_model() -> None:
    sizes = [bench(case(onnx_bytes=size), case(batch=32, onnx_bytes=size)) for size in (1000, 1050, 1051, 990)]
    for new, verdict in zip(sizes, ("within the limit", "within the limit", "slower", "faster"), strict=True):
        (found,) = (it for it in compare(sizes[0], new, LIMITS).changes if it.metric == "size")
        assert (found.name, found.verdict) == ("gap", verdict)


# ---- one number for all cases


def test_the_geometric_mean_is_taken_over_the_cases_of_each_process() -> None:
    """Its interval is that of the processes: whatever one of them does to all cases does not average out."""
    shared = np.exp([0.01, -0.02, 0.0, 0.02, -0.01])
    cases = [(100e-6, 1.02), (300e-6, 1.06)]
    old = bench(*(case(batch=n, medians=tuple(s * shared)) for n, (s, _) in enumerate(cases, 1)))
    new = bench(*(case(batch=n, medians=tuple(s * r * shared)) for n, (s, r) in enumerate(cases, 1)))
    found = compare(old, new, LIMITS).geometric_mean
    assert found
    assert found.value == pytest.approx(math.sqrt(1.02 * 1.06))
    half = stats.t.ppf(0.975, 8) * np.std(np.log(shared), ddof=1) * math.sqrt(2 / 5)
    assert math.log(found.high / found.value) == pytest.approx(half)
    assert compare(bench(case()), bench(case()), LIMITS).geometric_mean is None


def test_the_geometric_mean_leaves_out_cases_and_processes_that_are_not_in_all() -> None:
    lacking = case(100e-6, batch=2)
    new = bench(case(110e-6), replace(lacking, processes=lacking.processes[1:]), case(900e-6, batch=3, **INVALID))
    found = compare(bench(case(), case(batch=2), case(batch=3)), new, LIMITS).geometric_mean
    assert found
    assert found.value == pytest.approx(math.sqrt(1.1), rel=1e-3)


# ---- matching and measurement conditions


def test_seed_and_onnx_file_do_not_matter_for_matching() -> None:
    old, new = case(), case(110e-6, seed=1, onnx_sha256="d" * 64, settings={"spinning": True})
    found = change(old, new)
    assert found.remarks == ("different ONNX file", "different settings: spinning")
    assert (found.verdict, found.reasons) == ("slower", ())
    assert change(old, old).remarks == ()
    with pytest.raises(StudyError, match=f"the new file has {NAME} twice"):
        compare(bench(case()), bench(case(), case(seed=1)), LIMITS)


def test_different_cases_are_not_matched() -> None:
    others: dict[str, Any] = {"model": "b", "variant": "uint8", "runtime": "torch", "batch": 32, "threads": 2}
    for name, value in {**others, "mode": "numpy", "device": "cuda"}.items():
        found = compare(bench(case(), case(**{name: value})), bench(case()), LIMITS)
        assert (len(found.missing), len(found.added)) == (1, 0), name


def test_threads_that_the_engines_report_are_compared_case_by_case() -> None:
    old = bench(case(), case(batch=32), case(batch=256))
    new = bench(case(), case(batch=32, threads_read_back=2), case(batch=64, threads_read_back=2))
    text = ": threads: threads read back of gap-onnxruntime-batch32-threads1-native 1 against 2; compare"
    with pytest.raises(StudyError, match=re.escape(text)):
        compare(old, new, LIMITS)
    assert compare(old, new, LIMITS, allowed=["threads"]).differences["threads"]


def test_all_differences_are_reported_at_once() -> None:
    new = bench(case(threads_read_back=2), cpu="Another", cores=4, python="3.12.1")
    text = r"machine: cpu .*, cores .*; threads: .*; versions: python .*; .* `--allow machine,threads,versions`"
    with pytest.raises(StudyError, match=text):
        compare(bench(case()), new, LIMITS)


# ---- speed-ups


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (paired(7.0), paired(6.0), "fell"),
        (paired(6.0), paired(7.0), "rose"),
        (paired(7.0, 0.01), paired(7.05, 0.01), "no change shown"),
        (paired(7.0, **INVALID), paired(6.0), "withheld"),
        (paired(7.0), paired(ratios=(6.0,)), "withheld"),
    ],
)
def test_a_changed_speed_up_is_reported_and_does_not_decide(old: Any, new: Any, verdict: str) -> None:
    found = compare(bench(case(), comparisons=(old,)), bench(case(), comparisons=(new,)), LIMITS)
    assert found.speed_ups[0].verdict == verdict
    assert found.exit_code == 0


def test_another_pair_as_best_against_best_is_named_and_the_same_one_is_compared() -> None:
    def best(reference: str) -> Any:
        chosen = records.best_of({reference: 8e-5}, {"onnxruntime": 2e-5})
        return bench(case(), comparisons=(paired(4.0), paired(3.0, reference=reference, best_of=chosen)))

    found = compare(best("torch-compile"), best("torch-aoti"), LIMITS, ("median",))
    assert found.notes == (
        "gap best of torch/onnxruntime batch 1 is another pair: torch-compile/onnxruntime in the old file, "
        "torch-aoti/onnxruntime in the new one",
    )
    assert [one.name.split("-batch")[0] for one in found.speed_ups] == ["gap-torch/onnxruntime"]
    assert (found.missing, found.exit_code) == ((), 0)
    same = compare(best("torch-aoti"), best("torch-aoti"), LIMITS)
    assert not any("another pair" in note for note in same.notes)
    assert [one.verdict for one in same.speed_ups] == ["no change shown"] * 2
