"""What several processes of a session come to together."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bench.processes import merged_case, merged_comparison, run_session
from study.errors import StudyError
from tests.bench.builders import bench, case, paired
from tests.conftest import ROOT

# ---- cases


def test_a_case_has_the_medians_of_all_processes_beside_its_own_numbers() -> None:
    own = case(1e-3)
    merged = merged_case(own, [bench(case(1.1e-3), case(9e-3, batch=32)), bench(case(1.05e-3))])
    assert [part.median_seconds.value for part in merged.processes] == [1e-3, 1.1e-3, 1.05e-3]
    assert merged.between_spread == pytest.approx(0.1)
    assert replace(merged, processes=own.processes, between_spread=None) == own


def test_merging_a_case_twice_changes_nothing() -> None:
    """pytest-benchmark asks for the JSON of each file that it writes."""
    others = [bench(case(2e-3, valid=False, reasons=("noisy",)))]
    once = merged_case(case(1e-3), others)
    assert (once.valid, once.reasons) == (False, ("in process 2: noisy",))
    assert merged_case(once, others) == once


def test_other_cases_are_not_merged() -> None:
    others: dict[str, Any] = {"variant": "uint8", "batch": 32, "runtime": "torch", "threads": 2}
    for name, value in {**others, "mode": "numpy", "device": "cuda"}.items():
        merged = merged_case(case(1e-3), [bench(case(1e-3, **{name: value}))])
        assert (len(merged.processes), merged.between_spread) == (1, None), name


# ---- comparisons


def test_a_comparison_is_the_median_of_the_processes() -> None:
    parts = [paired(1.50, 0.02, 0.01), paired(1.60, 0.01, 0.03), paired(1.53, 0.01, 0.004)]
    merged = merged_comparison(parts[0], [bench(comparisons=(part,)) for part in parts[1:]])
    # lows 1.47, 1.584, 1.5147; highs 1.53, 1.616, 1.5453
    assert (merged.ratio.value, merged.ratio.low, merged.ratio.high) == pytest.approx((1.53, 1.5147, 1.5453))
    assert merged.noise_floor == 0.01
    assert merged.between_spread == pytest.approx(1.6 / 1.5 - 1)
    assert [part.ratio.value for part in merged.processes] == [1.50, 1.60, 1.53]
    assert (merged.verdict, merged.valid, merged.reasons) == ("faster", True, ())


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.05, 1.06, 1.055), "faster"),  # the spread is 1 %
        ((1.05, 1.12, 1.055), "no difference shown"),  # 6.7 %, more than the 5.5 % of the median
        ((0.95, 0.96, 0.955), "slower"),
        ((0.95, 0.90, 0.955), "no difference shown"),
    ],
)
def test_the_spread_between_processes_counts_as_noise(ratios: tuple[float, ...], verdict: str) -> None:
    own, *others = (paired(ratio, 0.01) for ratio in ratios)
    assert merged_comparison(own, [bench(comparisons=(other,)) for other in others]).verdict == verdict


def test_one_invalid_process_withholds_the_verdict() -> None:
    for invalid, reason in enumerate(("noisy", "in process 2: noisy", "in process 3: noisy")):
        parts = [paired(1.5) for _ in range(3)]
        parts[invalid] = replace(parts[invalid], valid=False, reasons=("noisy",), verdict="withheld")
        merged = merged_comparison(parts[0], [bench(comparisons=(part,)) for part in parts[1:]])
        assert (merged.verdict, merged.valid, merged.reasons) == ("withheld", False, (reason,))


def test_a_comparison_of_one_process_stays_as_it_is() -> None:
    own = paired(1.5)
    assert merged_comparison(own, []) is own
    others = (paired(3.0, reference="openvino"), paired(3.0, batch=32))
    assert merged_comparison(own, [bench(comparisons=others)]) is own


# ---- the process itself


def test_a_process_that_fails_or_does_not_end_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"^a further process did not end within 0 s; give --processes 1$"):
        run_session(["bench"], ROOT, tmp_path / "bench.json", 0.1)
    with pytest.raises(StudyError, match=r"(?s)^a further process failed with exit code 2:.*no model is called 'gpa'"):
        run_session(["bench", "--models", "gpa"], ROOT, tmp_path / "bench.json")
