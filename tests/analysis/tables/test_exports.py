"""The variants of an export beside each other, from made-up exports and measurements of known numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as replaced
from scipy import stats

from analysis.inputs.entries import read_results
from analysis.inputs.files import VARIANTS, find
from analysis.inputs.study import Study, read_study
from analysis.pages import exports, report
from analysis.pages.markup import render
from analysis.tables.exports import shown, variants
from analysis.tables.numbers import MISSING, TIMES
from study.artifacts import Artifacts
from study.files import sha256
from study.record_files import write_record
from study.records.base import Parity
from tests.support.ab import compared
from tests.support.exports import DYNAMIC, OLDER, STATIC, of_variant, write_variant
from tests.support.portability import cell, write_portability
from tests.support.records import AROUND, case, case_process
from tests.support.study import edit_json, layers, study_of, write_bench, write_run


def table(study: Study) -> list[dict[str, Any]]:
    frame = variants(study)
    found: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return list(found)


def render_plainly(study: Study) -> str:
    """The sentences below the table."""
    return render("exports.j2", "txt", all_rows=list(variants(study).itertuples(index=False)))


def standard(artifacts: Artifacts, **changes: Any) -> Any:
    """A case of the standard variant: 20 microseconds."""
    return case(artifacts, "baseline", "onnxruntime", 1, 20e-6, **changes)


@pytest.fixture
def digest(artifacts: Artifacts) -> str:
    """A static variant as right as the standard one."""
    return write_variant(artifacts, STATIC, 100, 0.08)


class TestAccuracy:
    def test_the_standard_variant_comes_first_and_the_others_are_compared_with_it(self, artifacts: Artifacts) -> None:
        digest = write_variant(artifacts, STATIC, 100, 0.101)
        first, static = table(study_of(artifacts))
        assert (first["variant"], static["variant"]) == ("standard", "int8-static")
        assert (first["test_error"], first["test_error_change"]) == (0.08, None)
        assert (static["seed"], static["onnx_sha256"]) == (0, digest)
        assert static["bytes"] == len("baseline 0 int8-static") * 10
        assert static["test_error_change"] == pytest.approx(0.021)
        assert static["test_error_noise"] == pytest.approx(0.02)  # 2 sqrt(100) / 1000
        assert static["test_error_verdict"] == "worse"

    @pytest.mark.parametrize(
        ("mismatches", "error", "verdict"),
        [
            (100, 0.0, "better"),
            (100, 0.099, "not distinguishable"),
            (100, 0.1, "not distinguishable"),
            (0, 0.08, "not distinguishable"),
        ],
    )
    def test_a_difference_is_significant_beyond_twice_its_largest_standard_error(
        self, artifacts: Artifacts, mismatches: int, error: float, verdict: str
    ) -> None:
        write_variant(artifacts, STATIC, mismatches, error)
        assert table(study_of(artifacts))[1]["test_error_verdict"] == verdict

    def test_without_a_test_error_or_with_a_check_on_fewer_images_nothing_is_judged(self, artifacts: Artifacts) -> None:
        write_variant(artifacts, DYNAMIC, 3, None)
        few = Parity(images=100, max_abs_difference=0.05, argmax_mismatches=3)
        write_variant(artifacts, STATIC, 3, 0.09, parity=few)
        _, dynamic, static = table(study_of(artifacts))
        assert (dynamic["test_error"], dynamic["test_error_change"], dynamic["test_error_verdict"]) == (None,) * 3
        assert (static["test_error_noise"], static["test_error_verdict"]) == (None, "not judged")
        assert list(shown(variants(study_of(artifacts)))["difference, points"]) == [MISSING, MISSING, "+1.00"]

    def test_of_a_model_with_several_runs_the_first_one_with_variants_is_shown(self, artifacts: Artifacts) -> None:
        for seed in (1, 2):
            write_run(artifacts, "baseline", seed, layers(seed))
            write_variant(artifacts, STATIC, 3, 0.08, seed=seed)
        write_run(artifacts, "gap", 0, {})
        found = table(study_of(artifacts, "baseline", "gap"))
        assert [(row["model"], row["seed"], row["variant"]) for row in found] == [
            ("baseline", 1, "standard"),
            ("baseline", 1, "int8-static"),
        ]


class TestLatency:
    @pytest.mark.parametrize(
        ("seconds", "verdict", "words"),
        [
            (30e-6, "slower", "Slower than the standard variant"),
            (20.2e-6, "undecided", "Neither shown to be slower nor faster than the standard variant"),
            (10e-6, "faster", "Faster than the standard variant"),
        ],
    )
    def test_the_ratio_is_to_the_standard_variant_and_in_words(
        self, artifacts: Artifacts, digest: str, seconds: float, verdict: str, words: str
    ) -> None:
        write_bench(artifacts, [standard(artifacts), of_variant(artifacts, digest, seconds)])
        assert f"\n- {words}" in exports.page(variants(study_of(artifacts)))
        first, static = table(study_of(artifacts))
        assert (first["median_seconds"], first["ratio"], first["latency_verdict"]) == (20e-6, None, None)
        assert static["ratio"] == pytest.approx(seconds / 20e-6)
        assert static["latency_verdict"] == verdict

    def test_its_interval_is_students_over_the_processes_that_measured_both(
        self, artifacts: Artifacts, digest: str
    ) -> None:
        """Ratios of 1.50, 1.53 and 1.56; a fourth process measured one of them alone."""
        medians = {1: 20e-6, 2: 40e-6, 3: 10e-6}
        own = {1: 30e-6, 2: 61.2e-6, 3: 15.6e-6, 4: 1.0}
        first = standard(artifacts, processes=tuple(case_process(n, one) for n, one in medians.items()))
        processes = tuple(case_process(n, one) for n, one in own.items())
        write_bench(artifacts, [first, of_variant(artifacts, digest, 30e-6, processes=processes)])
        (_, static) = table(study_of(artifacts))
        logs = np.log([1.50, 1.53, 1.56])
        low, high = np.exp(stats.t.interval(0.95, 2, np.mean(logs), stats.sem(logs)))
        found = [static[name] for name in ("ratio", "ratio_low", "ratio_high")]
        assert found == pytest.approx([stats.gmean([1.50, 1.53, 1.56]), low, high])

    @pytest.mark.parametrize(
        ("ratio", "verdict", "words"),
        [(1.05, "slower", "Slower than"), (1.0, "the same", "As fast as"), (0.9, "faster", "Faster than")],
    )
    def test_a_ratio_of_calls_in_turns_is_preferred(
        self, artifacts: Artifacts, digest: str, ratio: float, verdict: str, words: str
    ) -> None:
        a, b = standard(artifacts), of_variant(artifacts, digest, 30e-6)
        write_bench(artifacts, [a, b])
        write_record(artifacts.root / "ab" / "static.json", compared(a.key, b.key, ratio))
        (_, static) = table(study_of(artifacts))
        assert (static["in_turns"], static["latency_verdict"]) == (True, verdict)
        assert (static["ratio"], static["median_seconds"]) == (pytest.approx(ratio, rel=1e-4), 30e-6)
        page = exports.page(variants(study_of(artifacts)))
        assert f"\n- {words} the standard variant" in page
        assert "measured apart" not in page

    def test_calls_in_turns_of_other_settings_or_files_or_that_are_not_valid_show_nothing(
        self, artifacts: Artifacts, digest: str
    ) -> None:
        a, b = standard(artifacts), of_variant(artifacts, digest, 30e-6)
        write_bench(artifacts, [a, b])
        for name, other in {
            "threads": replaced(b.key, threads=2),
            "file": replaced(b.key, onnx_sha256="d" * 64),
        }.items():
            write_record(artifacts.root / "ab" / f"{name}.json", compared(a.key, other, 0.9))
        assert table(study_of(artifacts))[1]["in_turns"] is False
        hot = compared(a.key, b.key, 0.9, valid=False, reasons=("hot",))
        write_record(artifacts.root / "ab" / "hot.json", hot)
        assert table(study_of(artifacts))[1]["latency_verdict"] == "withheld"

    def test_repeats_on_several_machines_are_withheld(self, artifacts: Artifacts, digest: str) -> None:
        cases = [standard(artifacts), of_variant(artifacts, digest, 30e-6)]
        benches = [write_bench(artifacts, cases, name=f"{cpu}.json", cpu=cpu) for cpu in ("a", "b")]
        (_, static) = table(read_study(find(artifacts, ("baseline",), benches)))
        assert static["latency_verdict"] == "withheld"

    def test_what_is_not_valid_is_withheld(self, artifacts: Artifacts, digest: str) -> None:
        hot = standard(artifacts, valid=False, reasons=("hot",))
        write_bench(artifacts, [hot, of_variant(artifacts, digest, 30e-6)])
        study = study_of(artifacts)
        assert table(study)[1]["latency_verdict"] == "withheld"
        assert "No verdict on the speed, because a measurement is invalid" in exports.page(variants(study))
        assert list(shown(variants(study))["ONNX Runtime, µs"]) == ["20.0 †", "30.0"], "each by its own record"
        assert f"time {TIMES} standard" not in shown(variants(study))

    def test_only_measurements_of_one_file_and_setting_are_compared(self, artifacts: Artifacts, digest: str) -> None:
        one = write_bench(artifacts, [standard(artifacts)])
        other = write_bench(artifacts, [of_variant(artifacts, digest, 30e-6)], name="other.json")
        study = read_study(find(artifacts, ("baseline",), (one, other)))
        assert (table(study)[1]["median_seconds"], table(study)[1]["ratio"]) == (30e-6, None)
        assert "`pytest bench --variants standard,int8-static " in render_plainly(study)
        two_threads = of_variant(artifacts, digest, 12e-6, threads=2)
        numpy = of_variant(artifacts, digest, 90e-6, mode="numpy")
        write_bench(artifacts, [two_threads, numpy, of_variant(artifacts, digest, 30e-6), standard(artifacts)])
        assert table(study_of(artifacts))[1]["ratio"] == pytest.approx(1.5)

    def test_two_repeats_are_one_ratio_in_the_hull_of_their_intervals(self, artifacts: Artifacts, digest: str) -> None:
        benches = [
            write_bench(artifacts, [standard(artifacts), of_variant(artifacts, digest, seconds)], name=f"{seconds}")
            for seconds in (30e-6, 40e-6)
        ]
        (_, static) = table(read_study(find(artifacts, ("baseline",), benches)))
        found = [static[name] for name in ("ratio", "ratio_low", "ratio_high")]
        logs = 2 * np.log(AROUND)  # one is as much faster as the other is slower
        half = np.exp(stats.t.ppf(0.975, 4) * stats.sem(logs))
        assert found == pytest.approx([3**0.5, 1.5 / half, 2.0 * half], rel=1e-4)

    def test_the_other_tables_are_as_without_them(self, artifacts: Artifacts, digest: str) -> None:
        cases = [standard(artifacts), case(artifacts, "baseline", "torch", 1, 90e-6)]
        write_bench(artifacts, cases)
        before = report.all_tables(study_of(artifacts), ())
        bench = write_bench(artifacts, [of_variant(artifacts, digest, 30e-6), *cases])
        study = study_of(artifacts)
        after = report.all_tables(study, ())
        assert all(after[name].equals(before[name]) for name in before if name not in ("variants", "zeros"))
        assert [case.key.onnx_sha256 for case in study.measured.variants] == [digest]
        assert not study.notes
        assert len(read_results(artifacts, [bench]).measured.cases) == 2


class TestReport:
    def test_runtimes_that_it_fails_in_are_named(self, artifacts: Artifacts, digest: str) -> None:
        write_run(artifacts, "gap", 0, {})
        own = {"onnx_sha256": digest, "variant": STATIC.name}
        cells = [cell(artifacts, "tract", "baseline", batch, verdict="failed", **own) for batch in (1, 7)]
        write_portability(artifacts, *cells)
        study = study_of(artifacts)
        assert [row["fails_in"] for row in table(study)] == ["none of 2", "Tract 1.2"]
        assert "baseline, int8-static fails in Tract 1.2: do not use it there." in render_plainly(study)
        assert study.portability is not None
        study = replace(study, portability=replace(study.portability, cells=()))
        assert [row["fails_in"] for row in table(study)] == [None, None]
        assert "Not tried in any runtime but ONNX Runtime: int8-static." in render_plainly(study)
        write_portability(artifacts, cell(artifacts, "ort", "baseline", 1, **own))
        assert [row["fails_in"] for row in table(study_of(artifacts))] == ["none of 2", "none of 1"]

    def test_a_stale_variant_is_left_out_with_a_note(self, artifacts: Artifacts, digest: str) -> None:
        write_variant(artifacts, OLDER, 0, 0.08)
        edit_json(artifacts.run("baseline", 0).of(STATIC).export, checkpoint_sha256="d" * 64)
        study = study_of(artifacts)
        assert [row["variant"] for row in table(study)] == ["standard", "opset17"]
        (note,) = [note for note in study.notes if note.startswith("left out")]
        assert "run `python -m export baseline --int8 static`" in note

    def test_without_variants_there_is_no_table(self, artifacts: Artifacts) -> None:
        assert variants(study_of(artifacts)).empty
        assert render_plainly(study_of(artifacts)).strip() == ""
        assert not set(VARIANTS) & set(find(artifacts, ("baseline",)).outputs)

    def test_a_variant_that_is_the_same_file_takes_no_measurement_away(self, artifacts: Artifacts) -> None:
        write_variant(artifacts, OLDER, 0, 0.08)
        files = artifacts.run("baseline", 0)
        files.of(OLDER).onnx.write_bytes(files.onnx.read_bytes())
        edit_json(files.of(OLDER).export, onnx_sha256=sha256(files.onnx))
        write_bench(artifacts, [standard(artifacts)])
        study = study_of(artifacts)
        assert len(study.measured.cases) == 1
        assert table(study)[1]["latency_verdict"] == "undecided"

    def test_the_files_are_there_while_a_variant_is(self, artifacts: Artifacts, digest: str) -> None:
        written = list(report.write(study_of(artifacts), artifacts.report, ()))
        assert {path.name for path in written} >= set(VARIANTS)
        assert set(VARIANTS) < set(find(artifacts, ("baseline",)).outputs)
        edit_json(artifacts.run("baseline", 0).of(STATIC).export, checkpoint_sha256="d" * 64)  # trained again
        list(report.write(study_of(artifacts), artifacts.report, ()))
        assert not [name for name in VARIANTS if (artifacts.report / name).exists()]

    def test_titles_of_runtimes_are_only_text(self, artifacts: Artifacts, digest: str, tmp_path: Path) -> None:
        frame = variants(study_of(artifacts)).assign(fails_in="<img src=x> [a](b)|")
        list(exports.write(frame, tmp_path))
        text = (tmp_path / "variants.md").read_text(encoding="utf-8")
        assert "&lt;img src=x&gt; \\[a\\](b)&#124;" in text
        assert "<" not in text
