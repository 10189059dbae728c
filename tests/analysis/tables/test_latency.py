"""Tables of what was measured, from made-up measurements whose every number is known."""

from pathlib import Path
from typing import Any

import pytest

from analysis.inputs.files import REPORT, find
from analysis.inputs.runs import Study, read_study
from analysis.pages.report import all_tables
from analysis.tables import headline as headlines
from analysis.tables import latency as latency_tables
from analysis.tables.columns import common_settings, text
from analysis.tables.numbers import MISSING
from study.artifacts import Artifacts
from tests.support.reporting import analyse, refusal, row, rows, study_of
from tests.support.synthetic import case, cold_start, comparison, layers, write_bench, write_run


class TestLatency:
    def test_latency_has_a_row_a_case(self, reported: tuple[Path, str, str]) -> None:
        assert len(rows(reported[0], "latency.csv")) == 5
        found = row(reported[0], "latency.csv", model="gap", runtime="onnxruntime")
        assert (found["valid"], found["reasons"]) == ("False", "1.6 cores <busy> & hot")
        assert (float(found["median_seconds"]), found["p99_seconds"]) == (30e-6, "")

    def test_without_measurements_the_report_is_made_and_says_what_to_run(self, artifacts: Artifacts) -> None:
        _, errors = analyse(artifacts.root, "--models", "baseline")
        (line,) = errors.splitlines()
        assert f"pytest bench --benchmark-json={artifacts.bench}" in line
        assert row(artifacts.root, "summary.csv", model="baseline")["speedup_batch1"] == ""
        assert rows(artifacts.root, "latency.csv") == []
        assert "No latency has been measured." in (artifacts.report / "summary.md").read_text()
        assert all((artifacts.report / name).is_file() for name in REPORT)

    def test_a_case_of_another_onnx_file_is_left_out_and_counted(self, artifacts: Artifacts) -> None:
        fresh = case(artifacts, "baseline", "torch", 1, 1e-4)
        write_bench(artifacts, [fresh, {**fresh, "runtime": "onnxruntime", "onnx_sha256": "0" * 64}])
        study = read_study(find(artifacts, ("baseline",)))
        assert [case["runtime"] for case in study.measured.cases] == ["torch"]
        assert "1 of 2 benchmark cases" in study.notes[0]

    def test_a_quick_measurement_is_called_a_trial(self, artifacts: Artifacts) -> None:
        reasons = ["a quick run: 70 samples are for a smoke test", "0.5 cores used by 1 threads"]
        quick = {"quick": True, "valid": False, "reasons": reasons}
        write_bench(artifacts, [case(artifacts, "baseline", "torch", batch, 1e-4, **quick) for batch in (1, 32)])
        study = read_study(find(artifacts, ("baseline",)))
        assert study.notes == ("2 of 2 benchmark cases were measured with --quick: a trial, not a result",)
        assert list(latency_tables.latency(study)["reasons"]) == ["; ".join(reasons)] * 2

    def test_reasons_that_differ_in_numbers_alone_are_one_note_with_their_range(self, artifacts: Artifacts) -> None:
        def invalid(batch: int, *reasons: str) -> dict[str, Any]:
            return case(artifacts, "baseline", "torch", batch, 1e-4, valid=False, reasons=list(reasons))

        write_bench(
            artifacts,
            [
                invalid(1, "9.50 cores used by 1 threads"),
                invalid(2, "latency was still changing", "0.46 cores used by 1 threads"),
                invalid(4, "10.25 cores used by 1 threads"),
                invalid(8),
                case(artifacts, "baseline", "torch", 16, 1e-4),
            ],
        )
        study = read_study(find(artifacts, ("baseline",)))
        assert study.notes == (
            "3 of 5 benchmark cases are not valid: 0.46 to 10.25 cores used by 1 threads (latency.csv says which)",
            "1 of 5 benchmark cases are not valid: latency was still changing (latency.csv says which)",
            "1 of 5 benchmark cases are not valid: no reason given (latency.csv says which)",
        )
        told = latency_tables.latency(study)["reasons"].iloc[1]
        assert told == "latency was still changing; 0.46 cores used by 1 threads"

    def test_a_model_without_a_case_that_others_have_is_told(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {})
        write_run(artifacts, "l1-1e-3", 0, layers(0))
        write_bench(
            artifacts,
            [case(artifacts, "baseline", runtime, n, 1e-4) for n in (32, 1) for runtime in ("torch", "onnxruntime")]
            + [case(artifacts, "gap", "torch", 1, 1e-4)],
        )
        remedy = f"run `pytest bench --benchmark-json={artifacts.bench}` to measure all"
        assert read_study(find(artifacts, ("baseline", "gap", "l1-1e-3"))).notes == (
            f"gap has no benchmark case of onnxruntime batch 1, onnxruntime batch 32, torch batch 32; {remedy}",
            f"l1-1e-3 has no benchmark case; {remedy}",
        )

    def test_measurements_of_other_models_alone_are_told(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [case(artifacts, "gap", "torch", 1, 1e-4)])
        (note,) = read_study(find(artifacts, ("baseline",))).notes
        assert note.startswith("baseline has no benchmark case; run `pytest bench ")

    def test_runtimes_are_compared_only_where_they_were_measured_alike(self, artifacts: Artifacts) -> None:
        cases = [
            case(artifacts, "baseline", "torch", 1, 1e-4, threads=2),
            case(artifacts, "baseline", "onnxruntime", 1, 2e-5, threads=2),
            case(artifacts, "baseline", "torch", 1, 3e-4, threads=1),
        ]
        write_bench(artifacts, cases)
        chosen = headlines.cases(latency_tables.latency(read_study(find(artifacts, ("baseline",)))))
        assert sorted(chosen["median_seconds"]) == [2e-5, 1e-4]

    def test_one_thread_is_the_headline(self, artifacts: Artifacts) -> None:
        pair = [("torch", 1e-4), ("onnxruntime", 2e-5)]
        cases = [case(artifacts, "baseline", name, 1, s * n, threads=n) for n in (2, 1) for name, s in pair]
        write_bench(artifacts, cases)
        chosen = headlines.cases(latency_tables.latency(read_study(find(artifacts, ("baseline",)))))
        assert set(chosen["threads"]) == {1}

    def test_the_call_alone_is_the_headline(self, artifacts: Artifacts) -> None:
        cases = [case(artifacts, "baseline", "torch", 1, 1e-4, mode=mode) for mode in ("numpy", "native")]
        write_bench(artifacts, cases)
        chosen = headlines.cases(latency_tables.latency(read_study(find(artifacts, ("baseline",)))))
        assert list(chosen["mode"]) == ["native"]

    def test_settings_that_all_cases_share_have_no_column(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, 1e-4, threads=n) for n in (1, 2)])
        frame = latency_tables.latency(read_study(find(artifacts, ("baseline",))))
        common = {"seed": "0", "mode": "native", "device": "cpu", "file": "bench.json"}
        assert common_settings(latency_tables.LATENCY, frame) == common
        assert list(text(latency_tables.LATENCY, frame))[:5] == ["model", "runtime", "batch", "threads", "samples"]
        assert not {"seed", "mode"} & set(text(latency_tables.LATENCY, frame))

    def test_a_damaged_benchmark_file_is_refused(self, artifacts: Artifacts) -> None:
        artifacts.bench.write_text("{}")
        assert str(artifacts.bench) in refusal(artifacts)

    def test_what_a_case_says_of_its_tail_its_machine_and_its_model_is_flat(self, artifacts: Artifacts) -> None:
        tail = {"p999_seconds": 3e-4, "p999_low_seconds": 2e-4, "p999_high_seconds": 5e-4}
        write_bench(artifacts, [case(artifacts, "baseline", "torch", 1, 1e-4, **tail, parity=None, macs=None)])
        analyse(artifacts.root)
        (found,) = rows(artifacts.root, "latency.csv")
        assert [float(found[f"p999_{part}seconds"]) for part in ("", "low_", "high_")] == [3e-4, 2e-4, 5e-4]
        assert {value for key, value in found.items() if key.startswith("parity_")} == {""}
        assert {
            "device": "cpu",
            "other_cores": "0.01",
            "steal_share": "0.0",
            "drift": "0.002",
            "spread": "0.01",
            "processes": "1",
            "between_spread": "",
            "parameters": "61706",
            "macs": "",
            "subnormal_weights": "0",
            "measured_on": "Imagined(R) CPU & Co <1_000>, 2 cores, 8 GiB",
            "file": "bench.json",
        }.items() <= found.items()


class TestColdStarts:
    def test_cold_starts_has_medians_and_ranges_beside_the_size_of_the_model(
        self, reported: tuple[Path, str, str]
    ) -> None:
        found = row(reported[0], "cold_starts.csv", model="baseline")
        total = [float(found[f"total_seconds{end}"]) for end in ("", "_lowest", "_highest")]
        assert total == pytest.approx([0.5, 0.45, 0.6])
        assert float(found["first_call_seconds"]) == pytest.approx(0.025)
        assert float(found["peak_bytes"]) == 64 * 2**20
        assert [found[key] for key in ("onnx_bytes", "parameters", "macs")] == ["250880", "61706", "416520"]
        assert [found[key] for key in ("processes", "runtime", "file")] == ["5", "torch", "bench.json"]

    def test_the_page_has_them_in_milliseconds_and_mebibytes(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [], [], [cold_start(artifacts, "baseline", "torch", total_seconds=0.1)])
        (table,) = text(latency_tables.COLD_STARTS, latency_tables.cold_starts(study_of(artifacts))).to_dict("records")
        assert (table["import, ms"], table["load, ms"]) == ("80 (72 to 96)", "15.0 (13.5 to 18.0)")
        assert (table["first call, ms"], table["all, ms"]) == ("5.0 (4.5 to 6.0)", "100 (90 to 120)")
        assert (table["all, MiB"], table["calls, MiB"]) == ("64.0 (57.6 to 76.8)", "8.0 (7.2 to 9.6)")
        assert {table["ONNX, KiB"], table["parameters"], table["MACs"]} == {MISSING}

    def test_without_any_the_page_says_so(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root)
        assert "No cold start has been measured." in (artifacts.report / "index.html").read_text()


class TestThroughputAndAccuracy:
    def test_throughput_is_the_batch_over_the_median_and_over_its_interval(self, artifacts: Artifacts) -> None:
        interval = {"median_low_seconds": 2.5e-4, "median_high_seconds": 8e-4}
        write_bench(artifacts, [case(artifacts, "baseline", "torch", n, 5e-4, **interval) for n in (32, 1)])
        analyse(artifacts.root)
        found = rows(artifacts.root, "throughput.csv")
        assert [r["batch"] for r in found] == ["1", "32"]
        per_second = [float(found[1][f"images_per_second{end}"]) for end in ("", "_low", "_high")]
        assert per_second == pytest.approx([64_000, 40_000, 128_000])
        assert [found[1][key] for key in ("model", "runtime", "threads", "valid")] == ["baseline", "torch", "1", "True"]

    def test_accuracy_has_error_and_latency_of_each_model_in_each_runtime(
        self, reported: tuple[Path, str, str]
    ) -> None:
        found = rows(reported[0], "accuracy.csv")
        assert [(r["model"], r["runtime"]) for r in found] == [
            *(("baseline", runtime) for runtime in ("torch", "onnxruntime")),
            *(("gap", runtime) for runtime in ("onnxruntime", "torch")),
        ]
        torch = row(reported[0], "accuracy.csv", model="baseline", runtime="torch")
        errors = [float(torch[f"test_error_{part}"]) for part in ("mean", "lowest", "highest")]
        assert errors == pytest.approx([(0.080 + 0.083 + 0.079) / 3, 0.079, 0.083])
        medians = [float(torch[f"median_{part}seconds"]) for part in ("", "low_", "high_")]
        assert medians == pytest.approx([110e-6, 107.8e-6, 113.3e-6])
        assert (torch["runs"], torch["valid"]) == ("3", "True")
        assert row(reported[0], "accuracy.csv", model="gap", runtime="onnxruntime")["valid"] == "False"


class TestOwnFiles:
    """Files named with --onnx: they have no seed and no run."""

    @pytest.fixture
    def study(self, artifacts: Artifacts) -> Study:
        own: dict[str, Any] = {"seed": None, "onnx_sha256": "f" * 64}
        write_bench(
            artifacts,
            [
                case(artifacts, "detector", "torch", 1, 1e-3, **own),
                case(artifacts, "baseline", "torch", 1, 1e-4),
            ],
            [comparison(artifacts, "detector", 1, 3, 2.9, 3.1, **own)],
            [cold_start(artifacts, "detector", "onnxruntime", **own)],
        )
        return study_of(artifacts)

    def test_they_are_in_the_tables_of_what_was_measured_below_the_models(self, study: Study) -> None:
        frames = all_tables(study)
        assert frames["latency"]["model"].tolist() == ["baseline", "detector"]
        assert frames["throughput"]["model"].tolist() == ["baseline", "detector"]
        for name in ("comparisons", "cold_starts"):
            assert frames[name]["model"].tolist() == ["detector"]

    def test_they_are_in_no_table_of_models(self, study: Study) -> None:
        frames = all_tables(study)
        for name in ("summary", "accuracy"):
            assert frames[name]["model"].tolist() == ["baseline"]

    def test_they_have_no_seed_and_lack_nothing(self, study: Study) -> None:
        assert "\ndetector,,torch,1," in all_tables(study)["latency"].to_csv(index=False)
        assert list(text(latency_tables.LATENCY, latency_tables.latency(study))["seed"]) == ["0", MISSING]
        assert "seed" not in common_settings(latency_tables.LATENCY, latency_tables.latency(study))
        assert study.notes == ()

    def test_one_that_is_called_as_a_model_or_as_another_file_has_a_name_of_its_own(self, artifacts: Artifacts) -> None:
        write_bench(
            artifacts,
            [
                case(artifacts, model, "torch", 1, 1e-4, seed=None, onnx_sha256=digit * 64)
                for model, digit in (("baseline", "a"), ("net", "b"), ("net", "c"), ("other", "d"))
            ],
        )
        names = [case["model"] for case in study_of(artifacts).measured.cases]
        assert names == ["baseline [aaaaaaaa]", "net [bbbbbbbb]", "net [cccccccc]", "other"]

    def test_they_are_reported_on_whatever_models_are_asked_for(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {})
        own = {"seed": None, "onnx_sha256": "f" * 64}
        cases = [case(artifacts, "baseline", "torch", 1, 1e-4), case(artifacts, "detector", "torch", 1, 1e-3, **own)]
        write_bench(artifacts, cases)
        assert [case["model"] for case in study_of(artifacts, "gap").measured.cases] == ["detector"]
