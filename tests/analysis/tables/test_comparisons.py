"""Speed-ups in tables and summary: paired ratios, withheld where they are not to be believed."""

from pathlib import Path

from analysis.pages.report import all_tables
from analysis.tables import latency as latency_tables
from analysis.tables.columns import text
from analysis.tables.numbers import TIMES
from analysis.tables.summary import SUMMARY
from study.artifacts import Artifacts
from tests.support.reporting import analyse, row, rows, study_of
from tests.support.synthetic import case, cold_start, comparison, write_bench, write_run


class TestComparisons:
    def test_comparisons_has_a_row_a_comparison(self, reported: tuple[Path, str, str]) -> None:
        assert len(rows(reported[0], "comparisons.csv")) == 3
        found = row(reported[0], "comparisons.csv", model="gap")
        assert {
            **{"seed": "0", "reference": "torch", "runtime": "onnxruntime", "batch": "1", "threads": "1"},
            **{"mode": "native", "device": "cpu", "ratio": "4.1", "low": "3.9", "high": "4.2"},
            **{"noise_floor": "0.004", "processes": "2", "between_spread": "0.006", "verdict": "withheld"},
            **{"blocks": "200", "valid": "False", "reasons": "hot & <b>", "quick": "False", "file": "bench.json"},
        }.items() <= found.items()

    def test_the_page_tells_ratio_interval_floor_and_verdict(self, reported: tuple[Path, str, str]) -> None:
        frame = latency_tables.comparisons(study_of(Artifacts(reported[0]), "baseline", "gap"))
        table = text(latency_tables.COMPARISONS, frame)
        assert list(table["speed-up (95 % interval)"])[1] == f"1.00{TIMES} (0.99 to 1.01)"
        assert list(table["noise floor, %"]) == ["0.40"] * 3
        assert list(table["verdict"]) == ["faster", "no difference shown", "withheld"]
        assert list(table["runtimes"]) == ["ONNX Runtime against torch"] * 3

    def test_without_a_comparison_there_is_no_speed_up_whatever_the_medians(self, artifacts: Artifacts) -> None:
        pair = [case(artifacts, "baseline", name, 1, s) for name, s in (("torch", 1e-4), ("onnxruntime", 1e-5))]
        write_bench(artifacts, pair)
        analyse(artifacts.root)
        summary = row(artifacts.root, "summary.csv", model="baseline")
        assert {summary[key] for key in summary if key.startswith("speedup")} == {""}
        assert summary["latency_valid"] == "True"
        assert "No speed-up has been measured." in (artifacts.report / "summary.md").read_text()

    def test_the_speed_up_is_measured_as_the_medians_beside_it(self, artifacts: Artifacts) -> None:
        """Both engines have medians with two threads, one of them with one; so two threads are the headline."""
        made = [("torch", 2), ("onnxruntime", 2), ("torch", 1)]
        cases = [case(artifacts, "baseline", name, 1, 1e-4, threads=n) for name, n in made]
        pairs = [comparison(artifacts, "baseline", 1, n, n - 0.1, n + 0.1, threads=n) for n in (1, 2)]
        write_bench(artifacts, cases, pairs)
        assert all_tables(study_of(artifacts))["summary"]["speedup_batch1"].tolist() == [2]
        write_bench(artifacts, cases, pairs[:1])
        assert all_tables(study_of(artifacts))["summary"]["speedup_batch1"].isna().all()

    def test_a_speed_up_alone_is_reported_too(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [], [comparison(artifacts, "baseline", 1, 5, 4, 6)])
        summary = all_tables(study_of(artifacts))["summary"].to_dict("records")[0]
        assert (summary["speedup_batch1"], summary["latency_valid"]) == (5, True)

    def test_an_invalid_comparison_makes_the_latency_invalid(self, artifacts: Artifacts) -> None:
        doubt = {"valid": False, "verdict": "withheld", "reasons": ["0.71 cores used by 1 threads"]}
        write_bench(
            artifacts,
            [case(artifacts, "baseline", "torch", 1, 1e-4)],
            [comparison(artifacts, "baseline", 1, 5, 4, 6, **doubt)],
        )
        study = study_of(artifacts)
        assert all_tables(study)["summary"]["latency_valid"].tolist() == [False]
        assert study.notes == (
            "1 of 1 comparisons are not valid: 0.71 cores used by 1 threads (comparisons.csv says which)",
        )

    def test_no_difference_is_said_beside_the_ratio(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [], [comparison(artifacts, "baseline", 1, 1.003, 1.001, 1.004)])
        table = text(SUMMARY, all_tables(study_of(artifacts))["summary"])
        assert table["speed-up"].tolist() == [f"1.00{TIMES} (1.00 to 1.00), no difference shown"]

    def test_a_model_without_a_comparison_that_others_have_is_told(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {})
        write_bench(
            artifacts,
            [case(artifacts, model, "torch", 1, 1e-4) for model in ("baseline", "gap")],
            [comparison(artifacts, "baseline", 1, 5, 4, 6)],
        )
        remedy = f"run `pytest bench --benchmark-json={artifacts.bench}` to measure all"
        assert study_of(artifacts, "baseline", "gap").notes == (f"gap has no comparison; {remedy}",)

    def test_quick_and_stale_ones_are_counted_by_kind(self, artifacts: Artifacts) -> None:
        quick = {"quick": True, "valid": False, "verdict": "withheld"}
        pairs = [comparison(artifacts, "baseline", batch, 5, 4, 6, **quick) for batch in (1, 32)]
        starts = [cold_start(artifacts, "baseline", name, quick=name == "torch") for name in ("torch", "onnxruntime")]
        gone = {"onnx_sha256": "0" * 64}
        cases = [case(artifacts, "baseline", "torch", 1, 1e-4)]
        write_bench(artifacts, cases, [*pairs, {**pairs[0], **gone}], [*starts, {**starts[0], **gone}])
        again = f"run `pytest bench --benchmark-json={artifacts.bench}` to measure again"
        left_out = f"in {artifacts.bench} are of ONNX files that are no longer there and are left out; {again}"
        assert study_of(artifacts).notes == (
            f"1 of 3 comparisons {left_out}",
            "2 of 2 comparisons were measured with --quick: a trial, not a result",
            f"1 of 3 cold starts {left_out}",
            "1 of 2 cold starts were measured with --quick: a trial, not a result",
        )
