"""Tables of measurements, from made-up ones whose every number is known: cases, comparisons, cold starts, headlines."""

from typing import Any

import pandas as pd
import pytest

from analysis.inputs.files import find
from analysis.inputs.study import read_study
from analysis.pages.report import all_tables
from analysis.tables import headline
from analysis.tables.columns import common_settings, text
from analysis.tables.latency import COLD_STARTS, COMPARISONS, LATENCY
from analysis.tables.numbers import MISSING, TIMES
from analysis.tables.summary import SUMMARY
from study.artifacts import Artifacts
from study.records.base import Interval
from tests.support.records import case, cold_start, comparison
from tests.support.study import only, study_of, write_bench

OWN: dict[str, Any] = {"seed": None, "onnx_sha256": "f" * 64}
HOT = {"valid": False, "reasons": ("hot",)}


def tables(artifacts: Artifacts, *names: str) -> dict[str, pd.DataFrame]:
    """Every table of a report on the baseline with bench.json, or with these files."""
    return all_tables(read_study(find(artifacts, ("baseline",), [artifacts.root / name for name in names])))


def torch(artifacts: Artifacts, median: float = 1e-4, **changes: Any) -> Any:
    return case(artifacts, "baseline", "torch", 1, median, **changes)


class TestCases:
    def test_a_row_has_the_numbers_of_a_record_flat(self, artifacts: Artifacts) -> None:
        tail = Interval(value=3e-4, low=2e-4, high=5e-4)
        write_bench(artifacts, [torch(artifacts, p999_seconds=tail, parity=None, macs=None, reasons=("a", "b"))])
        row = only(tables(artifacts)["latency"])
        assert (row.p999_seconds, row.p999_low_seconds, row.p999_high_seconds) == (3e-4, 2e-4, 5e-4)
        assert (row.other_cores, row.steal_share, row.processes, row.warmup_calls) == (0.01, 0, 1, 50)
        assert (row.reasons, row.file, row.device) == ("a; b", "bench.json", "cpu")
        assert row.measured_on == "Imagined(R) CPU & Co <1_000>, 2 cores, 8 GiB"
        assert pd.isna([row.p99_seconds, row.parity_images, row.parity_against, row.macs, row.between_spread]).all()

    def test_settings_that_all_rows_share_have_no_column_on_a_page(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts, threads=n) for n in (1, 2)])
        frame = tables(artifacts)["latency"]
        common = {"seed": "0", "mode": "native", "device": "cpu", "file": "bench.json"}
        assert common_settings(LATENCY, frame) == common
        assert list(text(LATENCY, frame))[:5] == ["model", "runtime", "batch", "threads", "samples"]

    def test_a_users_own_files_are_in_the_tables_of_measurements_alone(self, artifacts: Artifacts) -> None:
        cases = [torch(artifacts), case(artifacts, "detector", "torch", 1, 1e-3, **OWN)]
        write_bench(artifacts, cases)
        frames = tables(artifacts)
        assert frames["throughput"]["model"].tolist() == ["baseline", "detector"]
        assert {name: frames[name]["model"].tolist() for name in ("summary", "accuracy")} == {
            **{"summary": ["baseline"], "accuracy": ["baseline"]}
        }
        assert "\ndetector,,torch,1," in frames["latency"].to_csv(index=False)
        assert list(text(LATENCY, frames["latency"])["seed"]) == ["0", MISSING]


class TestComparisons:
    def test_a_page_has_ratio_interval_floor_and_verdict(self, artifacts: Artifacts) -> None:
        pairs = [
            comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.6),
            comparison(artifacts, "baseline", 32, 1.001, 0.99, 1.01),
            comparison(artifacts, "baseline", 64, 4.1, 3.9, 4.2, verdict="withheld", **HOT),
        ]
        write_bench(artifacts, [], pairs)
        table = text(COMPARISONS, tables(artifacts)["comparisons"])
        assert list(table["speed-up (95 % interval)"])[:2] == [
            f"5.40{TIMES} (5.30 to 5.60)",
            f"1.00{TIMES} (0.99 to 1.01)",
        ]
        assert list(table["noise floor, %"]) == ["0.40"] * 3
        assert list(table["verdict"]) == ["faster", "no difference shown", "withheld"]
        assert list(table["runtimes"]) == ["ONNX Runtime against torch"] * 3
        assert list(zip(table["valid"], table["reasons"], strict=True))[1:] == [("yes", ""), ("NO", "hot")]


class TestColdStarts:
    def test_a_row_has_medians_and_ranges_beside_the_size_of_the_model(self, artifacts: Artifacts) -> None:
        starts = [cold_start(artifacts, "baseline", "torch"), cold_start(artifacts, "detector", "torch", **OWN)]
        write_bench(artifacts, [torch(artifacts)], [], starts)
        frame = tables(artifacts)["cold_starts"]
        row, own = only(frame, model="baseline"), only(frame, model="detector")
        assert [row.total_seconds, row.total_seconds_lowest, row.total_seconds_highest] == pytest.approx(
            [0.5, 0.45, 0.6]
        )
        assert (row.first_call_seconds, row.peak_bytes) == (pytest.approx(0.025), 64 * 2**20)
        assert (row.onnx_bytes, row.parameters, row.macs) == (250_880, 61_706, 416_520)
        assert pd.isna([own.onnx_bytes, own.parameters, own.macs]).all(), "no case of that file"

    def test_a_page_has_them_in_milliseconds_and_mebibytes(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [], [], [cold_start(artifacts, "baseline", "torch", total_seconds=0.1)])
        (table,) = text(COLD_STARTS, tables(artifacts)["cold_starts"]).to_dict("records")
        assert (table["import, ms"], table["load, ms"]) == ("80 (72 to 96)", "15.0 (13.5 to 18.0)")
        assert (table["first call, ms"], table["all, ms"]) == ("5.0 (4.5 to 6.0)", "100 (90 to 120)")
        assert (table["all, MiB"], table["calls, MiB"]) == ("64.0 (57.6 to 76.8)", "8.0 (7.2 to 9.6)")
        assert {table["ONNX, KiB"], table["parameters"], table["MACs"]} == {MISSING}


class TestThroughputAndAccuracy:
    def test_throughput_is_the_batch_over_the_median_and_over_its_interval(self, artifacts: Artifacts) -> None:
        median = Interval(value=5e-4, low=2.5e-4, high=8e-4)
        cases = [case(artifacts, "baseline", "torch", n, 5e-4, median_seconds=median) for n in (32, 1)]
        write_bench(artifacts, cases)
        frame = tables(artifacts)["throughput"]
        assert frame["batch"].tolist() == [1, 32]
        large = only(frame, batch=32)
        per_second = [large.images_per_second, large.images_per_second_low, large.images_per_second_high]
        assert per_second == pytest.approx([64_000, 40_000, 128_000])

    def test_accuracy_has_error_and_latency_of_each_model_in_each_runtime(self, artifacts: Artifacts) -> None:
        cases = [torch(artifacts, 110e-6), case(artifacts, "baseline", "onnxruntime", 1, 20e-6, **HOT)]
        write_bench(artifacts, cases)
        frame = tables(artifacts)["accuracy"]
        first, second = only(frame, runtime="torch"), only(frame, runtime="onnxruntime")
        assert (first.runs, first.valid, second.valid) == (1, True, False)
        assert [first.test_error_mean, first.test_error_lowest, first.test_error_highest] == [0.08, 0.08, 0.08]
        medians = [first.median_seconds, first.median_low_seconds, first.median_high_seconds]
        assert medians == pytest.approx([110e-6, 107.8e-6, 113.3e-6])


class TestHeadline:
    """Which rows stand for a model: of several settings, devices and repeats."""

    @pytest.mark.parametrize(
        ("settings", "chosen"),
        [
            ([("torch", 2, "native"), ("onnxruntime", 2, "native"), ("torch", 1, "native")], (2, "native")),
            ([("torch", 2, "native"), ("torch", 1, "native")], (1, "native")),
            ([("torch", 1, "numpy"), ("torch", 1, "native")], (1, "native")),
        ],
        ids=["the most runtimes", "the fewest threads", "the call alone"],
    )
    def test_of_settings(self, artifacts: Artifacts, settings: list[Any], chosen: tuple[int, str]) -> None:
        cases = [case(artifacts, "baseline", name, 1, 1e-4, threads=n, mode=mode) for name, n, mode in settings]
        write_bench(artifacts, cases)
        rows = headline.cases(tables(artifacts)["latency"])
        assert {(row.threads, row.mode) for row in rows.itertuples(index=False)} == {chosen}

    def test_the_speed_up_is_measured_as_the_medians_beside_it(self, artifacts: Artifacts) -> None:
        """Both engines have medians with two threads, one of them with one; so two threads are the headline."""
        made = [("torch", 2), ("onnxruntime", 2), ("torch", 1)]
        cases = [case(artifacts, "baseline", name, 1, 1e-4, threads=n) for name, n in made]
        pairs = [comparison(artifacts, "baseline", 1, n, n - 0.1, n + 0.1, threads=n) for n in (1, 2)]
        write_bench(artifacts, cases, pairs)
        assert tables(artifacts)["summary"]["speedup_batch1"].tolist() == [2]
        write_bench(artifacts, cases, pairs[:1])
        assert tables(artifacts)["summary"]["speedup_batch1"].isna().all()

    def test_the_summary_is_of_the_cpu_and_pictures_have_both_devices(self, artifacts: Artifacts) -> None:
        cases = [torch(artifacts, s, device=device) for device, s in (("cuda", 50e-6), ("cpu", 100e-6))]
        pairs = [comparison(artifacts, "baseline", 1, n, n - 1, n + 1, device=d) for d, n in (("cuda", 2), ("cpu", 7))]
        write_bench(artifacts, cases, pairs)
        frames = tables(artifacts)
        summary = only(frames["summary"])
        assert (summary.torch_batch1_us, summary.speedup_batch1) == (pytest.approx(100), 7)
        assert sorted(frames["throughput"]["device"]) == ["cpu", "cuda"]

    def test_repeats_are_the_median_of_the_medians_in_the_hull_of_their_intervals(self, artifacts: Artifacts) -> None:
        for name, median in (("a", 100e-6), ("b", 104e-6), ("c", 101e-6)):
            one = Interval(value=median, low=median - 1e-6, high=median + 1e-6)
            write_bench(artifacts, [torch(artifacts, median_seconds=one)], name=name)
        frames = tables(artifacts, "a", "b", "c")
        row = only(headline.cases(frames["latency"]))
        assert [row.median_seconds, row.median_low_seconds, row.median_high_seconds] == pytest.approx(
            [101e-6, 99e-6, 105e-6]
        )
        assert frames["summary"]["torch_batch1_us"].tolist() == pytest.approx([101])
        assert frames["throughput"]["images_per_second"].tolist() == pytest.approx([1 / 101e-6])
        assert frames["accuracy"]["median_high_seconds"].tolist() == pytest.approx([105e-6])

    @pytest.mark.parametrize(("change", "environment"), [(HOT, {}), ({}, {"cpu": "Another"})])
    def test_repeats_are_valid_only_if_all_are_and_on_one_machine(
        self, artifacts: Artifacts, change: dict[str, Any], environment: dict[str, Any]
    ) -> None:
        pair = comparison(artifacts, "baseline", 1, 5, 4, 6)
        write_bench(artifacts, [torch(artifacts)], [pair], name="a")
        write_bench(artifacts, [torch(artifacts, **change)], [pair], name="b", **environment)
        assert only(tables(artifacts, "a", "b")["summary"]).latency_valid is False
        assert only(tables(artifacts, "a")["summary"]).latency_valid is True

    def test_repeated_comparisons_have_the_largest_floor(self, artifacts: Artifacts) -> None:
        one = comparison(artifacts, "baseline", 1, 7.0, 6.9, 7.1, noise_floor=0.003)
        other = comparison(artifacts, "baseline", 1, 7.4, 7.3, 7.6, noise_floor=0.008)
        for name, made in (("a", one), ("b", other)):
            write_bench(artifacts, [], [made], name=name)
        frames = tables(artifacts, "a", "b")
        row = only(headline.comparisons(frames["comparisons"]))
        assert (row.ratio, row.low, row.high) == (pytest.approx(7.2), 6.9, 7.6)
        assert (row.noise_floor, row.processes, row.verdict) == (0.008, 4, "faster")
        assert frames["summary"]["speedup_batch1"].tolist() == pytest.approx([7.2])

    @pytest.mark.parametrize(
        ("verdicts", "together"),
        [
            (("faster", "slower"), "no difference shown"),
            (("faster", "no difference shown"), "no difference shown"),
            (("slower", "slower"), "slower"),
            (("faster", "withheld"), "withheld"),
        ],
    )
    def test_a_verdict_holds_if_all_repeats_have_it(
        self, artifacts: Artifacts, verdicts: tuple[str, ...], together: str
    ) -> None:
        for name, verdict in zip("ab", verdicts, strict=True):
            made = comparison(artifacts, "baseline", 1, 5, 4, 6, verdict=verdict, valid=verdict != "withheld")
            write_bench(artifacts, [], [made], name=name)
        row = only(tables(artifacts, "a", "b")["summary"])
        assert (row.speedup_batch1_verdict, pd.isna(row.speedup_batch1)) == (together, together == "withheld")


class TestSummary:
    def test_without_a_comparison_there_is_no_speed_up_whatever_the_medians(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts), case(artifacts, "baseline", "onnxruntime", 1, 1e-5)])
        row = only(tables(artifacts)["summary"])
        assert pd.isna([row.speedup_batch1, row.speedup_batch1_low, row.speedup_batch1_verdict]).all()
        assert row.latency_valid is True

    def test_the_speed_up_is_the_paired_ratio_and_not_that_of_the_medians(self, artifacts: Artifacts) -> None:
        cases = [torch(artifacts, 110e-6), case(artifacts, "baseline", "onnxruntime", 1, 20e-6)]
        write_bench(artifacts, cases, [comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.6)])
        frame = tables(artifacts)["summary"]
        row = only(frame)
        assert (row.speedup_batch1, row.speedup_batch1_low, row.speedup_batch1_high) == (5.4, 5.3, 5.6)
        assert (row.torch_batch1_us, row.onnxruntime_batch1_us) == (pytest.approx(110), pytest.approx(20))
        assert text(SUMMARY, frame)["speed-up"].tolist() == [f"5.40{TIMES} (5.30 to 5.60)"]

    def test_a_speed_up_alone_is_reported_too(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [], [comparison(artifacts, "baseline", 1, 1.003, 1.001, 1.004)])
        frame = tables(artifacts)["summary"]
        assert (only(frame).speedup_batch1, only(frame).latency_valid) == (1.003, True)
        assert text(SUMMARY, frame)["speed-up"].tolist() == [f"1.00{TIMES} (1.00 to 1.00), no difference shown"]

    def test_an_invalid_measurement_is_marked_and_its_speed_up_withheld(self, artifacts: Artifacts) -> None:
        pair = comparison(artifacts, "baseline", 1, 5, 4, 6, verdict="withheld", **HOT)
        write_bench(artifacts, [torch(artifacts, 30e-6)], [pair])
        study = study_of(artifacts)
        frame = all_tables(study)["summary"]
        assert (only(frame).latency_valid, pd.isna(only(frame).speedup_batch1)) == (False, True)
        assert text(SUMMARY, frame)[["torch, µs", "speed-up"]].values.tolist() == [["30.0 †", "withheld"]]
        assert study.notes == ("1 of 1 comparisons are not valid: hot (see comparisons.csv)",)
