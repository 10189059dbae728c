"""The results page on made-up runs whose every number is known."""

import csv
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.inputs.entries import read_field
from analysis.pages import parameter_counts as circulating
from analysis.pages import results as field_page
from analysis.plots import results as field_plots
from analysis.plots import style
from analysis.tables import results as results_tables
from analysis.tables.numbers import MISSING, TIMES
from study import catalogue
from study.artifacts import HISTORY, Artifacts, write_csv, write_json
from study.catalogue import entry
from study.errors import StudyError
from tests.conftest import DRAWN
from tests.support.entries import write_entries
from tests.support.synthetic import (
    ENVIRONMENT,
    IMAGES,
    case,
    comparison,
    edit_json,
    layers,
    search_record,
    write_bench,
    write_predictions,
    write_run,
)

MINUS = "\N{MINUS SIGN}"


class Page:
    """The page and its tables; without `written` no file and no picture is made."""

    def __init__(self, artifacts: Artifacts, written: Path | None = None) -> None:
        self.folder = artifacts.root / "results"
        if written:
            assert main(["results", "--artifacts", str(artifacts.root), "--output", str(written)]) == 0
            self.text, self.folder = written.read_text(), written.with_suffix("")
        else:
            field = read_field(artifacts, sorted(artifacts.root.glob("bench*.json")))
            self.text = field_page.page(field, results_tables.all_tables(field), "results")

    def section(self, title: str) -> str:
        """What is below the heading, up to the next one."""
        return re.split(r"^#+ .*$", self.text.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]

    def rows(self, title: str) -> dict[str, dict[str, str]]:
        """The first table of a section by its first column."""
        grid = re.search(r"^\|(?:.*\n)*?(?=\n|\Z)", self.section(title), re.MULTILINE)
        assert grid is not None
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in grid[0].splitlines()]
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}

    def csv(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def field(written: Artifacts, tmp_path: Path) -> Artifacts:
    """An artifacts folder to change."""
    shutil.copytree(written.root, tmp_path / "artifacts", ignore=shutil.ignore_patterns("bench*"))
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """An artifacts folder with measurements of one entry."""
    artifacts = Artifacts(tmp_path_factory.mktemp("field") / "artifacts")
    write_entries(artifacts)
    write_bench(
        artifacts,
        [case(artifacts, "cnn5", "torch", 1, 200e-6), case(artifacts, "cnn5", "onnxruntime", 1, 40e-6)],
        [comparison(artifacts, "cnn5", 1, 5.0, 4.9, 5.1)],
        name="bench-field-1.json",
    )
    return artifacts


@pytest.fixture(scope="module")
def page(written: Artifacts) -> Page:
    """The page that the command writes, with empty files for pictures."""
    return Page(written, written.root.parent / "docs" / "results.md")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of three runs of every entry for Fashion-MNIST, with a search and with the pictures, and histories."""
    artifacts = Artifacts(tmp_path_factory.mktemp("whole") / "artifacts")
    random = np.random.default_rng(0)
    for one in catalogue.ENTRIES:
        for seed in range(3) if one.dataset == catalogue.FASHION_MNIST else ():
            epochs = min(one.recipe.epochs, 80)
            last: dict[str, Any] = {"validation_error": 0.1, "kept_epoch": epochs - 10} if one.recipe.patience else {}
            write_run(
                artifacts, one.name, seed, {}, test_error=round(random.uniform(0.05, 0.1), 3), epochs=epochs, **last
            )
            rows = []
            for epoch in range(1, epochs + 1):
                loss, error, other, validated = (1 + random.normal(0, 0.02, 4)) * (0.1 + 0.9 / epoch)
                rows.append({"epoch": epoch, "lr": 0.1, "train_loss": loss, "train_error": error / 2, "seconds": 9.0})
                if one.recipe.validation:
                    rows[-1] |= {"validation_loss": other, "validation_error": validated / 2}
            write_csv(artifacts.run(one.name, seed).history, HISTORY, rows)
    write_json(artifacts.search("tuned"), search_record("tuned"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "drawn", DRAWN)
        return Page(artifacts, artifacts.root.parent / "docs" / "results.md")


class TestAccuracy:
    def test_entries_are_by_study_in_the_order_of_the_catalogue(self, page: Page) -> None:
        found = re.findall(r"^### (.*)$", page.text, re.MULTILINE)
        assert found == ["regularisers", "lenet5-1998", "cnn5", "mini-vgg", "lenet5-variants", "tuned"]
        assert list(page.rows("cnn5")) == ["cnn5", "cnn5-modern", "cnn5-batch128"]
        assert [row["model"] for row in page.csv("results.csv")] == [
            *("baseline", "lenet5-1998", "cnn5", "cnn5-modern", "cnn5-batch128", "mini-vgg", "lenet5-plain", "tuned"),
        ]

    def test_means_and_sample_deviations_are_of_the_runs(self, page: Page) -> None:
        row = page.rows("cnn5")["cnn5"]
        assert (row["test, %"], row["validation, %"]) == ("91.93 ± 0.21", "90.00 ± 1.00")
        assert (row["runs"], row["budget"]) == ("3", "full")
        assert page.rows("regularisers")["baseline"]["test, %"] == "92.00"

    def test_a_validation_figure_is_compared_with_our_validation_alone(self, page: Page) -> None:
        rows = page.rows("cnn5")
        assert rows["cnn5"]["published, %"] == "90.70 (validation)"
        assert rows["cnn5"]["difference, points"] == f"{MINUS}0.70 (validation)"
        assert rows["cnn5-modern"]["difference, points"] == "not comparable"

    def test_a_test_figure_is_compared_with_our_test(self, page: Page) -> None:
        row = page.rows("lenet5-variants")["lenet5-plain"]
        assert (row["published, %"], row["difference, points"]) == ("89.27", "+0.73")

    def test_where_nothing_was_published_nothing_is_compared(self, page: Page) -> None:
        row = page.rows("regularisers")["baseline"]
        assert (row["published, %"], row["difference, points"]) == (MISSING, MISSING)

    def test_recipes_are_marked_by_whose_they_are(self, page: Page) -> None:
        assert {row["model"]: row["recipe"] for row in page.csv("results.csv")} == {
            **{"baseline": "this project's", "lenet5-1998": "published", "lenet5-plain": "published"},
            **{"cnn5": "published", "cnn5-modern": "modern", "cnn5-batch128": "published"},
            **{"mini-vgg": "published", "tuned": "this project's"},
        }

    def test_fewer_epochs_are_a_short_budget_and_fewer_runs_are_none(self, page: Page) -> None:
        row = page.rows("mini-vgg")["mini-vgg"]
        assert (row["runs"], row["budget"]) == ("1", "**5 of 150 epochs**")
        assert row["difference, points"] == f"{MINUS}2.20 (validation, short)"
        row = page.rows("lenet5-variants")["lenet5-plain"]
        assert (row["runs"], row["budget"]) == ("1", "full")

    def test_epochs_tell_of_early_stopping(self, page: Page) -> None:
        assert page.rows("cnn5")["cnn5"]["epochs"] == "3 of at most 150, kept 2"
        assert page.rows("cnn5")["cnn5-modern"]["epochs"] == "40"
        assert page.rows("mini-vgg")["mini-vgg"]["epochs"] == "5 of at most 150, kept 3"

    def test_times_are_of_all_epochs_of_the_runs(self, page: Page) -> None:
        row = page.rows("cnn5")["cnn5"]
        assert row["seconds an epoch (fastest)"] == "6.4 (3.5)", "3.5 4 5 6 6.4 7 8 9 50"
        assert row["seconds a run"] == "19", "3 epochs"

    def test_images_kept_for_validation_are_not_trained_on(self, page: Page) -> None:
        rows = page.rows("cnn5")
        assert (rows["cnn5"]["trained on"], rows["cnn5-modern"]["trained on"]) == ("54,000", "60,000")

    def test_entries_without_runs_are_named(self, page: Page) -> None:
        named = page.section("Not run").strip().rstrip(".").split(", ")
        there = {row["model"] for row in page.csv("results.csv")}
        assert set(named) == {entry.name for entry in catalogue.ENTRIES} - there


class TestRemarks:
    def test_sources_and_decisions_are_told_once(self, page: Page) -> None:
        text = page.section("cnn5")
        assert text.count("\n- Published figures: a study of batch sizes.") == 1
        assert text.count("\n- cnn5: the publication does not say how many images it validated on; here 6,000") == 1
        assert text.count("\n- ") == 2, "and nothing else, where all runs are alike"

    def test_a_run_by_another_recipe_is_left_out(self, field: Artifacts) -> None:
        edit_json(field.run("cnn5", 1).record, recipe=asdict(replace(entry("cnn5").recipe, momentum=0.5)))
        page = Page(field)
        told = "cnn5: left out: seed 1, trained by another recipe (momentum 0.5 instead of 0.9)."
        assert told in page.section("cnn5")
        row = page.rows("cnn5")["cnn5"]
        assert (row["runs"], row["test, %"]) == ("2", "92.05 ± 0.07"), "92.0 and 92.1"
        assert page.rows("Batch sizes compared")["cnn5"]["test, %"] == "92.05 ± 0.07"
        assert set(results_tables.accuracy(read_field(field, [])).query("model == 'cnn5'")["seed"].dropna()) == {0, 2}

    def test_a_run_of_fewer_epochs_than_the_others_is_left_out(self, field: Artifacts) -> None:
        edit_json(field.run("cnn5", 2).record, recipe=asdict(replace(entry("cnn5").recipe, epochs=5)))
        page = Page(field)
        assert "cnn5: left out: seed 2, trained for 5 epochs, others for 150." in page.section("cnn5")
        row = page.rows("cnn5")["cnn5"]
        assert (row["runs"], row["budget"], row["test, %"]) == ("2", "full", "91.85 ± 0.21"), "92.0 and 91.7"

    def test_a_run_on_another_data_set_is_left_out(self, field: Artifacts) -> None:
        other = {"name": "CIFAR-10", "classes": ["a", "b"], "mean": 0.28, "std": 0.35, "files": {}}
        edit_json(field.run("cnn5", 0).record, dataset=other)
        page = Page(field)
        assert "cnn5: left out: seed 0, trained on CIFAR-10." in page.section("cnn5")
        assert page.rows("cnn5")["cnn5"]["test, %"] == "91.90 ± 0.28", "91.7 and 92.1"

    def test_a_run_whose_recipe_has_an_unknown_field_is_left_out(self, field: Artifacts) -> None:
        edit_json(field.run("cnn5", 0).record, recipe={**asdict(entry("cnn5").recipe), "noise": 1})
        page = Page(field)
        assert "cnn5: left out: seed 0, trained by another recipe (it has further keys)." in page.section("cnn5")
        assert page.rows("cnn5")["cnn5"]["runs"] == "2"

    def test_an_entry_all_of_whose_runs_are_left_out_counts_as_not_run(self, field: Artifacts) -> None:
        edit_json(field.run("lenet5-plain", 0).record, recipe=asdict(entry("baseline").recipe))
        page = Page(field)
        assert "### lenet5-variants" not in page.text
        assert "lenet5-plain: left out: seed 0, trained by another recipe (epochs" not in page.section("Not run")
        assert "lenet5-plain: left out: seed 0, trained by another recipe (batch_size 256" in page.section("Not run")

    def test_machines_are_numbered_and_runs_of_different_ones_are_told(self, field: Artifacts) -> None:
        for seed in (1, 2):
            edit_json(field.run("cnn5", seed).record, environment={**ENVIRONMENT, "cpu": "Another"})
        page = Page(field)
        assert (page.rows("cnn5")["cnn5"]["machine"], page.rows("cnn5")["cnn5-modern"]["machine"]) == ("1, 2", "1")
        assert "cnn5: the runs have different machines: seed 0 and seed 1, 2." in page.section("cnn5")
        made = page.section("Made with")
        assert "- Machine 1: Imagined(R) CPU & Co <1_000>, 2 cores, 8 GiB.\n- Machine 2: Another, 2 cores" in made
        assert "- Trained on machine 2, Linux, Python 3.11.0, torch 2.13.0" in made

    def test_commits_of_one_set_of_versions_are_in_one_line(self, field: Artifacts) -> None:
        edit_json(field.run("cnn5", 1).record, environment={**ENVIRONMENT, "commit": "f" * 40})
        made = Page(field).section("Made with")
        assert made.count("- Trained on ") == 1
        assert "onnxruntime 1.31.1; commit 0123456789ab, commit ffffffffffff." in made

    @pytest.mark.parametrize("model", ["cnn5", "cnn5-batch128"])
    def test_runs_tested_on_other_images_are_refused(self, field: Artifacts, model: str) -> None:
        for seed in range(3) if model == "cnn5-batch128" else (1,):
            files = field.run(model, seed)
            write_predictions(files.predictions, [1] * 83 + [0] * (IMAGES - 84))
            edit_json(files.record, test_error=83 / (IMAGES - 1))
        with pytest.raises(StudyError, match=f"not tested on the same images; run `python -m train {model} --fresh`"):
            Page(field)

    def test_without_any_run_it_says_what_to_run(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="no finished run of the catalogue; run `python -m train`"):
            main(["results", "--artifacts", str(tmp_path), "--output", str(tmp_path / "x.md")])


class TestSizeAndLatency:
    def test_latencies_are_those_of_every_bench_file_among_the_artifacts(self, page: Page) -> None:
        row = page.rows("Size and latency")["cnn5"]
        assert (row["torch, µs"], row["ONNX Runtime, µs"], row["machine"]) == ("200.0", "40.0", "1")
        assert row["speed-up"] == f"5.00{TIMES} (4.90 to 5.10)"
        assert "and from bench-field-1.json" in page.text

    def test_the_size_is_that_of_the_onnx_file(self, field: Artifacts) -> None:
        size = field.run("cnn5", 0).onnx.stat().st_size
        assert Page(field).rows("Size and latency")["cnn5"]["ONNX, kB"] == f"{size / 1000:.1f}"

    def test_what_was_not_measured_is_to_be_measured_into_a_new_file(self, page: Page, written: Artifacts) -> None:
        row = page.rows("Size and latency")["mini-vgg"]
        assert {row["torch, µs"], row["ONNX Runtime, µs"], row["speed-up"], row["machine"]} == {MISSING}
        assert (
            "run `pytest bench --models baseline,lenet5-1998,cnn5-modern,cnn5-batch128,mini-vgg,lenet5-plain,tuned "
            f"--artifacts {written.root} --benchmark-json={written.root}/bench-field-2.json`"
        ) in page.section("Size and latency")

    def test_without_any_measurement_the_page_is_made(self, field: Artifacts) -> None:
        section = Page(field).section("Size and latency")
        assert "No latency has been measured." in section
        assert f"--benchmark-json={field.root}/bench-field-1.json" in section

    def test_the_same_file_twice_counts_once(self, field: Artifacts) -> None:
        first = write_bench(field, [case(field, "cnn5", "torch", 1, 200e-6)])
        shutil.copy(first, field.root / "bench-again.json")
        page = Page(field)
        assert "several files" not in page.text
        assert "bench-again.json" in page.text
        assert ", bench.json" not in page.text

    def test_a_bench_that_is_named_must_be_there(self, field: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"other\.json is missing"):
            main(["results", "--artifacts", str(field.root), "--bench", "other.json"])

    def test_a_run_that_is_not_exported_is_told_and_has_no_size(self, field: Artifacts) -> None:
        field.run("mini-vgg", 0).export.unlink()
        page = Page(field)
        assert page.rows("Size and latency")["mini-vgg"]["ONNX, kB"] == MISSING
        assert "not exported, and so without size, latency and sparsity: run `python -m export mini-vgg`" in page.text
        measured = re.search("pytest bench --models ([^ ]*)", page.text)
        assert measured is not None
        assert "mini-vgg" not in measured[1].split(",")

    def test_why_an_export_does_not_count_is_told(self, field: Artifacts) -> None:
        field.run("mini-vgg", 0).onnx.write_bytes(b"another")
        assert "Note: mini-vgg, seed 0 is without size, latency and sparsity: " in Page(field).text
        assert "is not the file that" in Page(field).text

    def test_fixed_numbers_are_beside_the_trainable_ones(self, page: Page) -> None:
        assert page.rows("Size and latency")["lenet5-1998"]["parameters"] == "60,000 (+ 840 fixed)"


class TestBatchSizes:
    def test_entries_that_differ_in_their_batch_size_alone_are_found(self, page: Page) -> None:
        rows = page.rows("Batch sizes compared")
        assert {model: row["batch size"] for model, row in rows.items()} == {"cnn5": "64", "cnn5-batch128": "128"}
        assert rows["cnn5"]["epoch kept"] == "2, 2, 2"
        assert rows["cnn5"]["seconds an epoch (fastest)"] == "6.4 (3.5)"
        assert [rows[model]["published seconds a run"] for model in rows] == ["543", "592"]
        assert "on the publication's machine" in page.section("Batch sizes compared")

    def test_a_difference_is_held_against_the_noise(self, page: Page) -> None:
        (row,) = [row for row in page.csv("batches.csv") if row["against"]]
        assert float(row["test_error_change"]) == pytest.approx(0.366 / 3 - 0.242 / 3)
        told = f"cnn5-batch128: {MINUS}4.13 points of test accuracy against cnn5, outside the noise of "
        assert told in page.section("Batch sizes compared")
        assert "worse (n = 3 and 3)." in page.section("Batch sizes compared")

    def test_one_run_is_not_judged(self, field: Artifacts) -> None:
        for seed in (1, 2):
            field.run("cnn5-batch128", seed).record.unlink()
        text = Page(field).section("Batch sizes compared")
        assert "not judged: that takes two runs or more of each (n = 1 and 3)." in text

    def test_different_numbers_of_epochs_are_not_judged(self, field: Artifacts) -> None:
        few = asdict(replace(entry("cnn5-batch128").recipe, epochs=1))
        for seed in range(3):
            edit_json(field.run("cnn5-batch128", seed).record, recipe=few)
        text = Page(field).section("Batch sizes compared")
        assert "cnn5-batch128 against cnn5: not judged: different budgets." in text
        assert "points of test accuracy" not in text

    def test_a_recipe_that_was_searched_is_not_compared_with_the_catalogues(self, field: Artifacts) -> None:
        found = asdict(replace(entry("cnn5").recipe, learning_rate=0.02, batch_size=256))
        best = {"number": 2, "validation_error": 0.09, "recipe": found}
        write_json(field.search("cnn5"), search_record("cnn5", best=best))
        for seed in range(3):
            edit_json(field.run("cnn5", seed).record, recipe=found)
        page = Page(field)
        assert page.rows("cnn5")["cnn5"]["recipe"] == "searched"
        assert "No two entries that differ in their batch size alone" in page.section("Batch sizes compared")


class TestSearch:
    def test_the_search_is_beside_the_test_of_its_winner(self, field: Artifacts) -> None:
        search = search_record("tuned")
        write_json(field.search("tuned"), search)
        write_run(field, "tuned", 0, layers(0), test_error=0.085, recipe=search["best"]["recipe"], epochs=12)
        page = Page(field)
        text = page.section("Search of hyper-parameters")
        assert "tuned: 4 trials (2 complete, 1 pruned, 1 failed). The best is number 2, with a validation" in text
        assert "a validation accuracy of 91.00 % on 20,000 training images" in text
        assert "the test accuracy is 91.50 % (n = 1)" in text
        row = page.rows("Search of hyper-parameters")["learning_rate"]
        assert row == {
            **{"hyper-parameter": "learning_rate", "best": "0.02", "importance": "0.75"},
            "searched": "0.01 to 0.3, by its logarithm",
        }
        assert "by PED-ANOVA, a parameter's share in what sets the best 25 % of the trials" in text
        assert "apart from all 40 that got there, pruned ones included" in text
        assert page.rows("tuned")["tuned"]["recipe"] == "searched"
        assert "left out" not in page.section("tuned")

    def test_runs_of_another_network_than_was_searched_are_no_winners(self, field: Artifacts) -> None:
        search = search_record("tuned", network_sha256="d" * 64)
        write_json(field.search("tuned"), search)
        write_run(field, "tuned", 1, layers(0), recipe=search["best"]["recipe"], epochs=12)
        page = Page(field)
        told = "none of the finished runs was trained with it"
        assert told in page.section("Search of hyper-parameters")
        assert page.rows("tuned")["tuned"]["recipe"] == "this project's"
        assert "tuned: left out: seed 1, trained by another recipe (learning_rate 0.02" in page.section("tuned")

    def test_without_a_search_it_says_so(self, page: Page) -> None:
        assert "No search has been finished (no search.json)." in page.section("Search of hyper-parameters")


class TestOthers:
    def test_sparsity_has_a_row_a_layer_and_on_the_page_one_an_entry(self, page: Page) -> None:
        rows = [row for row in page.csv("sparsity.csv") if row["model"] == "cnn5"]
        assert [(row["layer"], row["out_features"], row["runs"]) for row in rows] == [
            *(("fc1", "120", "3"), ("fc2", "84", "3"), ("fc3", "10", "3")),
        ]
        assert float(rows[0]["hoyer_mean"]) == pytest.approx(0.135, abs=0.005), "uniform weights: 1 - sqrt(3) / 2"
        told = page.rows("Fully-connected layers")["cnn5"]
        assert re.fullmatch(r"0\.13\d / 0\.13\d / 0\.1[34]\d", told["Hoyer of each"])

    def test_shares_of_an_entry_are_over_the_weights_of_all_its_layers(self, field: Artifacts) -> None:
        write_run(field, "tuned", 0, layers(0, zeros=0.5), epochs=12)
        row = Page(field).rows("Fully-connected layers")["tuned"]
        assert row["exact zeros, %"] == "40.7", "24,000 of 58,920"

    def test_the_same_inputs_give_the_same_bytes(self, artifacts: Artifacts, tmp_path: Path) -> None:
        pages = []
        for name in ("a", "b"):
            Page(artifacts, tmp_path / name / "results.md")
            pages.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")})
        assert pages[0] == pages[1]
        assert set(pages[0]) == {
            *("results.md", "results.csv", "batches.csv", "sparsity.csv", "accuracy.csv", "accuracy.png"),
        }

    def test_pictures_are_linked_and_there(self, whole: Page) -> None:
        linked = set(re.findall(r"\]\(results/(.*?\.png)\)", whole.text))
        studies = ("convnet-7x7", "lenet5-1998", "cnn5", "mini-vgg", "lenet5-variants", "tuned")
        histories = {f"history-{study}.png" for study in studies}
        assert linked == {"accuracy.png", "importance.png", "search.png", *histories}
        for name in linked:
            content = (whole.folder / name).read_bytes()
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            assert content[25] == 3, "its colours are those of a palette"
            assert (whole.folder / name).with_suffix(".csv").is_file()

    def test_the_whole_field_takes_less_than_a_megabyte(self, whole: Page) -> None:
        assert sum(path.stat().st_size for path in whole.folder.iterdir()) < 1e6
        assert {path.suffix for path in whole.folder.iterdir()} == {".csv", ".png"}

    def test_runs_and_published_figures_are_drawn(self, page: Page) -> None:
        rows = [
            (row["what"], row["seed"], row["accuracy"]) for row in page.csv("accuracy.csv") if row["model"] == "cnn5"
        ]
        assert rows[0] == ("published validation", "", "90.7")
        assert [what for what, *_ in rows[1:]] == ["validation", "test"] * 3
        assert [float(accuracy) for *_, accuracy in rows[1:3]] == [pytest.approx(91), pytest.approx(92)]
        drawn = {row["model"] for row in page.csv("accuracy.csv") if row["what"].startswith("published")}
        assert drawn == {"cnn5", "cnn5-batch128", "mini-vgg", "lenet5-plain", "tuned"}, "not cnn5-modern"

    def test_an_accuracy_far_below_the_others_stands_at_the_edge(self, field: Artifacts) -> None:
        write_run(field, "lenet5-plain", 0, layers(0), test_error=0.3, epochs=60)
        figure = field_plots.accuracy(results_tables.accuracy(read_field(field, [])))
        (axis,) = [axis for axis in figure.axes if axis.get_title(loc="left") == "lenet5-variants"]
        low, high = axis.get_xlim()
        assert 84 < low < 85
        assert 93 < high < 94
        assert [text.get_text() for text in axis.texts] == ["test 70.0"]
        assert [np.asarray(line.get_xdata()).tolist() for line in axis.lines if line.get_marker() == "<"] == [[low]]

    def test_output_must_be_markdown(self, field: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"--output: expected a name that ends in \.md"):
            main(["results", "--artifacts", str(field.root), "--output", "results.html"])


class TestCirculating:
    def test_each_count_is_derived_and_beside_the_true_one(self) -> None:
        lenet5, exchanged, vgg = circulating.sentences({circulating.LENET5: 61_706})
        assert lenet5.startswith("58,654 for LeNet-5 is 156 + 416 + 48,001 + 10,081: ")
        assert "= 61,706 (61,706 in run.json)." in lenet5
        assert exchanged.startswith("60,865 for LeNet-5 is 156 + 2,416 + 48,120 + 10,164 = 60,856 with two digits")
        assert vgg.startswith(f'"2,097,152 in total" for the mini-VGG is 512 {TIMES} 64 {TIMES} 8 {TIMES} 8')
        assert vgg.endswith("= 2,167,786.")

    def test_the_fixed_numbers_are_those_of_the_network(self) -> None:
        from study.networks import build

        own = entry("lenet5-1998")
        codes = [buffer for name, buffer in build(own).named_buffers() if name.endswith("codes")]
        assert {own.network: codes[0].numel()} == results_tables.FIXED


@pytest.mark.parametrize(
    ("mean", "deviation", "told"), [(0.9231, 0.0012, "92.31 ± 0.12"), (0.9, None, "90.00"), (None, None, MISSING)]
)
def test_a_mean_is_told_with_its_spread(mean: Any, deviation: Any, told: str) -> None:
    assert results_tables.TEST[0].text(SimpleNamespace(test_accuracy_mean=mean, test_accuracy_std=deviation)) == told
