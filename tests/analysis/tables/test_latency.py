"""Tables of measurements, from made-up ones whose every number is known: cases, comparisons, cold starts, headlines."""

from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from analysis.inputs.files import find
from analysis.inputs.study import read_study
from analysis.pages.report import all_tables
from analysis.tables import headline
from analysis.tables.cold_starts import COLD_STARTS
from analysis.tables.columns import common_settings, text
from analysis.tables.latency import COMPARISONS, LATENCY
from analysis.tables.numbers import MISSING, TIMES
from analysis.tables.summary import SUMMARY
from study.artifacts import Artifacts
from study.records.base import Interval
from study.records.bench import AfterSwitch
from tests.support.records import QUIET, best_of, case, case_process, cold_start, comparison, comparison_process
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
        assert (row.other_cores, row.steal_share, row.processes, row.warmup_calls) == (0.01, 0, 5, 50)
        assert (row.reasons, row.file, row.device) == ("a; b", "bench.json", "cpu")
        assert row.measured_on == "Imagined(R) CPU & Co <1_000>, 2 cores, 8 GiB, machine 0123456789ab"
        assert pd.isna([row.p99_seconds, row.parity_images, row.parity_against, row.macs]).all()

    def test_of_the_processes_it_has_the_median_of_what_is_theirs_and_the_highest_of_what_disturbs_one(
        self, artifacts: Artifacts
    ) -> None:
        processes = [
            case_process(1, 1e-4, cores_used=0.7, drift=-0.03, machine=replace(QUIET, other_cores=0.4)),
            case_process(2, 1e-4, cores_used=0.9, drift=0.01, machine=replace(QUIET, other_cores=None)),
            case_process(3, 1e-4, cores_used=1.0, spread=0.2, machine=replace(QUIET, steal_share=0.3)),
        ]
        write_bench(artifacts, [torch(artifacts, processes=tuple(processes))])
        row = only(tables(artifacts)["latency"])
        assert (row.cores_used, row.other_cores, row.steal_share) == (0.9, 0.4, 0.3)
        assert (row.drift, row.spread, row.arithmetic_seconds, row.memory_seconds) == (-0.03, 0.2, 2e-4, 3e-4)

    def test_of_processes_only_the_valid_ones_count(self, artifacts: Artifacts) -> None:
        hot = [case_process(n, 1e-4, valid=False, reasons=("hot",), cores_used=0.5, drift=0.9) for n in (1, 2)]
        write_bench(artifacts, [torch(artifacts, processes=(*hot, case_process(3, 1e-4)))])
        row = only(tables(artifacts)["latency"])
        assert (row.processes, row.processes_left_out, row.cores_used, row.drift) == (1, 2, 1.0, 0.002)
        write_bench(artifacts, [torch(artifacts, processes=tuple(hot))])
        row = only(tables(artifacts)["latency"])
        assert (row.processes, row.processes_left_out, row.cores_used) == (2, 0, 0.5)

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
        assert frames["images_per_second"]["model"].tolist() == ["baseline", "detector"]
        assert {name: frames[name]["model"].tolist() for name in ("summary", "accuracy")} == {
            **{"summary": ["baseline"], "accuracy": ["baseline"]}
        }
        assert "\ndetector,,torch,1," in frames["latency"].to_csv(index=False)
        assert list(text(LATENCY, frames["latency"])["seed"]) == ["0", MISSING]


class TestComparisons:
    def test_a_page_has_ratio_interval_verdict_and_the_ratio_of_the_medians(self, artifacts: Artifacts) -> None:
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
        assert table["ratio of the medians"][0] == f"5.35{TIMES} (5.24 to 5.51)"
        assert list(table["verdict"]) == ["faster", "the same", "withheld"]
        assert list(table["runtimes"]) == ["ONNX Runtime against torch"] * 3
        assert list(table["valid"])[1:] == ["yes", "NO"]

    def test_a_row_has_controls_the_effect_of_a_switch_and_the_share_at_full_speed(self, artifacts: Artifacts) -> None:
        unswitched = AfterSwitch(lead_in_calls=0, effects=())
        processes = (comparison_process(1, 5.4), comparison_process(2, 5.4, full_speed_blocks=4))
        pair = comparison(
            *(artifacts, "baseline", 1, 5.4, 5.3, 5.6),
            unpaired_ratio=None,
            after_switch_reference=unswitched,
            processes=processes,
        )
        write_bench(artifacts, [], [pair])
        row = only(tables(artifacts)["comparisons"])
        assert (row.control_runtime, row.control_runtime_low, row.control_runtime_high) == (1.001, 0.998, 1.004)
        assert (row.after_switch_runtime, row.lead_in_calls_runtime, row.lead_in_calls_reference) == (0.2, 3, 0)
        assert (row.full_speed_share, row.processes, row.rounds, row.blocks, row.calls) == (0.5, 2, 8, 80, 1600)
        assert pd.isna([row.after_switch_reference, row.unpaired_ratio, row.unpaired_low]).all()


class TestBestAgainstBest:
    """The pilot of a session chose the fastest setting of each engine."""

    def best(self, artifacts: Artifacts, ratio: float, reference: str, **changes: Any) -> Any:
        chosen = best_of({reference: 8e-5, "torch": 1e-4}, {"onnxruntime": 2e-5, "onnxruntime-spinning": 3e-5})
        pair = comparison(artifacts, "baseline", 1, ratio, ratio * 0.99, ratio * 1.01, reference=reference)
        return replace(pair, best_of=chosen, **changes)

    def plain(self, artifacts: Artifacts) -> list[Any]:
        eager = comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.6)
        return [eager, comparison(artifacts, "baseline", 1, 1.3, 1.2, 1.4, runtime="torch-compile")]

    def test_a_row_names_its_candidates_and_a_page_leaves_other_settings_out(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [], [*self.plain(artifacts), self.best(artifacts, 4.0, "torch-compile")])
        frame = tables(artifacts)["comparisons"]
        assert frame["best"].tolist() == [False, False, True]
        assert frame["candidates"].tolist() == ["", "", "torch-compile, torch; onnxruntime, onnxruntime-spinning"]
        shown = text(COMPARISONS, headline.without_settings(frame))
        assert list(zip(shown["runtimes"], shown["settings"], strict=True)) == [
            ("ONNX Runtime against torch", ""),
            ("ONNX Runtime against torch.compile", "best/best"),
        ]
        assert headline.without_settings(frame[:2]).equals(frame[:2])

    def test_the_summary_has_both_ratios_and_the_settings(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts)], [*self.plain(artifacts), self.best(artifacts, 4.0, "torch-compile")])
        frame = tables(artifacts)["summary"]
        row = only(frame)
        assert (row.speedup_batch1, row.best_batch1, row.best_batch1_low) == (5.4, 4.0, pytest.approx(3.96))
        assert (row.best_batch1_torch, row.best_batch1_onnxruntime) == ("torch-compile", "onnxruntime")
        assert text(SUMMARY, frame)["best against best"].tolist() == [f"4.00{TIMES} (3.96 to 4.04)"]
        write_bench(artifacts, [torch(artifacts)], self.plain(artifacts))
        assert "best against best" not in text(SUMMARY, tables(artifacts)["summary"])

    def test_the_pair_that_was_the_best_in_most_sessions_is_the_headline(self, artifacts: Artifacts) -> None:
        for name, ratio, reference in (("a", 4.0, "torch-compile"), ("b", 3.0, "torch-aoti"), ("c", 3.1, "torch-aoti")):
            write_bench(artifacts, [], [self.best(artifacts, ratio, reference)], name=f"{name}.json")
        trial = self.best(artifacts, 4.0, "torch-compile", quick=True)  # which counts in nothing beside results
        write_bench(artifacts, [], [trial], name="d.json")
        inputs = find(artifacts, ("baseline",), [artifacts.root / f"{name}.json" for name in "abcd"])
        assert (
            "baseline, batch 1: best of torch/onnxruntime is not the same pair in all files (torch-aoti/onnxruntime in "
            "2, torch-compile/onnxruntime in 1); the summary shows the one of the most files"
        ) in read_study(inputs).notes
        pairs = headline.comparisons(tables(artifacts, "a.json", "b.json", "c.json")["comparisons"])
        assert pairs.loc[pairs["best"], "reference"].tolist() == ["torch-aoti"]
        assert only(headline.best(pairs)).ratio == pytest.approx((3.0 * 3.1) ** 0.5)

    def test_a_pair_that_is_not_valid_is_withheld(self, artifacts: Artifacts) -> None:
        hot = {**HOT, "verdict": "withheld"}
        write_bench(artifacts, [torch(artifacts)], [self.best(artifacts, 4.0, "torch-compile", **hot)])
        assert text(SUMMARY, tables(artifacts)["summary"])["best against best"].tolist() == ["withheld"]


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
        assert not {"ONNX, KiB", "parameters", "MACs"} & set(table), "no row has them"


class TestImagesPerSecondAndAccuracy:
    def test_images_per_second_are_the_batch_over_the_median_and_over_its_interval(self, artifacts: Artifacts) -> None:
        median = Interval(value=5e-4, low=2.5e-4, high=8e-4)
        cases = [case(artifacts, "baseline", "torch", n, 5e-4, median_seconds=median) for n in (32, 1)]
        write_bench(artifacts, cases)
        frame = tables(artifacts)["images_per_second"]
        assert frame["batch"].tolist() == [1, 32]
        large = only(frame, batch=32)
        per_second = [large.images_per_second_at_median, large.images_per_second_low, large.images_per_second_high]
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
        assert sorted(frames["images_per_second"]["device"]) == ["cpu", "cuda"]

    def test_three_repeats_are_their_geometric_mean_in_students_interval_over_them(self, artifacts: Artifacts) -> None:
        """Logarithms of 100, 102 and 104.04 are 2 % apart: t(2) = 4.30265, so +-4.30265 ln 1.02 / sqrt 3 around 102."""
        for name, median in (("a", 100e-6), ("b", 104.04e-6), ("c", 102e-6)):
            write_bench(artifacts, [torch(artifacts, median)], name=name)
        frames = tables(artifacts, "a", "b", "c")
        row = only(headline.cases(frames["latency"]))
        assert (row.samples, row.processes, row.sessions) == (300, 15, 3)
        half = 1.02 ** (4.302653 / 3**0.5)
        assert [row.median_seconds, row.median_low_seconds, row.median_high_seconds] == pytest.approx(
            [102e-6, 102e-6 / half, 102e-6 * half]
        )
        assert frames["summary"]["torch_batch1_us"].tolist() == pytest.approx([102])
        assert frames["images_per_second"]["images_per_second_at_median"].tolist() == pytest.approx([1 / 102e-6])
        assert frames["accuracy"]["median_high_seconds"].tolist() == pytest.approx([102e-6 * half])

    @pytest.mark.parametrize(("change", "environment"), [(HOT, {}), ({}, {"cpu": "Another"})])
    def test_repeats_are_valid_only_if_all_are_and_on_one_machine(
        self, artifacts: Artifacts, change: dict[str, Any], environment: dict[str, Any]
    ) -> None:
        pair = comparison(artifacts, "baseline", 1, 5, 4, 6)
        write_bench(artifacts, [torch(artifacts)], [pair], name="a")
        write_bench(artifacts, [torch(artifacts, **change)], [pair], name="b", **environment)
        both, one = (only(tables(artifacts, *names)["summary"]) for names in ("ab", "a"))
        assert (both.torch_batch1_valid, one.torch_batch1_valid) == (False, True)

    def test_two_repeats_are_in_the_hull_of_their_intervals(self, artifacts: Artifacts) -> None:
        one = comparison(artifacts, "baseline", 1, 7.0, 6.9, 7.1, margin=0.03)
        other = comparison(artifacts, "baseline", 1, 7.5, 7.3, 7.6, unpaired_ratio=None)
        for name, made in (("a", one), ("b", other)):
            write_bench(artifacts, [], [made], name=name)
        frames = tables(artifacts, "a", "b")
        row = only(headline.comparisons(frames["comparisons"]))
        assert (row.ratio, row.low, row.high) == (pytest.approx((7.0 * 7.5) ** 0.5), 6.9, 7.6)
        assert (row.margin, row.processes, row.verdict) == (0.02, 10, "faster")
        assert row.unpaired_ratio == pytest.approx(7.0 * 0.99)
        assert frames["summary"]["speedup_batch1"].tolist() == [row.ratio]

    @pytest.mark.parametrize(
        ("intervals", "together"),
        [
            (((1.1, 1.2), (0.8, 0.9)), "undecided"),
            (((1.1, 1.2), (0.99, 1.01)), "undecided"),
            (((0.99, 1.01), (0.985, 1.015)), "the same"),
            (((0.8, 0.9), (0.7, 0.8)), "slower"),
            (((1.1, 1.2), None), "withheld"),
        ],
    )
    def test_the_verdict_on_repeats_is_that_on_their_common_interval(
        self, artifacts: Artifacts, intervals: tuple[tuple[float, float] | None, ...], together: str
    ) -> None:
        for name, interval in zip("ab", intervals, strict=True):
            low, high = interval or (1.1, 1.2)
            hot = {} if interval else {"verdict": "withheld", **HOT}
            made = comparison(artifacts, "baseline", 1, (low * high) ** 0.5, low, high, **hot)
            write_bench(artifacts, [], [made], name=name)
        row = only(tables(artifacts, "a", "b")["summary"])
        assert (row.speedup_batch1_verdict, pd.isna(row.speedup_batch1)) == (together, together == "withheld")


class TestSummary:
    def test_without_a_comparison_there_is_no_speed_up_whatever_the_medians(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [torch(artifacts), case(artifacts, "baseline", "onnxruntime", 1, 1e-5)])
        row = only(tables(artifacts)["summary"])
        assert pd.isna([row.speedup_batch1, row.speedup_batch1_low, row.speedup_batch1_verdict]).all()
        assert "speed-up" not in text(SUMMARY, tables(artifacts)["summary"])

    def test_the_speed_up_is_the_paired_ratio_and_not_that_of_the_medians(self, artifacts: Artifacts) -> None:
        cases = [torch(artifacts, 110e-6), case(artifacts, "baseline", "onnxruntime", 1, 20e-6)]
        write_bench(artifacts, cases, [comparison(artifacts, "baseline", 1, 5.4, 5.3, 5.6)])
        frame = tables(artifacts)["summary"]
        row = only(frame)
        assert (row.speedup_batch1, row.speedup_batch1_low, row.speedup_batch1_high) == (5.4, 5.3, 5.6)
        assert (row.torch_batch1_us, row.onnxruntime_batch1_us) == (pytest.approx(110), pytest.approx(20))
        assert (row.torch_batch1_low_us, row.torch_batch1_high_us) == pytest.approx((107.8, 113.3))
        shown = text(SUMMARY, frame)[["speed-up", "ratio of medians"]].values.tolist()
        assert shown == [[f"5.40{TIMES} (5.30 to 5.60)", f"5.35{TIMES}"]]

    def test_a_speed_up_alone_is_reported_too(self, artifacts: Artifacts) -> None:
        write_bench(artifacts, [], [comparison(artifacts, "baseline", 1, 1.003, 0.996, 1.01)])
        frame = tables(artifacts)["summary"]
        assert (only(frame).speedup_batch1, pd.isna(only(frame).torch_batch1_us)) == (1.003, True)
        assert text(SUMMARY, frame)["speed-up"].tolist() == [f"1.00{TIMES} (1.00 to 1.01), the same"]

    def test_each_figure_is_marked_by_its_own_record_and_an_invalid_speed_up_withheld(
        self, artifacts: Artifacts
    ) -> None:
        pair = comparison(artifacts, "baseline", 1, 5, 4, 6, verdict="withheld", **HOT)
        cases = [torch(artifacts, 30e-6), case(artifacts, "baseline", "onnxruntime", 1, 5e-6, **HOT)]
        write_bench(artifacts, cases, [pair])
        study = study_of(artifacts)
        frame = all_tables(study)["summary"]
        assert text(SUMMARY, frame)[["torch, µs", "ONNX Runtime, µs", "speed-up"]].values.tolist() == [
            ["30.0 (29.4 to 30.9)", "5.0 (4.9 to 5.2) †", "withheld"]
        ]
        assert study.notes[1] == "1 of 1 comparisons is not valid: hot (see comparisons.csv)"
