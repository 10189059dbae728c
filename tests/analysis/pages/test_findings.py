"""The findings on a report's first screen: what they say for each outcome, from made-up tables."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from analysis.pages import findings
from analysis.pages.markup import environment, render
from analysis.pages.report import all_tables
from analysis.pages.summary import values as summary_values
from analysis.pages.zeros import Answer
from analysis.tables import columns
from analysis.tables.columns import frame
from analysis.tables.costs import COSTS
from analysis.tables.latency import COMPARISONS, LATENCY
from analysis.tables.numbers import TIMES
from analysis.tables.summary import SUMMARY
from study.artifacts import Artifacts
from tests.support.records import case as case_record
from tests.support.study import study_of, write_bench

NAN = float("nan")
CASE = {"seed": 0, "batch": 1, "threads": 1, "mode": "native", "device": "cpu", "file": "a", "measured_on": "m"}
CASE |= {"valid": True, "quick": False, "samples": 100, "processes": 5}


def said(macro: str, of: object) -> str:
    """The sentences of a finding, as the page has them but for markup and the sign of multiplication."""
    words = str(getattr(environment("txt").get_template("findings.j2").module, macro)(of))
    return words.strip().replace(TIMES, "x")


def summary(*rows: dict[str, Any]) -> pd.DataFrame:
    return frame(SUMMARY, rows)


def trained(model: str, error: float, verdict: str, change: float = NAN, **more: Any) -> dict[str, Any]:
    return {"model": model, "test_error_mean": error, "verdict": verdict, "test_error_change": change, **more}


def case(model: str, runtime: str, seconds: float, **changes: Any) -> dict[str, Any]:
    ends = {"median_low_seconds": 0.9 * seconds, "median_high_seconds": 1.1 * seconds}
    return {**CASE, "model": model, "runtime": runtime, "median_seconds": seconds, **ends, **changes}


def pair(model: str, ratio: float, verdict: str = "faster", **changes: Any) -> dict[str, Any]:
    of = {"model": model, "reference": "torch", "runtime": "onnxruntime", "best": False, "margin": 0.02, "reasons": ""}
    return {**CASE, **of, "ratio": ratio, "low": ratio - 0.1, "high": ratio + 0.1, "verdict": verdict, **changes}


def speed(
    cases: list[dict[str, Any]], pairs: list[dict[str, Any]], costs: list[dict[str, Any]] | None = None
) -> findings.Speed:
    tables = {"latency": frame(LATENCY, cases), "comparisons": frame(COMPARISONS, pairs)}
    return findings.speed({**tables, "costs": frame(COSTS, costs or [])}, "image")


BEST: dict[str, Any] = {"reference": "torch-compile", "runtime": "onnxruntime-spinning", "best": True}


class TestAccuracy:
    def test_the_best_model_is_the_one_that_is_better_by_more_than_the_noise(self) -> None:
        rows = [
            trained("base", 0.08, "baseline"),
            trained("good", 0.07, "better", -0.01),
            trained("bad", 0.09, "worse", 0.01),
            trained("alike", 0.081, "not distinguishable", 0.001),
        ]
        assert said("accuracy", findings.accuracy(summary(*rows))) == (
            "good is the most accurate, with 7.00 % test error: 1.00 points below base. Worse: bad (+1.00 points). "
            "Not distinguishable from base: alike."
        )

    def test_a_lower_error_within_the_noise_is_not_called_better(self) -> None:
        rows = [trained("base", 0.08, "baseline"), trained("lucky", 0.079, "not distinguishable", -0.001)]
        words = said("accuracy", findings.accuracy(summary(*rows)))
        assert words.startswith("No model is shown to be more accurate than base, with 8.00 % test error.")

    def test_a_better_model_is_not_called_the_most_accurate_where_another_has_a_lower_error(self) -> None:
        rows = [
            trained("base", 0.10, "baseline"),
            trained("sure", 0.09, "better", -0.01),
            trained("noisy", 0.085, "not distinguishable", -0.015),
        ]
        words = said("accuracy", findings.accuracy(summary(*rows)))
        assert words.startswith("sure is more accurate than base, with 9.00 % test error: 1.00 points below base.")

    def test_single_runs_are_not_judged(self) -> None:
        rows = [trained("base", 0.08, "baseline"), trained("one", 0.07, "not judged", -0.01)]
        assert said("accuracy", findings.accuracy(summary(*rows))) == (
            "The lowest test error is that of one, 7.00 %. Not judged, which takes two runs or more of each: one."
        )

    def test_one_model_is_compared_with_nothing(self) -> None:
        words = said("accuracy", findings.accuracy(summary(trained("base", 0.08, "baseline"))))
        assert words == "base has a test error of 8.00 %."

    def test_without_the_baseline_the_lowest_is_named(self) -> None:
        rows = [trained("a", 0.08, "not judged"), trained("b", 0.07, "not judged")]
        assert said("accuracy", findings.accuracy(summary(*rows))).startswith("The lowest test error is that of b")

    def test_of_many_models_the_first_are_named(self) -> None:
        rows = [trained(f"m{i}", 0.08 + i / 1000, "worse", i / 1000) for i in range(1, 10)]
        words = said("accuracy", findings.accuracy(summary(trained("base", 0.08, "baseline"), *rows)))
        assert words.endswith("m5 (+0.50 points), m6 (+0.60 points) and 3 more.")

    def test_modules_have_no_accuracy(self) -> None:
        assert findings.accuracy(summary({"model": "mine", "parameters": 5})) is None


class TestSpeed:
    def test_the_range_over_the_models_is_that_of_valid_comparisons(self) -> None:
        pairs = [pair("a", 5.0), pair("b", 6.0), pair("c", 9.0, "withheld", valid=False)]
        assert said("speed", speed([], pairs)) == (
            "With one image, ONNX Runtime is 5.00x (a) to 6.00x (b) as fast as eager PyTorch. Left out as invalid: "
            "1 of 3 models against eager PyTorch."
        )

    def test_what_is_left_out_is_counted_for_best_against_best_too(self) -> None:
        invalid = [pair(model, 3.0, verdict="withheld", valid=False, **BEST) for model in "bc"]
        words = said("speed", speed([], [pair("a", 5.0), pair("a", 4.0, **BEST), *invalid]))
        assert words.endswith(
            " Left out as invalid: 0 of 1 models against eager PyTorch and 2 of 3 with both at their best."
        )

    def test_one_model_has_its_interval(self) -> None:
        words = said("speed", speed([], [pair("a", 5.0), pair("a", 4.0, **BEST)]))
        assert words == (
            "With one image, ONNX Runtime is 5.00x (4.90 to 5.10) as fast as eager PyTorch, and 4.00x (3.90 to 4.10) "
            "with both at their best."
        )

    def test_best_against_best_alone(self) -> None:
        assert said("speed", speed([], [pair("a", 4.0, **BEST)])).startswith(
            "With one image, ONNX Runtime at its best is 4.00x (3.90 to 4.10) as fast as PyTorch at its best."
        )

    def test_withheld_comparisons_give_no_number(self) -> None:
        words = said("speed", speed([case("a", "torch", 1e-4)], [pair("a", 9.0, "withheld", valid=False)]))
        assert words == (
            "With one image, the comparison of ONNX Runtime with PyTorch is invalid, so no speed-up is reported."
        )

    def test_medians_without_a_comparison_are_no_speed_up(self) -> None:
        words = said("speed", speed([case("mine", "torch", 1e-4), case("mine", "onnxruntime", 2e-5)], []))
        assert words == (
            "With one image, a call takes 100.0 µs in torch (mine), 20.0 µs in ONNX Runtime (mine); no speed-up was "
            "measured in pairs."
        )

    def test_nothing_measured(self) -> None:
        assert said("speed", speed([], [])) == "No latency has been measured: `pytest bench` measures it."

    def test_the_largest_batch_has_a_sentence_of_its_own(self) -> None:
        words = said("speed", speed([], [pair("a", 5.0), pair("a", 1.2, batch=32)]))
        assert words.endswith("With 32 images it is 1.20x (1.10 to 1.30) as fast.")

    def test_of_larger_batches_the_largest_with_a_valid_comparison_is_told(self) -> None:
        pairs = [pair("a", 5.0), pair("a", 3.0, batch=32), pair("a", 2.0, batch=256, verdict="withheld", valid=False)]
        assert said("speed", speed([], pairs)).endswith("With 32 images it is 3.00x (2.90 to 3.10) as fast.")

    def test_all_is_said_of_one_device(self) -> None:
        pairs = [pair("a", 5.0), pair("a", 4.0, batch=256), pair("a", 0.9, batch=256, device="cuda")]
        assert speed([], pairs).large == findings.Speeds(1, *[findings.Ratio("a", 4.0, 3.9, 4.1)] * 2)

    def test_the_reason_is_the_fixed_cost_of_a_call_where_both_lines_are_valid(self) -> None:
        line = {**CASE, "model": "a", "batches": "1, 8, 32", "miss": NAN, "miss_batch": NAN}
        ends = {f"{name}_{end}_seconds": 1e-6 for name in ("fixed", "per_item") for end in ("low", "high")}
        torch = {**line, **ends, "runtime": "torch", "fixed_seconds": 2e-4, "per_item_seconds": 3e-5}
        other = {**line, **ends, "runtime": "onnxruntime", "fixed_seconds": 1e-5, "per_item_seconds": 2e-5}
        words = said("speed", speed([], [pair("a", 5.0)], [torch, other]))
        assert words.endswith(
            "Why: a call costs about 200 µs in PyTorch and 10 µs in ONNX Runtime before the first image (a); each "
            "image adds 30 µs in PyTorch and 20 µs in ONNX Runtime."
        )
        assert "Why" not in said("speed", speed([], [pair("a", 5.0)], [torch, {**other, "valid": False}]))


def answer(model: str, *forms: tuple[str, float, str]) -> Answer:
    rows = [
        SimpleNamespace(form=form, ratio=ratio, ratio_low=ratio - 0.1, ratio_high=ratio + 0.1, latency_verdict=verdict)
        for form, ratio, verdict in forms
    ]
    return Answer(model, model, None, tuple(rows), (), (), None, None)


SPARSE = trained("l1", 0.084, "worse", 0.004, fc_exact_zeros_mean=0.51, fc_cut_mean=0.9)
DENSE = trained("base", 0.08, "baseline", fc_exact_zeros_mean=0.0, fc_cut_mean=0.47)


class TestZeros:
    def test_a_form_that_is_faster_is_named(self) -> None:
        of = findings.zeros(summary(DENSE, SPARSE), [answer("l1", ("compact", 0.8, "faster"), ("csr", 3.0, "slower"))])
        assert said("zeros", of) == (
            "In l1, 51.0 % of the fully-connected weights are exactly zero, for +0.40 points of test error. Faster "
            "for these zeros: the file without its dead units takes 0.80 (0.70 to 0.90) of the dense file's time. "
            "Without retraining, 90 % of "
            "the fully-connected weights of l1 and 47 % of the weights of base can be pruned for at most 0.5 points of "
            "training accuracy."
        )

    def test_forms_that_are_not_faster_make_nothing_faster(self) -> None:
        words = said("zeros", findings.zeros(summary(DENSE, SPARSE), [answer("l1", ("csr", 3.0, "slower"))]))
        assert "Nothing is faster for these zeros: csr takes 3.00 times as long as the dense file." in words

    def test_what_was_not_measured_is_not_claimed(self) -> None:
        words = said("zeros", findings.zeros(summary(DENSE, SPARSE), [answer("l1")]))
        assert "was not measured (`python -m bench zeros l1`)" in words
        assert "faster:" not in words

    @pytest.mark.parametrize(
        ("rows", "words"),
        [
            ([{**DENSE, "fc_cut_mean": NAN}], "No fully-connected weight of any model is exactly zero."),
            ([trained("gap", 0.09, "baseline")], "No model has a fully-connected layer."),
        ],
    )
    def test_without_zeros_or_layers(self, rows: list[dict[str, Any]], words: str) -> None:
        assert said("zeros", findings.zeros(summary(*rows), [])) == words


def test_the_badge_counts_what_is_invalid_and_calls_a_trial_a_trial() -> None:
    tables = {"comparisons": frame(COMPARISONS, []), **dict.fromkeys(("cold_starts", "loads"), frame(LATENCY, []))}

    def badge(*cases: dict[str, Any], notes: int = 0) -> str:
        made = findings.validity({**tables, "latency": frame(LATENCY, cases)}, [""] * notes)
        return said("validity", made)

    assert badge() == "Nothing measured"
    assert badge(case("a", "torch", 1e-4)) == "All 1 measurements valid"
    assert badge(case("a", "torch", 1e-4, valid=False), notes=1) == "1 of 1 measurements invalid · 1 note"
    assert badge(case("a", "torch", 1e-4, quick=True)).startswith("Trial: 1 of 1")


def test_where_only_a_users_own_file_was_measured_the_page_speaks_of_it(artifacts: Artifacts) -> None:
    own = {"seed": None, "onnx_sha256": "e" * 64}
    cases = [case_record(artifacts, "detector", runtime, 1, 1e-4, **own) for runtime in ("torch", "onnxruntime")]
    write_bench(artifacts, cases)
    study = study_of(artifacts)
    frames = all_tables(study)
    values = summary_values(study, frames)
    words = render("summary.md.j2", "md", summary=columns.text(SUMMARY, frames["summary"]), **values)
    assert "No latency has been measured" not in words
    assert "Latency: the median of 100 calls with one item" in words
    assert "a call takes 100.0 µs in torch (detector)" in said("speed", findings.speed(frames, str(values["item"])))
