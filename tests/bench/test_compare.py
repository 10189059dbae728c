"""The comparison of two benchmark files: ratios, intervals, noise floors and verdicts."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.compare import Change, compare, median, quotient
from bench.significance import significant
from study.errors import StudyError
from study.records.base import Interval
from study.records.bench import CaseRecord, ComparisonRecord
from tests.bench.builders import bench, case, paired

NAME = "gap-onnxruntime-batch1-threads1-native"


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


def ends(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def change(old: CaseRecord, new: CaseRecord, *comparisons: ComparisonRecord) -> Change:
    return compare(bench(old, comparisons=comparisons), bench(new)).cases[0]


# ---- ratio and interval


def test_ratio_and_interval_by_hand() -> None:
    # in powers of 2, the new one is 2 [1, 6] and the old one 0 [-3, 0]: down by sqrt(1 + 0), up by sqrt(16 + 9)
    found = quotient(interval(1, 1 / 8, 1), interval(4, 2, 64))
    assert ends(found) == pytest.approx((4, 4 * 2**-1, 4 * 2**5))
    # the new one 0 [-3, 0], the old one 0 [0, 4]: down by sqrt(9 + 16), up by nothing
    found = quotient(interval(1, 1, 16), interval(1, 1 / 8, 1))
    assert ends(found) == pytest.approx((1, 2**-5, 1))


def test_the_ratio_of_a_case_is_that_of_its_medians() -> None:
    found = change(case(100e-6, 0.01), case(110e-6, 0.01))
    half = math.sqrt(2) * 0.01  # ln(1.01) is 0.00995 and -ln(0.99) 0.01005: on average 0.01, and twice squared
    assert ends(found.ratio) == pytest.approx((1.1, 1.1 * math.exp(-half), 1.1 * math.exp(half)), rel=1e-4)
    assert (found.name, found.verdict) == (NAME, "slower")


@pytest.mark.parametrize(
    ("loads", "half"),
    [
        ([0], 0),  # one load says nothing about others
        ([-0.01, 0.01], 12.706 * 0.01),  # sd = 0.01 sqrt(2) of n = 2; t(0.975, 1) = 12.706
        ([0.02, 0.01, -0.01, -0.02, 0], 2.776 * 0.01 / math.sqrt(2)),  # sd = 0.01 sqrt(10 / 4), n = 5, t(0.975, 4)
    ],
)
def test_the_interval_of_a_median_is_at_least_that_of_its_loads(loads: list[float], half: float) -> None:
    medians = tuple(100e-6 * math.exp(x) for x in loads)
    wide = median(case(100e-6, 1e-6, load_medians_seconds=medians))
    assert ends(wide) == pytest.approx((100e-6, 100e-6 * math.exp(-half), 100e-6 * math.exp(half)), rel=1e-5)
    by_its_calls = median(case(100e-6, 0.2, load_medians_seconds=medians))
    assert ends(by_its_calls) == pytest.approx((100e-6, 80e-6, 120e-6))


def test_each_limit_is_the_farther_one() -> None:
    loads = (100e-6 * math.exp(-0.001), 100e-6 * math.exp(0.001))  # 1.28 % to both sides
    found = median(case(load_medians_seconds=loads, median_seconds=interval(100e-6, 95e-6, 100.1e-6)))
    assert ends(found) == pytest.approx((100e-6, 95e-6, 100e-6 * math.exp(0.012706)), rel=1e-5)


@pytest.mark.parametrize("side", [0, 1])
def test_variation_between_loads_hides_a_small_change(side: int) -> None:
    medians = [1.0, 1.02]

    def verdict(*spread: float) -> str:
        cases = [case(it, 0.0001) for it in medians]
        cases[side] = replace(cases[side], load_medians_seconds=tuple(medians[side] * x for x in spread))
        return change(cases[0], cases[1]).verdict

    assert verdict(0.98, 0.99, 1, 1.01, 1.02) == "slower"  # 2 % to both sides
    assert verdict(0.97, 0.985, 1, 1.015, 1.03) == "no difference shown"  # 2.9 %


intervals = st.builds(
    lambda value, below, above: interval(value, value / below, value * above),
    st.floats(1e-7, 10),
    st.floats(1, 3),
    st.floats(1, 3),
)


@given(intervals, intervals, st.floats(0, 1))
def test_swapping_two_files_inverts_their_cases(one: Interval, other: Interval, floor: float) -> None:
    a, b = (case(it.value, median_seconds=it, yardstick_seconds=1e-3 * it.value) for it in (one, other))
    there, back = change(a, b), change(b, a)
    assert (there.old, there.new) == (back.new, back.old)
    assert there.floor == pytest.approx(back.floor)
    assert there.ratio.low <= there.ratio.value <= there.ratio.high
    assert ends(there.ratio) == pytest.approx((1 / back.ratio.value, 1 / back.ratio.high, 1 / back.ratio.low))
    edge = min(abs(math.log(limit)) for limit in (there.ratio.low, there.ratio.high))
    if edge > 1e-9 and abs(abs(math.log(there.ratio.value)) - floor) > 1e-9:  # where rounding cannot decide
        assert significant(there.ratio, floor) == significant(back.ratio, floor)


# ---- noise floor and verdict


def test_significance_by_hand() -> None:
    assert significant(interval(1.10, 1.05, 1.15), 0.05)
    assert not significant(interval(1.10, 1.00, 1.20), 0.05)  # the interval contains 1
    assert not significant(interval(0.90, 0.80, 1.00), 0.05)
    assert not significant(interval(1.10, 1.05, 1.15), 0.10)  # ln 1.10 is 0.0953
    assert not significant(interval(0.90, 0.85, 0.95), 0.11)  # ln 0.90 is -0.1054
    assert significant(interval(0.90, 0.85, 0.95), 0.10)
    assert not significant(interval(math.e, 2.0, 3.0), 1.0)  # as large as the floor is not above it


def test_the_floor_is_the_largest_spread_between_processes() -> None:
    assert change(case(), case()).floor == 0
    for spreads in ((0.02, 0.07), (0.07, 0.02)):
        old, new = (case(between_spread=spread) for spread in spreads)
        assert change(old, new).floor == pytest.approx(math.log(1.07))


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_the_floor_is_the_noise_of_the_comparisons_with_this_case(runtime: str) -> None:
    comparisons = (
        paired(noise_floor=0.03),
        paired(noise_floor=0.9, batch=32),
        paired(noise_floor=0.9, variant="uint8"),
        paired(noise_floor=0.9, runtime="openvino", reference="other"),
    )
    old, new = bench(case(runtime=runtime), comparisons=comparisons), bench(case(runtime=runtime))
    for pair in ((old, new), (new, old)):
        assert compare(*pair).cases[0].floor == pytest.approx(math.log(1.03))


@pytest.mark.parametrize("yardstick", [1.05e-3, 1e-3 / 1.05])
def test_the_change_of_the_calibration_loop_and_the_largest_noise_add_up(yardstick: float) -> None:
    for spread, noise in ((0.02, 0.03), (0.03, 0.02), (0, 0.03)):
        found = change(case(), case(between_spread=spread, yardstick_seconds=yardstick), paired(noise_floor=noise))
        assert found.floor == pytest.approx(0.07835, abs=1e-5)  # ln 1.05 = 0.04879 and ln 1.03 = 0.02956


def test_only_a_change_beyond_the_machines_and_the_noise_is_the_engines() -> None:
    for case_factor, machine_factor, verdict in (
        (1.12, 1.10, "no difference shown"),  # ln 1.12 = 0.1133 against ln 1.10 + ln 1.03 = 0.0953 + 0.0296 = 0.1249
        (1.14, 1.10, "slower"),  # ln 1.14 = 0.1310
        (1.12, 1.00, "slower"),
        (1 / 1.12, 1 / 1.10, "no difference shown"),
        (1 / 1.14, 1 / 1.10, "faster"),
    ):
        new = case(100e-6 * case_factor, yardstick_seconds=1e-3 * machine_factor)
        found = change(case(), new, paired(noise_floor=0.03))
        assert not found.ratio.low <= 1 <= found.ratio.high
        assert found.verdict == verdict


# ---- matching and measurement conditions


def test_seed_and_onnx_file_do_not_matter_for_matching() -> None:
    old, new = case(), case(110e-6, seed=1, onnx_sha256="d" * 64, settings={"spinning": True})
    found = change(old, new)
    assert found.remarks == ("different ONNX file", "different settings: spinning")
    assert (found.verdict, found.doubts) == ("slower", ())
    assert change(old, old).remarks == ()
    with pytest.raises(StudyError, match=f"the new file has {NAME} twice"):
        compare(bench(case()), bench(case(), case(seed=1)))


def test_threads_that_the_engines_report_are_compared_case_by_case() -> None:
    old = bench(case(), case(batch=32), case(batch=256))
    new = bench(case(), case(batch=32, threads_read_back=2), case(batch=64, threads_read_back=2))
    text = ": threads: threads read back of gap-onnxruntime-batch32-threads1-native 1 against 2; compare"
    with pytest.raises(StudyError, match=re.escape(text)):
        compare(old, new)
    assert len(compare(old, new, ["threads"]).cases) == 2


def test_all_differences_are_reported_at_once() -> None:
    new = bench(case(threads_read_back=2), cpu="Another", cores=4, python="3.12.1")
    text = r"machine: cpu .*, cores .*; threads: .*; versions: python .*; .* `--allow machine,threads,versions`"
    with pytest.raises(StudyError, match=text):
        compare(bench(case()), new)
