"""The report on made-up artifacts whose every number is known: its files, summary, latency and page."""

import base64
import math
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from analysis.inputs.files import REPORT, find
from analysis.inputs.runs import read_study
from analysis.pages.markup import as_latex
from analysis.pages.report import all_tables
from analysis.tables import sparsity as sparsity_tables
from analysis.tables.columns import text
from analysis.tables.numbers import TIMES
from analysis.tables.summary import SUMMARY
from study.artifacts import Artifacts, read_json
from tests.support.reporting import L1_ERRORS, analyse, command, row, rows, write_study
from tests.support.synthetic import layers, write_bench, write_run

DRAWN = (
    *("sparsity", "weights_histogram", "pruning", "convergence", "history"),
    *("latency", "comparisons", "throughput", "accuracy"),
)


class TestFiles:
    def test_every_file_of_the_contract_is_written_and_named(self, reported: tuple[Path, str, str]) -> None:
        root, output, _ = reported
        pictures = [f"{name}.{kind}" for name in DRAWN for kind in ("svg", "png")]
        tables = [f"{name}.csv" for name in ("summary", "runs", "cold_starts", *DRAWN)]
        expected = {
            *tables,
            *pictures,
            "sparsity.json",
            "weights_histogram.json",
            "summary.md",
            "summary.tex",
            "index.html",
        }
        assert {path.name for path in (root / "report").iterdir()} == expected | {"inputs.sha256"}
        assert set(output.splitlines()) == {f"wrote {root}/report/{name}" for name in expected}

    def test_a_second_run_does_nothing_and_says_so(self, reported: tuple[Path, str, str]) -> None:
        before = {path: path.stat().st_mtime_ns for path in (reported[0] / "report").iterdir()}
        output, _ = analyse(reported[0])
        assert output == f"nothing to do: {reported[0]}/report is made from these inputs (--fresh makes it again)\n"
        assert {path: path.stat().st_mtime_ns for path in (reported[0] / "report").iterdir()} == before

    @pytest.mark.usefixtures("drawing")
    def test_the_same_inputs_give_the_same_bytes(self, reported: tuple[Path, str, str]) -> None:
        analyse(reported[0], "--fresh")
        before = {name: (reported[0] / "report" / name).read_bytes() for name in REPORT}
        write_study(Artifacts(reported[0]))
        assert command(reported[0], "--fresh").returncode == 0
        for name in REPORT:
            assert (reported[0] / "report" / name).read_bytes() == before[name], name

    def test_fresh_makes_the_report_again(self, reported: tuple[Path, str, str]) -> None:
        assert analyse(reported[0], "--fresh")[0] == reported[1]

    @pytest.mark.parametrize("name", ["record", "history", "predictions", "export", "onnx"])
    def test_a_change_in_any_file_of_a_run_is_noticed(self, artifacts: Artifacts, name: str) -> None:
        before = find(artifacts, ("baseline",)).fingerprint()
        with getattr(artifacts.run("baseline", 0), name).open("ab") as file:
            file.write(b"\n")
        assert find(artifacts, ("baseline",)).fingerprint() != before

    def test_new_measurements_a_new_run_and_other_models_are_noticed(self, artifacts: Artifacts) -> None:
        fingerprints = [
            find(artifacts, ("baseline",)).fingerprint(),
            find(artifacts, ("baseline", "gap")).fingerprint(),
        ]
        write_bench(artifacts, [])
        fingerprints.append(find(artifacts, ("baseline",)).fingerprint())
        write_run(artifacts, "baseline", 1, layers(1))
        fingerprints.append(find(artifacts, ("baseline",)).fingerprint())
        assert len(set(fingerprints)) == 4

    def test_artifacts_may_be_moved(self, artifacts: Artifacts, tmp_path: Path) -> None:
        before = find(artifacts, ("baseline",)).fingerprint()
        moved = artifacts.root.rename(tmp_path / "elsewhere")
        assert find(Artifacts(moved), ("baseline",)).fingerprint() == before

    @pytest.mark.parametrize("name", REPORT)
    def test_a_report_that_lacks_a_file_is_made_again(self, artifacts: Artifacts, name: str) -> None:
        inputs = find(artifacts, ("baseline",))
        artifacts.report.mkdir()
        for path in (*(artifacts.report / other for other in REPORT), inputs.mark):
            path.write_text(inputs.fingerprint())
        assert inputs.reported(inputs.fingerprint())
        (artifacts.report / name).unlink()
        assert not inputs.reported(inputs.fingerprint())

    def test_a_report_with_a_damaged_mark_is_made_again(self, artifacts: Artifacts) -> None:
        assert analyse(artifacts.root)[0].startswith("wrote ")
        mark = artifacts.report / "inputs.sha256"
        mark.write_bytes(b"\xff\xfe")
        assert analyse(artifacts.root)[0].startswith("wrote ")
        assert analyse(artifacts.root)[0].startswith("nothing to do")


class TestPruning:
    def test_the_share_that_can_be_cut_is_in_runs_and_its_mean_in_the_summary(
        self, reported: tuple[Path, str, str]
    ) -> None:
        run = row(reported[0], "runs.csv", model="baseline", seed=1)
        assert (float(run["fc_cut"]), run["fc_weights"]) == (0.7, "58920")
        assert float(run["fc_cut_loss"]) == pytest.approx(0.004)
        assert float(run["fc_cut_test_loss"]) == pytest.approx(0.003)
        summary = row(reported[0], "summary.csv", model="baseline")
        assert float(summary["fc_cut_mean"]) == pytest.approx((0.6 + 0.7 + 0.6) / 3)

    def test_a_model_without_fully_connected_layers_has_none(self, reported: tuple[Path, str, str]) -> None:
        assert row(reported[0], "runs.csv", model="gap", seed=1)["fc_cut"] == ""
        assert row(reported[0], "summary.csv", model="gap")["fc_cut_mean"] == ""

    def test_every_share_that_was_tried_is_in_a_table_and_the_chosen_one_marked(
        self, reported: tuple[Path, str, str]
    ) -> None:
        table = [r for r in rows(reported[0], "pruning.csv") if (r["model"], r["seed"]) == ("baseline", "1")]
        assert [r["share"] for r in table] == ["0.0", "0.5", "0.7", "0.75", "1.0"]
        assert [r["share"] for r in table if r["chosen"] == "True"] == ["0.7"]
        assert [float(r["loss"]) for r in table] == pytest.approx([0, 0.002, 0.004, 0.008, 0.85])

    def test_where_it_cannot_be_measured_the_report_is_made_and_says_so(self, artifacts: Artifacts) -> None:
        artifacts.run("baseline", 0).pruning.unlink()
        _, errors = analyse(artifacts.root)
        assert "note: prunable weights were not measured: " in errors
        assert "prunable weights were not measured" in (artifacts.report / "summary.md").read_text()
        assert row(artifacts.root, "summary.csv", model="baseline")["fc_cut_mean"] == ""


class TestSummary:
    def test_models_come_in_the_order_of_the_catalogue(self, reported: tuple[Path, str, str]) -> None:
        assert [r["model"] for r in rows(reported[0], "summary.csv")] == ["baseline", "l1-1e-3", "gap"]

    def test_mean_and_sample_standard_deviation_of_the_runs(self, reported: tuple[Path, str, str]) -> None:
        summary = row(reported[0], "summary.csv", model="l1-1e-3")
        assert float(summary["test_error_mean"]) == pytest.approx(statistics.mean(L1_ERRORS), abs=1e-15)
        assert float(summary["test_error_std"]) == pytest.approx(statistics.stdev(L1_ERRORS), abs=1e-15)
        assert float(summary["train_error_mean"]) == pytest.approx(0.05)
        assert summary["runs"] == "3"

    def test_parameters_are_compared_with_the_baseline(self, reported: tuple[Path, str, str]) -> None:
        gap = row(reported[0], "summary.csv", model="gap")
        assert gap["parameters"] == "12502"
        assert float(gap["parameters_change"]) == pytest.approx((12_502 - 61_706) / 61_706)
        assert float(row(reported[0], "summary.csv", model="baseline")["parameters_change"]) == 0

    def test_latencies_are_medians_in_microseconds(self, reported: tuple[Path, str, str]) -> None:
        baseline = row(reported[0], "summary.csv", model="baseline")
        assert float(baseline["torch_batch1_us"]) == pytest.approx(110)
        assert float(baseline["onnxruntime_batch1_us"]) == pytest.approx(20)
        assert baseline["latency_valid"] == "True"

    def test_the_speed_up_is_the_paired_ratio_and_not_that_of_the_medians(
        self, reported: tuple[Path, str, str]
    ) -> None:
        baseline = row(reported[0], "summary.csv", model="baseline")
        ratio = [float(baseline[f"speedup_batch1{end}"]) for end in ("", "_low", "_high")]
        assert ratio == [5.4, 5.3, 5.6]
        assert baseline["speedup_batch1_verdict"] == "faster"
        assert f"5.40{TIMES} (5.30 to 5.60) |" in (reported[0] / "report" / "summary.md").read_text()

    def test_a_speed_up_that_is_withheld_is_empty_and_said_to_be(self, reported: tuple[Path, str, str]) -> None:
        gap = row(reported[0], "summary.csv", model="gap")
        assert [gap[f"speedup_batch1{end}"] for end in ("", "_low", "_high")] == ["", "", ""]
        assert gap["speedup_batch1_verdict"] == "withheld"
        assert re.search(r"\| +withheld \|", (reported[0] / "report" / "summary.md").read_text())

    def test_what_was_not_measured_is_empty(self, reported: tuple[Path, str, str]) -> None:
        l1 = row(reported[0], "summary.csv", model="l1-1e-3")
        assert {l1[key] for key in l1 if "batch1" in key} == {""}
        assert l1["latency_valid"] == ""

    def test_an_invalid_measurement_is_marked(self, reported: tuple[Path, str, str]) -> None:
        assert row(reported[0], "summary.csv", model="gap")["latency_valid"] == "False"
        assert "30.0 †" in (reported[0] / "report" / "summary.md").read_text()

    def test_exact_zeros_are_over_all_fully_connected_weights(self, reported: tuple[Path, str, str]) -> None:
        l1 = row(reported[0], "summary.csv", model="l1-1e-3")
        assert float(l1["fc_exact_zeros_mean"]) == pytest.approx(0.5 * 48_000 / 58_920)  # 25, 50 and 75 % of fc1
        assert l1["fc_weights"] == "58920"

    def test_without_a_fully_connected_layer_their_share_of_zeros_is_empty(
        self, reported: tuple[Path, str, str]
    ) -> None:
        gap = row(reported[0], "summary.csv", model="gap")
        assert (gap["fc_weights"], gap["fc_exact_zeros_mean"]) == ("0", "")

    def test_differences_are_judged(self, reported: tuple[Path, str, str]) -> None:
        verdicts = {r["model"]: r["verdict"] for r in rows(reported[0], "summary.csv")}
        assert verdicts == {"baseline": "baseline", "l1-1e-3": "worse", "gap": "not distinguishable"}

    def test_one_run_has_no_spread_and_is_not_judged(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {}, test_error=0.5)
        study = read_study(find(artifacts, ("baseline", "gap")))
        summary = all_tables(study)["summary"]
        gap = summary.set_index("model").loc["gap"]
        assert (gap["runs"], gap["verdict"]) == (1, "not judged")
        assert summary["test_error_std"].isna().all()
        assert list(text(SUMMARY, summary)["test error, %"]) == ["8.00", "50.00"]

    def test_latex_has_balanced_groups_and_only_escaped_specials(self, reported: tuple[Path, str, str]) -> None:
        text = (reported[0] / "report" / "summary.tex").read_text()
        body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
        bare = re.sub(r"\\[\\{}&%$#_]", "", body)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        assert not re.search(r"[#_^~<>]|(?<!\{)%(?!\n)", bare)
        assert re.findall(r"\\begin\{(\w+)\}", body) == ["table", "tabular"]
        assert re.findall(r"\\end\{(\w+)\}", body) == ["tabular", "table"]
        assert body.isascii()
        cells = [line.count("&") for line in bare.splitlines() if "&" in line]
        assert len(cells) == 4
        assert len(set(cells)) == 1

    def test_latex_escapes_every_special_character(self) -> None:
        assert as_latex(r"a_b & 5 % \x{}") == r"a\_b \& 5 \% \textbackslash{}x\{\}"


class TestRunsAndConvergence:
    def test_runs_has_a_row_a_run_with_all_digits(self, reported: tuple[Path, str, str]) -> None:
        root = reported[0]
        assert len(rows(root, "runs.csv")) == 8
        run = row(root, "runs.csv", model="l1-1e-3", seed=2)
        assert float(run["test_error"]) == 0.106
        assert float(run["test_error_onnxruntime"]) == 0.106
        assert float(run["parity_max_abs_difference"]) == 2e-7
        assert int(run["onnx_bytes"]) == Artifacts(root).run("l1-1e-3", 2).onnx.stat().st_size
        assert float(run["fc_exact_zeros"]) == 36_000 / 58_920

    def test_convergence_has_a_row_an_epoch_of_a_run(self, reported: tuple[Path, str, str]) -> None:
        found = rows(reported[0], "convergence.csv")
        assert len(found) == 8 * 3
        assert found[1] == {
            **dict.fromkeys(("validation_loss", "validation_error"), ""),
            **{"model": "baseline", "seed": "0", "epoch": "2", "lr": "0.05", "train_loss": "0.5"},
            **{"train_error": "0.3", "seconds": "3.0"},
        }


class TestSparsity:
    def test_every_layer_of_every_run_has_every_measure(self, reported: tuple[Path, str, str]) -> None:
        found = rows(reported[0], "sparsity.csv")
        assert len(found) == 2 * 3 * 3 * 4  # models with layers, runs, layers, measures
        assert {r["measure"] for r in found} == {"hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros"}

    def test_a_value_is_that_of_the_weights_in_the_file(self, reported: tuple[Path, str, str]) -> None:
        where = {"model": "l1-1e-3", "seed": 1, "layer": "fc1"}
        zeros = row(reported[0], "sparsity.csv", **where, measure="exact_zeros")
        assert (zeros["value"], zeros["reason"]) == ("0.5", "")
        assert (zeros["out_features"], zeros["in_features"]) == ("120", "400")
        c = np.abs(layers(1, zeros=0.5)["fc1"].astype(np.float64))
        by_hand = (math.sqrt(c.size) - c.sum() / np.linalg.norm(c)) / (math.sqrt(c.size) - 1)
        assert float(row(reported[0], "sparsity.csv", **where, measure="hoyer")["value"]) == pytest.approx(by_hand)

    def test_a_model_without_fully_connected_layers_has_no_rows_and_is_named(
        self, reported: tuple[Path, str, str]
    ) -> None:
        assert "gap" not in {r["model"] for r in rows(reported[0], "sparsity.csv")}
        assert "Without a fully-connected layer: gap." in (reported[0] / "report" / "index.html").read_text()

    def test_an_undefined_value_is_empty_with_its_reason(self, artifacts: Artifacts) -> None:
        broken = layers(0)
        broken["fc1"][0, 0] = np.nan
        broken["fc2"][:] = 0
        write_run(artifacts, "baseline", 0, broken)
        text = sparsity_tables.sparsity(read_study(find(artifacts, ("baseline",)))).to_csv(index=False)
        assert "baseline,0,fc1,120,400,hoyer,,a weight is not finite,\n" in text
        assert "baseline,0,fc2,84,120,gini,,all weights are zero,\n" in text
        assert "baseline,0,fc2,84,120,exact_zeros,1.0,,0.0\n" in text

    def test_a_layer_trained_with_l1_that_has_no_exact_zero_is_remarked_on(self, tmp_path: Path) -> None:
        weights = {"fc1": np.full((2, 3), 1e-7, np.float32), "fc2": np.eye(2, dtype=np.float32)}
        for model in ("baseline", "l1-1e-3"):
            write_run(Artifacts(tmp_path), model, 4, weights)
        analyse(tmp_path, "--models", "baseline,l1-1e-3")
        page = (tmp_path / "report" / "index.html").read_text()
        assert page.count("yet no weight of") == 1
        assert "l1-1e-3: trained with L1, yet no weight of fc1 is exactly zero (seed 4)" in page

    @pytest.mark.usefixtures("drawing")
    def test_further_measures_are_told_and_drawn_where_asked_for(self, artifacts: Artifacts) -> None:
        analyse(artifacts.root, "--models", "baseline", "--measure", "-lp(p=0.3),kappa4")
        measures = {r["measure"] for r in rows(artifacts.root, "sparsity.csv")}
        assert measures == {"hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros", "-lp(p=0.3)", "kappa4"}
        assert "kappa4" in (artifacts.report / "sparsity.svg").read_text()

    @pytest.mark.parametrize("name", ["sparsity", "weights_histogram"])
    def test_the_numbers_of_the_pictures_are_there_as_json_too(
        self, reported: tuple[Path, str, str], name: str
    ) -> None:
        found = read_json(reported[0] / "report" / f"{name}.json", "table/1", "make the report")
        table = rows(reported[0], f"{name}.csv")
        assert len(found["rows"]) == len(table) > 0
        for told, same in zip(table, found["rows"], strict=True):
            assert {key: "" if value is None else str(value) for key, value in same.items()} == told

    def test_a_study_without_any_fully_connected_layer_is_reported_on(self, tmp_path: Path) -> None:
        write_run(Artifacts(tmp_path), "gap", 0, {})
        analyse(tmp_path, "--models", "gap")
        assert rows(tmp_path, "sparsity.csv") == []
        assert "No model has a fully-connected layer." in (tmp_path / "report" / "index.html").read_text()


class Page(HTMLParser):
    """Collects a page's elements, texts and references; fails on elements that are closed in another order."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.references: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class TestPage:
    @pytest.fixture
    def text(self, reported: tuple[Path, str, str]) -> str:
        return (reported[0] / "report" / "index.html").read_text(encoding="utf-8")

    def test_it_is_well_formed(self, text: str) -> None:
        page = Page(text)
        assert page.open == []
        assert text.startswith("<!DOCTYPE html>")
        assert page.elements.count("title") == page.elements.count("h1") == 1

    def test_it_needs_nothing_from_outside_and_runs_no_script(self, text: str) -> None:
        page = Page(text)
        assert len(page.references) == len(DRAWN)
        assert all(reference.startswith("data:image/svg+xml;base64,") for reference in page.references)
        assert not {"script", "link", "iframe", "object"} & set(page.elements)
        assert "url(" not in text
        assert "@import" not in text

    def test_it_embeds_the_pictures_beside_it(self, reported: tuple[Path, str, str], text: str) -> None:
        embedded = {base64.b64decode(reference.partition(",")[2]) for reference in Page(text).references}
        assert embedded == {(reported[0] / "report" / f"{name}.svg").read_bytes() for name in DRAWN}

    def test_values_are_escaped(self, text: str) -> None:
        assert "<busy>" not in text
        assert "<b>" not in text
        assert "1.6 cores <busy> & hot" in "".join(Page(text).texts)
        assert "withheld (hot & <b>)." in "".join(Page(text).texts)

    def test_it_tells_what_all_measurements_have_in_common(self, text: str) -> None:
        words = "".join(Page(text).texts)
        assert words.count("The same in all rows: seed 0, threads 1, mode native, device cpu, file bench.json.") == 2
        assert "The same in all rows: seed 0, threads 1, device cpu, file bench.json." in words

    def test_it_names_the_measures_as_elsewhere(self, text: str) -> None:
        words = "|".join(Page(text).texts)
        assert "Gini|PQI(1,2)|share of exact zeros" in words

    def test_it_warns_states_the_machine_and_the_verdicts(self, text: str) -> None:
        words = "".join(Page(text).texts)
        assert "1 of 5 benchmark cases are not valid: 1.6 cores <busy> & hot (latency.csv says which)" in words
        assert "gap has no benchmark case of torch batch 32" in words
        assert "l1-1e-3 has no benchmark case;" in words
        assert "the models have different numbers of runs: baseline 3, l1-1e-3 3, gap 2" in words
        assert "Imagined(R) CPU & Co <1_000>, 2 cores" in words
        assert "1 of 3 comparisons are not valid: hot & <b> (comparisons.csv says which)" in words
        assert (
            f"baseline: ONNX Runtime is 5.40{TIMES} (5.30 to 5.60) as fast as torch with one image, 1 thread, mode "
            "native, noise floor 0.40 %: faster." in words
        )
        assert re.search(r"l1-1e-3: 10\.30 % test error, 2\.23 points above baseline, .* worse", words)
