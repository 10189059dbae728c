"""The forms a model was exported in, beside each other, from made-up exports and measurements of known numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.inputs.entries import read_field
from analysis.inputs.files import VARIANTS, find
from analysis.inputs.portability import Portability
from analysis.inputs.runs import Study, read_study
from analysis.pages import report
from analysis.pages.exports import write
from analysis.pages.markup import render
from analysis.tables.exports import shown, variants
from analysis.tables.numbers import MISSING, TIMES
from study.artifacts import Artifacts, sha256
from tests.support.exports import DYNAMIC, OLDER, STATIC, of_variant, write_variant
from tests.support.reporting import rows, study_of
from tests.support.synthetic import ENVIRONMENT, case, edit_json, layers, write_bench, write_run


def table(study: Study) -> list[dict[str, Any]]:
    frame = variants(study)
    found: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return list(found)


def facts(frame: pd.DataFrame) -> list[str]:
    """The sentences below the table."""
    text = render("exports.j2", "txt", all_rows=list(frame.itertuples(index=False)))
    return text.strip().splitlines()


class TestAccuracy:
    def test_the_standard_form_comes_first_and_the_others_are_held_against_it(self, artifacts: Artifacts) -> None:
        digest = write_variant(artifacts, STATIC, 100, 0.101)
        standard, static = table(study_of(artifacts))
        assert (standard["variant"], static["variant"]) == ("standard", "int8-static")
        assert (standard["test_error"], standard["test_error_change"]) == (0.08, None)
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
    def test_a_difference_is_one_beyond_twice_its_largest_standard_error(
        self, artifacts: Artifacts, mismatches: int, error: float, verdict: str
    ) -> None:
        write_variant(artifacts, STATIC, mismatches, error)
        assert table(study_of(artifacts))[1]["test_error_verdict"] == verdict

    def test_without_a_test_error_or_with_a_proof_on_fewer_images_nothing_is_judged(self, artifacts: Artifacts) -> None:
        write_variant(artifacts, DYNAMIC, 3, None)
        few = {"images": 100, "max_abs_difference": 0.05, "argmax_mismatches": 3}
        write_variant(artifacts, STATIC, 3, 0.09, parity=few)
        _, dynamic, static = table(study_of(artifacts))
        assert (dynamic["test_error"], dynamic["test_error_change"], dynamic["test_error_verdict"]) == (None,) * 3
        assert (static["test_error_noise"], static["test_error_verdict"]) == (None, "not judged")
        assert list(shown(variants(study_of(artifacts)))["difference, points"]) == [MISSING, MISSING, "+1.00"]

    def test_of_a_model_with_several_runs_the_first_one_with_other_forms_is_shown(self, artifacts: Artifacts) -> None:
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
    @pytest.fixture
    def digest(self, artifacts: Artifacts) -> str:
        return write_variant(artifacts, STATIC, 100, 0.08)

    @pytest.mark.parametrize(
        ("seconds", "verdict", "plainly"),
        [
            (30e-6, "slower", "Slower than the standard variant"),
            (20.2e-6, "not faster", "Not faster than the standard variant"),
            (10e-6, "faster", "Faster than the standard variant"),
        ],
    )
    def test_the_ratio_is_to_the_standard_form_and_said_in_words(
        self, artifacts: Artifacts, digest: str, seconds: float, verdict: str, plainly: str
    ) -> None:
        standard = case(artifacts, "baseline", "onnxruntime", 1, 20e-6)
        write_bench(artifacts, [standard, of_variant(artifacts, digest, seconds)])
        study = study_of(artifacts)
        first, static = table(study)
        assert (first["median_seconds"], first["ratio"], first["latency_verdict"]) == (20e-6, None, None)
        assert static["ratio"] == pytest.approx(seconds / 20e-6)
        assert static["ratio_low"] == pytest.approx(seconds * 0.98 / (20e-6 * 1.03))
        assert static["ratio_high"] == pytest.approx(seconds * 1.03 / (20e-6 * 0.98))
        assert static["latency_verdict"] == verdict
        told = facts(variants(study))[0]
        assert told.startswith(plainly)
        assert f"int8-static (baseline {seconds / 20e-6:.2f} times its time)" in told

    def test_what_separates_the_loads_of_a_model_is_no_difference_between_forms(
        self, artifacts: Artifacts, digest: str
    ) -> None:
        sharp = {"median_low_seconds": 19.99e-6, "median_high_seconds": 20.01e-6}
        loads = {"load_medians_seconds": [19.8e-6, 20e-6, 20.3e-6]}
        standard = case(artifacts, "baseline", "onnxruntime", 1, 20e-6, **{**sharp, **loads})
        static = {"median_low_seconds": 20.19e-6, "median_high_seconds": 20.21e-6, "load_medians_seconds": [20.2e-6]}
        write_bench(artifacts, [standard, of_variant(artifacts, digest, 20.2e-6, **static)])
        (_, static_row) = table(study_of(artifacts))
        assert static_row["latency_verdict"] == "not faster"
        assert static_row["ratio_low"] == pytest.approx(20.19 / 20.3)
        assert static_row["ratio_high"] == pytest.approx(20.21 / 19.8)

    def test_repeats_on_several_machines_are_withheld(self, artifacts: Artifacts, digest: str) -> None:
        cases = [
            case(artifacts, "baseline", "onnxruntime", 1, 20e-6),
            of_variant(artifacts, digest, 30e-6),
        ]
        benches = [write_bench(artifacts, cases, name=f"{cpu}.json", cpu=cpu) for cpu in ("a", "b")]
        (_, static) = table(read_study(find(artifacts, ("baseline",), benches)))
        assert static["latency_verdict"] == "withheld"

    def test_what_is_not_valid_is_withheld(self, artifacts: Artifacts, digest: str) -> None:
        hot = {"valid": False, "reasons": ["hot"]}
        standard = case(artifacts, "baseline", "onnxruntime", 1, 20e-6, **hot)
        write_bench(artifacts, [standard, of_variant(artifacts, digest, 30e-6)])
        study = study_of(artifacts)
        assert table(study)[1]["latency_verdict"] == "withheld"
        assert "invalid" in facts(variants(study))[0]
        assert list(shown(variants(study))["ONNX Runtime, µs"]) == ["20.0 †", "30.0 †"]
        assert facts(variants(study))[-1].startswith("†")
        assert list(shown(variants(study))[f"time {TIMES} standard"]) == [MISSING, MISSING]

    def test_only_measurements_of_one_file_and_setting_are_compared(self, artifacts: Artifacts, digest: str) -> None:
        standard = case(artifacts, "baseline", "onnxruntime", 1, 20e-6)
        one = write_bench(artifacts, [standard])
        other = write_bench(artifacts, [of_variant(artifacts, digest, 30e-6)], name="other.json")
        study = read_study(find(artifacts, ("baseline",), (one, other)))
        assert (table(study)[1]["median_seconds"], table(study)[1]["ratio"]) == (30e-6, None)
        assert "`pytest bench --variants standard,int8-static " in facts(variants(study))[0]
        two_threads = of_variant(artifacts, digest, 12e-6, threads=2)
        one_thread = of_variant(artifacts, digest, 30e-6)
        numpy = of_variant(artifacts, digest, 90e-6, mode="numpy")
        write_bench(artifacts, [two_threads, numpy, one_thread, standard])
        assert table(study_of(artifacts))[1]["ratio"] == pytest.approx(1.5)

    def test_repeats_in_several_files_are_one_ratio_in_the_hull_of_their_intervals(
        self, artifacts: Artifacts, digest: str
    ) -> None:
        standard = case(artifacts, "baseline", "onnxruntime", 1, 20e-6)
        benches = [
            write_bench(artifacts, [standard, of_variant(artifacts, digest, seconds)], name=f"{seconds}.json")
            for seconds in (30e-6, 32e-6, 40e-6)
        ]
        (_, static) = table(read_study(find(artifacts, ("baseline",), benches)))
        assert static["ratio"] == pytest.approx(1.6)
        assert static["ratio_low"] == pytest.approx(1.5 * 0.98 / 1.03)
        assert static["ratio_high"] == pytest.approx(2.0 * 1.03 / 0.98)

    @pytest.mark.parametrize("subject", [{}, {"model": "baseline"}, {"seed": None}])
    def test_the_tables_of_the_study_are_as_without_them(
        self, artifacts: Artifacts, digest: str, subject: dict[str, Any]
    ) -> None:
        cases = [case(artifacts, "baseline", "onnxruntime", 1, 20e-6), case(artifacts, "baseline", "torch", 1, 90e-6)]
        bench = write_bench(artifacts, cases)
        before = report.all_tables(study_of(artifacts), ())
        write_bench(artifacts, [of_variant(artifacts, digest, 30e-6, **subject), *cases])
        study = study_of(artifacts)
        after = report.all_tables(study, ())
        assert all(after[name].equals(before[name]) for name in before if name != "variants")
        assert [case["onnx_sha256"] for case in study.measured.variants] == [digest]
        assert not study.notes
        assert len(read_field(artifacts, [bench]).measured.cases) == 2


class TestReport:
    def test_where_a_form_goes_wrong_is_told(self, artifacts: Artifacts) -> None:
        digest = write_variant(artifacts, STATIC, 100, 0.08)
        cell = {"runtime": "tract", "title": "tract 0.23", "onnx_sha256": digest, "verdict": "failed"}
        found = Portability(ENVIRONMENT, 256, (1, 7), (), ({**cell, "batch": 1}, {**cell, "batch": 7}))
        frame = variants(replace(study_of(artifacts), portability=found))
        assert list(frame["fails_in"].isna()) == [True, False]  # the standard form was tried nowhere
        assert frame["fails_in"].iloc[1] == "tract 0.23"
        assert "baseline, int8-static fails in tract 0.23: do not use it there." in facts(frame)
        right = tuple({**one, "verdict": "passed"} for one in found.cells)
        frame = variants(replace(study_of(artifacts), portability=replace(found, cells=right)))
        assert frame["fails_in"].iloc[1] == "none of 1"
        assert not [fact for fact in facts(frame) if "fails" in fact or "Not tried" in fact]

    def test_titles_of_runtimes_are_only_text(self, artifacts: Artifacts, tmp_path: Path) -> None:
        digest = write_variant(artifacts, STATIC, 100, 0.08)
        cell = {"runtime": "a", "title": "<img src=x> [a](b)|", "onnx_sha256": digest, "verdict": "failed"}
        found = Portability(ENVIRONMENT, 256, (1,), (), ({**cell, "batch": 1},))
        list(write(variants(replace(study_of(artifacts), portability=found)), tmp_path))
        text = (tmp_path / "variants.md").read_text(encoding="utf-8")
        assert text.count("&lt;img src=x&gt; \\[a\\](b)&#124;") == 2
        assert "<" not in text

    def test_what_was_tried_in_no_other_runtime_is_told(self, artifacts: Artifacts) -> None:
        write_variant(artifacts, STATIC, 100, 0.08)
        (told,) = [fact for fact in facts(variants(study_of(artifacts))) if fact.startswith("Not tried")]
        assert told.endswith(": int8-static.")

    def test_a_stale_form_is_left_out_with_a_note(self, artifacts: Artifacts) -> None:
        write_variant(artifacts, OLDER, 0, 0.08)
        write_variant(artifacts, STATIC, 0, 0.08)
        edit_json(artifacts.run("baseline", 0).of(STATIC).export, checkpoint_sha256="d" * 64)
        study = study_of(artifacts)
        assert [row["variant"] for row in table(study)] == ["standard", "opset17"]
        (note,) = [note for note in study.notes if note.startswith("left out")]
        assert "run `python -m export baseline --int8 static`" in note

    def test_without_other_forms_there_is_no_table(self, artifacts: Artifacts) -> None:
        study = study_of(artifacts)
        assert variants(study).empty
        assert facts(variants(study)) == []
        assert not set(VARIANTS) & set(find(artifacts, ("baseline",)).outputs)

    def test_a_form_that_is_the_same_file_takes_no_measurement_away(self, artifacts: Artifacts) -> None:
        write_variant(artifacts, OLDER, 0, 0.08)
        files = artifacts.run("baseline", 0)
        files.of(OLDER).onnx.write_bytes(files.onnx.read_bytes())
        edit_json(files.of(OLDER).export, onnx_sha256=sha256(files.onnx))
        write_bench(artifacts, [case(artifacts, "baseline", "onnxruntime", 1, 20e-6)])
        study = study_of(artifacts)
        assert len(study.measured.cases) == 1
        assert table(study)[1]["latency_verdict"] == "not faster"

    def test_the_report_has_the_table_and_the_page_the_words(self, artifacts: Artifacts) -> None:
        digest = write_variant(artifacts, STATIC, 100, 0.101)
        standard = case(artifacts, "baseline", "onnxruntime", 1, 20e-6)
        write_bench(artifacts, [standard, of_variant(artifacts, digest, 30e-6)])
        study = study_of(artifacts)
        written = list(report.write(study, artifacts.report, ()))
        assert {path.name for path in written} >= set(VARIANTS)
        assert [row["variant"] for row in rows(artifacts.root, "variants.csv")] == ["standard", "int8-static"]
        text = (artifacts.report / "variants.md").read_text(encoding="utf-8")
        assert "| baseline | int8-static |" in " ".join(text.split())
        assert "+2.10 (noise 2.00)" in text
        assert "1.50 (1.43 to 1.58)" in text
        page = (artifacts.report / "index.html").read_text(encoding="utf-8")
        section = page.partition("<h2>Variants of the ONNX files</h2>")[2].partition("<h2>")[0]
        assert "<td>slower</td>" in section
        assert "Slower than the standard variant" in section
        assert set(VARIANTS) < set(find(artifacts, ("baseline",)).outputs)
        edit_json(artifacts.run("baseline", 0).of(STATIC).export, checkpoint_sha256="d" * 64)  # trained again
        list(report.write(study_of(artifacts), artifacts.report, ()))
        assert not [name for name in VARIANTS if (artifacts.report / name).exists()]
