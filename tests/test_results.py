"""The results page on made-up runs whose every number is known."""

import csv
import re
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from analysis import circulating, field_page, field_tables, field_text
from analysis.__main__ import main
from analysis.field import read_field
from analysis.text import MISSING, TIMES
from study import catalogue
from study.artifacts import Artifacts, write_json
from study.catalogue import entry
from study.errors import StudyError
from tests.synthetic import (
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

CNN5, BATCH128 = (0.080, 0.083, 0.079), (0.120, 0.121, 0.125)


class Page:
    """The page and its tables; without `written` no file and no picture is made."""

    def __init__(self, artifacts: Artifacts, written: Path | None = None) -> None:
        self.folder = artifacts.root / "results"
        if written:
            assert main(["results", "--artifacts", str(artifacts.root), "--output", str(written)]) == 0
            self.text, self.folder = written.read_text(), written.with_suffix("")
        else:
            field = read_field(artifacts, sorted(artifacts.root.glob("bench*.json")))
            self.text = field_page.page(field, field_tables.all_tables(field), "results")

    def section(self, title: str) -> str:
        """What is below the heading, up to the next one."""
        return re.split(r"^#+ .*$", self.text.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]

    def rows(self, title: str) -> dict[str, dict[str, str]]:
        """The table of a section by its first column."""
        lines = [line.strip("|").split("|") for line in self.section(title).splitlines() if line.startswith("|")]
        head, _, *rows = [[cell.strip() for cell in line] for line in lines]
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}

    def csv(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))


def write_field(artifacts: Artifacts) -> None:
    """The default study's baseline, and entries of the field: whole, with a smaller budget, and without validation."""
    write_run(artifacts, "baseline", 0, layers(0))
    for seed, (error, other) in enumerate(zip(CNN5, BATCH128, strict=True)):
        errors = [0.2, 0.09 + 0.01 * seed, 0.3]
        seconds = 100.0 + 10 * seed**2
        write_run(artifacts, "cnn5", seed, layers(seed), test_error=error, validation=errors, seconds=seconds)
        write_run(artifacts, "cnn5-batch128", seed, layers(seed), test_error=other, validation=[0.1])
        write_run(artifacts, "cnn5-modern", seed, layers(seed), test_error=0.07, epochs=28)
    few = asdict(replace(entry("mini-vgg").recipe, epochs=5))
    write_run(artifacts, "mini-vgg", 0, layers(0), validation=[0.3, 0.2, 0.1, 0.1, 0.1], recipe=few)
    write_run(artifacts, "lenet5-1998", 0, {}, parameters=60_000, epochs=20)
    write_run(artifacts, "lenet5-plain", 0, layers(0), test_error=0.1, epochs=60)


@pytest.fixture
def field(tmp_path: Path) -> Artifacts:
    """An artifacts folder to change."""
    artifacts = Artifacts(tmp_path / "artifacts")
    write_field(artifacts)
    return artifacts


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page that the command writes, with measurements of one entry."""
    artifacts = Artifacts(tmp_path_factory.mktemp("field") / "artifacts")
    write_field(artifacts)
    write_bench(
        artifacts,
        [case(artifacts, "cnn5", "torch", 1, 200e-6), case(artifacts, "cnn5", "onnxruntime", 1, 40e-6)],
        [comparison(artifacts, "cnn5", 1, 5.0, 4.9, 5.1)],
        name="bench-field.json",
    )
    return Page(artifacts, artifacts.root.parent / "docs" / "results.md")


class TestAccuracy:
    def test_entries_are_by_study_in_the_order_of_the_catalogue(self, page: Page) -> None:
        found = re.findall(r"^### (.*)$", page.text, re.MULTILINE)
        assert found == ["regularisers", "lenet5-1998", "cnn5", "mini-vgg", "lenet5-variants"]
        assert list(page.rows("cnn5")) == ["cnn5", "cnn5-modern", "cnn5-batch128"]
        assert [row["model"] for row in page.csv("results.csv")] == [
            *("baseline", "lenet5-1998", "cnn5", "cnn5-modern", "cnn5-batch128", "mini-vgg", "lenet5-plain"),
        ]

    def test_means_and_sample_deviations_are_of_the_runs(self, page: Page) -> None:
        row = page.rows("cnn5")["cnn5"]
        accuracies = [100 * (1 - error) for error in CNN5]
        assert row["test, %"] == f"{statistics.mean(accuracies):.2f} ± {statistics.stdev(accuracies):.2f}"
        assert row["validation, %"] == "90.00 ± 1.00"
        assert (row["n"], row["budget"]) == ("3", "full")
        assert page.rows("regularisers")["baseline"]["test, %"] == "92.00"

    def test_a_validation_figure_is_compared_with_our_validation_alone(self, page: Page) -> None:
        rows = page.rows("cnn5")
        assert rows["cnn5"]["published, %"] == "90.70 (validation)"
        assert rows["cnn5"]["difference, points"] == "\N{MINUS SIGN}0.70 (validation)"
        assert rows["cnn5-modern"]["difference, points"] == "not comparable"

    def test_a_test_figure_is_compared_with_our_test(self, page: Page) -> None:
        row = page.rows("lenet5-variants")["lenet5-plain"]
        assert (row["published, %"], row["difference, points"]) == ("89.27", "+0.73")

    def test_where_nothing_was_published_nothing_is_compared(self, page: Page) -> None:
        row = page.rows("regularisers")["baseline"]
        assert (row["published, %"], row["difference, points"]) == (MISSING, MISSING)

    def test_recipes_are_marked(self, page: Page) -> None:
        kinds = {row["model"]: row["recipe"] for row in page.csv("results.csv")}
        assert (kinds["cnn5"], kinds["cnn5-modern"], kinds["baseline"]) == ("published", "modern", "the study's")

    def test_a_smaller_budget_is_said(self, page: Page) -> None:
        assert page.rows("mini-vgg")["mini-vgg"]["budget"] == "**smaller: 5 of 150 epochs, 1 run**"
        assert page.rows("lenet5-variants")["lenet5-plain"]["budget"] == "**smaller: 1 run**"

    def test_epochs_tell_of_early_stopping(self, page: Page) -> None:
        assert page.rows("cnn5")["cnn5"]["epochs"] == "3 of at most 150, kept 2"
        assert page.rows("cnn5")["cnn5-modern"]["epochs"] == "28"

    def test_the_time_of_a_run_is_the_median(self, page: Page) -> None:
        assert page.rows("cnn5")["cnn5"]["seconds a run"] == "110"

    def test_entries_without_runs_are_named(self, page: Page) -> None:
        named = page.section("Not run").strip().rstrip(".").split(", ")
        there = {row["model"] for row in page.csv("results.csv")}
        assert set(named) == {entry.name for entry in catalogue.ENTRIES} - there


class TestRemarks:
    def test_runs_of_one_entry_that_differ_in_recipe_or_machine_are_told(self, field: Artifacts) -> None:
        record = field.run("cnn5", 1).record
        other = {**ENVIRONMENT, "cpu": "another"}
        edit_json(record, recipe=asdict(replace(entry("cnn5").recipe, momentum=0.5)), environment=other)
        text = Page(field).section("cnn5")
        assert "cnn5: seed 1 was not trained by the catalogue's recipe: momentum 0.5 instead of 0.9." in text
        assert "cnn5: the runs have different recipes: seed 0, 2 and seed 1." in text
        assert "cnn5: the runs have different machines: seed 0, 2 and seed 1." in text

    def test_runs_that_are_all_alike_have_no_remark(self, page: Page) -> None:
        assert "\n- " not in page.section("cnn5")

    def test_fewer_epochs_are_a_smaller_budget_and_no_other_recipe(self, page: Page) -> None:
        assert "not trained by" not in page.section("mini-vgg")

    def test_runs_tested_on_other_images_are_refused(self, field: Artifacts) -> None:
        write_predictions(field.run("cnn5", 1).predictions, [1] * 83 + [0] * (IMAGES - 83))
        rows = field.run("cnn5", 1).predictions.read_text().splitlines()[:-1]
        field.run("cnn5", 1).predictions.write_text("\n".join(rows) + "\n")
        edit_json(field.run("cnn5", 1).record, test_error=83 / (IMAGES - 1))
        with pytest.raises(StudyError, match="not tested on the same images; run `python -m train cnn5 --fresh`"):
            Page(field)

    def test_without_any_run_it_says_what_to_run(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="no finished run of the catalogue; run `python -m train`"):
            main(["results", "--artifacts", str(tmp_path), "--output", str(tmp_path / "x.md")])


class TestSizeAndLatency:
    def test_latencies_are_those_of_every_bench_file_among_the_artifacts(self, page: Page) -> None:
        row = page.rows("Size and latency")["cnn5"]
        assert (row["torch, µs"], row["ONNX Runtime, µs"]) == ("200.0", "40.0")
        assert row["speed-up"] == f"5.00{TIMES} (4.90 to 5.10)"
        assert "and from bench-field.json" in page.text

    def test_the_size_is_that_of_the_onnx_file(self, field: Artifacts) -> None:
        size = field.run("cnn5", 0).onnx.stat().st_size
        assert Page(field).rows("Size and latency")["cnn5"]["ONNX, kB"] == f"{size / 1000:.1f}"

    def test_what_was_not_measured_has_a_dash_and_what_to_run(self, page: Page) -> None:
        row = page.rows("Size and latency")["mini-vgg"]
        assert {row["torch, µs"], row["ONNX Runtime, µs"], row["speed-up"]} == {MISSING}
        assert "run `pytest bench --models baseline,lenet5-1998,cnn5-modern," in page.section("Size and latency")

    def test_without_any_measurement_the_page_is_made(self, field: Artifacts) -> None:
        section = Page(field).section("Size and latency")
        assert "No latency has been measured." in section

    def test_a_bench_that_is_named_must_be_there(self, field: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"other\.json is missing"):
            main(["results", "--artifacts", str(field.root), "--bench", "other.json"])

    def test_a_run_that_is_not_exported_is_told_and_has_no_size(self, field: Artifacts) -> None:
        field.run("mini-vgg", 0).export.unlink()
        page = Page(field)
        assert page.rows("Size and latency")["mini-vgg"]["ONNX, kB"] == MISSING
        assert "not exported, or stale" in page.text
        assert "`python -m export mini-vgg`" in page.text

    def test_fixed_numbers_are_beside_the_trainable_ones(self, page: Page) -> None:
        assert page.rows("Size and latency")["lenet5-1998"]["parameters"] == "60,000 (+ 840 fixed)"


class TestBatchSizes:
    def test_entries_that_differ_in_their_batch_size_alone_are_found(self, page: Page) -> None:
        rows = page.rows("Batch sizes compared")
        assert {model: row["batch size"] for model, row in rows.items()} == {"cnn5": "64", "cnn5-batch128": "128"}
        assert rows["cnn5"]["epoch kept"] == "2, 2, 2"
        assert rows["cnn5"]["seconds an epoch"] == f"{110 / 3:.1f}"

    def test_a_difference_is_held_against_the_noise(self, page: Page) -> None:
        change = 100 * (statistics.mean(CNN5) - statistics.mean(BATCH128))
        (row,) = [row for row in page.csv("batches.csv") if row["against"]]
        assert 100 * float(row["test_error_change"]) == pytest.approx(-change)
        told = f"cnn5-batch128: \N{MINUS SIGN}{-change:.2f} points of test accuracy against cnn5, outside the noise of "
        assert told in page.section("Batch sizes compared")
        assert "worse (n = 3 and 3)." in page.section("Batch sizes compared")

    def test_one_run_is_not_judged(self, field: Artifacts) -> None:
        for seed in (1, 2):
            field.run("cnn5-batch128", seed).record.unlink()
        text = Page(field).section("Batch sizes compared")
        assert "not judged: that takes two runs or more of each (n = 1 and 3)." in text


class TestOthers:
    def test_the_search_is_beside_the_test_of_its_winner(self, field: Artifacts) -> None:
        search = search_record("tuned")
        write_json(field.search("tuned"), search)
        write_run(field, "tuned", 0, layers(0), test_error=0.09, recipe=search["best"]["recipe"], epochs=20)
        page = Page(field)
        row = page.rows("Search of hyper-parameters")["tuned"]
        assert (row["trials"], row["of them"]) == ("4", "2 complete, 1 pruned, 1 failed")
        assert (row["best validation, %"], row["n retrained"], row["test, %"]) == ("91.00", "1", "91.00")
        assert row["mattered most"] == "learning_rate_sgd 0.75, flip 0.25"
        assert page.rows("tuned")["tuned"]["recipe"] == "searched"
        assert "not trained by" not in page.section("tuned")

    def test_sparsity_has_a_row_a_layer(self, page: Page) -> None:
        rows = [row for row in page.csv("sparsity.csv") if row["model"] == "cnn5"]
        assert [(row["layer"], row["out_features"], row["runs"]) for row in rows] == [
            *(("fc1", "120", "3"), ("fc2", "84", "3"), ("fc3", "10", "3")),
        ]
        assert float(rows[0]["hoyer_mean"]) == pytest.approx(0.135, abs=0.005), "uniform weights: 1 - sqrt(3) / 2"

    def test_the_same_inputs_give_the_same_bytes(self, artifacts: Artifacts, tmp_path: Path) -> None:
        pages = []
        for name in ("a", "b"):
            Page(artifacts, tmp_path / name / "results.md")
            pages.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")})
        assert pages[0] == pages[1]
        assert len(pages[0]) == 7

    def test_pictures_are_linked_and_there(self, page: Page) -> None:
        linked = set(re.findall(r"\]\((results/.*?\.png)\)", page.text))
        studies = ("lenet5-1998", "cnn5", "mini-vgg", "lenet5-variants")
        assert linked == {"results/accuracy.png", *(f"results/history-{study}.png" for study in studies)}
        for name in linked:
            for suffix in (".png", ".svg", ".csv"):
                assert (page.folder.parent / name).with_suffix(suffix).stat().st_size > 0

    def test_runs_and_published_figures_are_drawn(self, page: Page) -> None:
        rows = [
            (row["what"], row["seed"], row["accuracy"]) for row in page.csv("accuracy.csv") if row["model"] == "cnn5"
        ]
        assert rows[0] == ("published validation", "", "90.7")
        assert [what for what, *_ in rows[1:]] == ["validation", "test"] * 3
        assert float(rows[2][2]) == pytest.approx(92)

    def test_the_machine_and_the_commit_are_named(self, page: Page) -> None:
        assert "Trained on Imagined(R) CPU" in page.section("Made with")
        assert "commit 0123456789ab" in page.section("Made with")

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
        assert {own.network: codes[0].numel()} == circulating.FIXED


@pytest.mark.parametrize(
    ("mean", "deviation", "told"), [(0.9231, 0.0012, "92.31 ± 0.12"), (0.9, None, "90.00"), (None, None, MISSING)]
)
def test_a_mean_is_told_with_its_spread(mean: Any, deviation: Any, told: str) -> None:
    assert field_text.spread(mean, deviation) == told
