"""The results page where tests/golden/results.md does not go: runs that differ, and files that are missing."""

import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from msgspec import structs

from analysis.__main__ import main
from analysis.inputs.entries import read_results
from analysis.pages import results as results_page
from analysis.plots import results as field_plots
from analysis.tables import results as results_tables
from analysis.tables.layers import layers as layers_of
from analysis.tables.numbers import MINUS, MISSING, TIMES
from study.artifacts import Artifacts
from study.catalogue import entry
from study.errors import StudyError
from study.networks import build
from study.record_files import write_record
from study.records.training import BestTrial
from tests.support.entries import write_entries
from tests.support.golden import GOLDEN
from tests.support.records import ENVIRONMENT, case, search_record
from tests.support.study import IMAGES, edit_json, layers, write_bench, write_predictions, write_run


class Page:
    """A results page: its sections, and the first table of each."""

    def __init__(self, text: str) -> None:
        self.text = text

    def section(self, title: str) -> str:
        """What is below the heading, up to the next one."""
        return re.split(r"^#+ .*$", self.text.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]

    def rows(self, title: str) -> dict[str, dict[str, str]]:
        """The first table of a section by its first column."""
        grid = re.search(r"^\|(?:.*\n)*?(?=\n|\Z)", self.section(title), re.MULTILINE)
        assert grid is not None
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in grid[0].splitlines()]
        return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def page(artifacts: Artifacts) -> Page:
    """The page of these artifacts, without a file or picture."""
    field = read_results(artifacts, sorted(artifacts.root.glob("bench*.json")))
    return Page(results_page.page(field, results_tables.all_tables(field), "results"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    artifacts = Artifacts(tmp_path_factory.mktemp("entries") / "artifacts")
    write_entries(artifacts)
    return artifacts


@pytest.fixture
def entries(written: Artifacts, tmp_path: Path) -> Artifacts:
    """A copy of the artifacts to change."""
    shutil.copytree(written.root, tmp_path / "artifacts")
    return Artifacts(tmp_path / "artifacts")


class TestGolden:
    """The numbers of the golden page, worked out by hand from tests/support/entries.py."""

    @pytest.fixture
    def golden(self) -> Page:
        return Page((GOLDEN / "results.md").read_text(encoding="utf-8"))

    def test_means_deviations_and_differences(self, golden: Page) -> None:
        rows = golden.rows("cnn5")
        assert (rows["cnn5"]["test, %"], rows["cnn5"]["validation, %"]) == ("91.93 ± 0.21", "90.00 ± 1.00")
        assert rows["cnn5"]["published, %"] == "90.70 (validation)"
        assert rows["cnn5"]["difference, points"] == f"{MINUS}0.70 (validation)"
        assert rows["cnn5-modern"]["difference, points"] == "not comparable", "it has no validation images"
        assert golden.rows("lenet5-variants")["lenet5-plain"]["difference, points"] == "+0.73", "90.00 in the test"

    def test_fewer_epochs_are_a_short_budget_and_fewer_runs_are_none(self, golden: Page) -> None:
        rows = golden.rows("mini-vgg") | golden.rows("lenet5-variants")
        assert [row["budget"] for row in rows.values()] == ["5 of 150 epochs", "full"]
        assert rows["mini-vgg"]["difference, points"] == f"{MINUS}2.20 (validation, short)"
        assert rows["mini-vgg"]["epochs"] == "5 of at most 150, kept 3"

    def test_times_are_of_all_epochs_of_the_runs(self, golden: Page) -> None:
        row = golden.rows("cnn5")["cnn5"]
        assert row["seconds an epoch (fastest)"] == "6.4 (3.5)", "3.5 4 5 6 6.4 7 8 9 50"
        assert row["seconds a run"] == "19", "3 epochs"

    def test_every_sum_and_product_of_the_parameter_counts_holds(self, golden: Page) -> None:
        text = golden.section("Published parameter counts that are wrong").replace(",", "").replace(TIMES, "*")
        counts = {"58654": "58654", "60865": "60856", '"2097152 in total"': "2097152"}
        equations = re.findall(r"([\d+* ]+\d) = (\d+)", text)
        equations += re.findall(r"- (58654) for LeNet-5 is ([\d+ ]+\d):", text)
        equations += re.findall(r'- "(2097152) in total" for the mini-VGG is ([\d* ]+\d)', text)
        assert len(equations) == 6
        for left, right in equations:
            value = [sum(math.prod(map(int, term.split("*"))) for term in side.split("+")) for side in (left, right)]
            assert value[0] == value[1], left
        assert all(f"- {count}" in text for count in counts)
        for model, total in (("lenet5-plain", 61_706), ("mini-vgg", 2_167_786)):
            assert sum(parameter.numel() for parameter in build(entry(model)).parameters()) == total
            assert f"= {total}" in text

    def test_the_fixed_numbers_are_those_of_the_network(self, golden: Page) -> None:
        own = entry("lenet5-1998")
        codes = [buffer for name, buffer in build(own).named_buffers() if name.endswith("codes")]
        assert {own.network: codes[0].numel()} == results_tables.FIXED
        assert golden.rows("Size and latency")["lenet5-1998"]["parameters"] == "60,000 (+ 840 fixed)"


def recipe(**changes: Any) -> dict[str, Any]:
    return {"recipe": {**structs.asdict(entry("cnn5").recipe), **changes}}


class TestRunsThatDiffer:
    @pytest.mark.parametrize(
        ("seed", "changes", "why", "left"),
        [
            (1, recipe(momentum=0.5), "trained by another recipe (momentum 0.5 instead of 0.9)", "92.05 ± 0.07"),
            (2, recipe(epochs=5), "trained for 5 epochs, others for 150", "91.85 ± 0.21"),
            (
                0,
                {"dataset": {"name": "CIFAR-10", "classes": ["a", "b"], "mean": 0.28, "std": 0.35, "files": {}}},
                "trained on CIFAR-10",
                "91.90 ± 0.28",
            ),
        ],
    )
    def test_a_run_that_is_not_like_the_others_is_left_out_everywhere(
        self, entries: Artifacts, seed: int, changes: dict[str, Any], why: str, left: str
    ) -> None:
        edit_json(entries.run("cnn5", seed).record, **changes)
        made = page(entries)
        assert f"- cnn5: left out: seed {seed}, {why}." in made.section("cnn5")
        row = made.rows("cnn5")["cnn5"]
        assert (row["runs"], row["budget"], row["test, %"]) == ("2", "full", left), "of 92.0, 91.7 and 92.1"
        assert made.rows("Batch sizes")["cnn5"]["test, %"] == left
        drawn = results_tables.accuracy(read_results(entries, [])).query("model == 'cnn5'")["seed"].dropna()
        assert set(drawn) == {0, 1, 2} - {seed}

    def test_an_entry_all_of_whose_runs_are_left_out_counts_as_not_run(self, entries: Artifacts) -> None:
        edit_json(entries.run("lenet5-plain", 0).record, recipe=entry("baseline").recipe)
        made = page(entries)
        assert "### lenet5-variants" not in made.text
        why = "lenet5-plain: left out: seed 0, trained by another recipe (batch_size 256 instead of 100"
        assert why in made.section("Without runs")

    def test_machines_are_numbered_and_commits_of_one_set_of_versions_are_in_one_line(self, entries: Artifacts) -> None:
        edit_json(entries.run("cnn5", 0).record, environment=structs.replace(ENVIRONMENT, commit="f" * 40))
        for seed in (1, 2):
            edit_json(entries.run("cnn5", seed).record, environment=structs.replace(ENVIRONMENT, cpu="Another"))
        made = page(entries)
        assert [row["machine"] for row in made.rows("cnn5").values()] == ["1, 2", "1", "1"]
        assert "cnn5: the runs have different machines: seed 0 and seed 1, 2." in made.section("cnn5")
        made_with = made.section("Made with").splitlines()
        assert "- Machine 2: Another, 2 cores, 8 GiB." in made_with
        versions = "Linux, Python 3.11.0, torch 2.13.0, onnxruntime 1.31.1"
        assert f"- Trained on machine 1, {versions}; commit 0123456789ab, commit ffffffffffff." in made_with
        assert f"- Trained on machine 2, {versions}; commit 0123456789ab." in made_with

    @pytest.mark.parametrize("model", ["cnn5", "cnn5-batch128"])
    def test_runs_tested_on_other_images_are_refused(self, entries: Artifacts, model: str) -> None:
        for seed in range(3) if model == "cnn5-batch128" else (1,):
            files = entries.run(model, seed)
            write_predictions(files.predictions, [1] * 83 + [0] * (IMAGES - 84))
            edit_json(files.record, test_error=83 / (IMAGES - 1))
        with pytest.raises(StudyError, match=f"not tested on the same images; run `python -m train {model} --fresh`"):
            page(entries)

    def test_without_any_run_it_says_what_to_run(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="no finished run of the catalogue; run `python -m train`"):
            main(["results", "--artifacts", str(tmp_path), "--output", str(tmp_path / "x.md")])


class TestMeasurements:
    def test_without_measurements_and_searches_the_page_says_so(self, entries: Artifacts) -> None:
        made = page(entries)
        section = made.section("Size and latency")
        assert "No latency has been measured." in section
        assert "No speed-up has been measured." in section
        assert f"--benchmark-json={entries.root}/bench-results-1.json`" in section
        assert "No search has been finished (no search.json)." in made.section("Hyper-parameter search")

    def test_the_same_file_twice_counts_once(self, entries: Artifacts) -> None:
        first = write_bench(entries, [case(entries, "cnn5", "torch", 1, 200e-6)])
        shutil.copy(first, entries.root / "bench-again.json")
        made = page(entries)
        assert "several files" not in made.text
        assert "and from bench-again.json." in made.text

    def test_a_bench_that_is_named_must_be_there(self, entries: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"other\.json is missing"):
            main(["results", "--artifacts", str(entries.root), "--bench", "other.json"])

    def test_why_an_export_does_not_count_is_in_the_notes(self, entries: Artifacts) -> None:
        entries.run("mini-vgg", 0).onnx.write_bytes(b"another")
        made = page(entries)
        assert "- Note: mini-vgg, seed 0 is without size, latency and sparsity: " in made.section("Notes")
        assert "expected sha256" in made.section("Notes")
        assert made.rows("Size and latency")["mini-vgg"]["ONNX, kB"] == MISSING

    def test_shares_of_an_entry_are_over_the_weights_of_all_its_layers(self, entries: Artifacts) -> None:
        write_run(entries, "tuned", 0, layers(0, zeros=0.5), epochs=12)
        row = page(entries).rows("Fully-connected layers")["tuned"]
        assert row["exact zeros, %"] == "40.7", "24,000 of 58,920"

    def test_sparsity_has_a_row_a_layer(self, written: Artifacts) -> None:
        table = layers_of(read_results(written, [])).query("model == 'cnn5'")
        assert list(zip(table["layer"], table["out_features"], table["runs"], strict=True)) == [
            *(("fc1", 120, 3), ("fc2", 84, 3), ("fc3", 10, 3)),
        ]
        assert table["hoyer_mean"].iloc[0] == pytest.approx(1 - math.sqrt(3) / 2, abs=0.005), "uniform weights"


def test_what_there_is_none_of_is_said(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    cifar10 = {"name": "CIFAR-10", "classes": ["a", "b"], "mean": 0.28, "std": 0.35, "files": {}}
    write_run(artifacts, "gap-cifar10", 0, {}, epochs=2)
    edit_json(artifacts.run("gap-cifar10", 0).record, dataset=cifar10)
    write_record(artifacts.search("tuned"), search_record("tuned", importance=None))
    made = page(artifacts)
    assert "Data set: cifar10." in made.text
    assert "No exported entry has a fully-connected layer." in made.section("Fully-connected layers")
    assert "tuned: too few trials for the importance" in made.section("Hyper-parameter search")


class TestBatchSizes:
    def test_one_run_is_not_judged(self, entries: Artifacts) -> None:
        for seed in (1, 2):
            entries.run("cnn5-batch128", seed).record.unlink()
        text = page(entries).section("Batch sizes")
        assert "not judged: that takes two runs or more of each (n = 1 and 3)." in text

    def test_different_numbers_of_epochs_are_not_judged(self, entries: Artifacts) -> None:
        few = structs.replace(entry("cnn5-batch128").recipe, epochs=1)
        for seed in range(3):
            edit_json(entries.run("cnn5-batch128", seed).record, recipe=few)
        text = page(entries).section("Batch sizes")
        assert "cnn5-batch128 against cnn5: not judged: different budgets." in text
        assert "points of test accuracy" not in text

    def test_a_recipe_that_was_searched_is_not_compared_with_the_catalogues(self, entries: Artifacts) -> None:
        searched = structs.replace(entry("cnn5").recipe, learning_rate=0.02, batch_size=256)
        best = BestTrial(number=2, validation_error=0.09, recipe=searched)
        write_record(entries.search("cnn5"), search_record("cnn5", best=best))
        for seed in range(3):
            edit_json(entries.run("cnn5", seed).record, recipe=searched)
        made = page(entries)
        assert made.rows("cnn5")["cnn5"]["recipe"] == "searched"
        assert "No two entries that differ only in their batch size have runs." in made.section("Batch sizes")


class TestFiles:
    @pytest.mark.usefixtures("drawing")
    def test_pictures_are_linked_and_there(self, entries: Artifacts, tmp_path: Path) -> None:
        write_record(entries.search("tuned"), search_record("tuned"))
        assert main(["results", "--artifacts", str(entries.root), "--output", str(tmp_path / "results.md")]) == 0
        linked = re.findall(r"\]\(results/(.*?\.png)\)", (tmp_path / "results.md").read_text(encoding="utf-8"))
        studies = ("lenet5-1998", "cnn5", "mini-vgg", "lenet5-variants", "tuned")
        histories = [f"history-{study}.png" for study in studies]
        assert linked == ["accuracy.png", *histories, "importance.png", "search.png"]
        for name in linked:
            content = (tmp_path / "results" / name).read_bytes()
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            assert content[25] == 3, "its colours are those of a palette"
            assert (tmp_path / "results" / name).with_suffix(".csv").is_file()
        others = {"results.csv", "batches.csv", "sparsity.csv"}
        tables = {Path(name).with_suffix(".csv").name for name in linked}
        assert {path.name for path in (tmp_path / "results").iterdir()} == {*linked, *tables, *others}

    def test_the_same_inputs_give_the_same_bytes(self, artifacts: Artifacts, tmp_path: Path) -> None:
        pages = []
        for name in ("a", "b"):
            output = tmp_path / name / "results.md"
            assert main(["results", "--artifacts", str(artifacts.root), "--output", str(output)]) == 0
            pages.append({path.name: path.read_bytes() for path in output.parent.rglob("*.*")})
        assert pages[0] == pages[1]
        assert len(pages[0]) == 6

    def test_runs_and_published_figures_are_drawn(self, written: Artifacts) -> None:
        table = results_tables.accuracy(read_results(written, []))
        own = table[table["model"] == "cnn5"].to_dict("records")
        assert (own[0]["what"], own[0]["accuracy"]) == ("published validation", 90.7)
        assert [row["what"] for row in own[1:]] == ["validation", "test"] * 3
        assert [row["accuracy"] for row in own[1:3]] == [pytest.approx(91), pytest.approx(92)]
        published = set(table[table["what"].str.startswith("published")]["model"])
        assert published == {"cnn5", "cnn5-batch128", "mini-vgg", "lenet5-plain", "tuned"}, "not cnn5-modern"

    def test_an_accuracy_far_below_the_others_stands_at_the_edge(self, entries: Artifacts) -> None:
        write_run(entries, "lenet5-plain", 0, layers(0), test_error=0.3, epochs=60)
        figure = field_plots.accuracy(results_tables.accuracy(read_results(entries, [])))
        (axis,) = [axis for axis in figure.axes if axis.get_title(loc="left") == "lenet5-variants"]
        low, high = axis.get_xlim()
        assert 84 < low < 85
        assert 93 < high < 94
        assert "test 70.0" in [text.get_text() for text in figure.findobj(Text)]
        assert [np.asarray(line.get_xdata()).tolist() for line in axis.lines if line.get_marker() == "<"] == [[low]]

    def test_output_must_be_markdown(self, entries: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"--output: expected a name that ends in \.md"):
            main(["results", "--artifacts", str(entries.root), "--output", "results.html"])


def test_runs_of_another_network_than_was_searched_are_no_winners(entries: Artifacts) -> None:
    search = search_record("tuned", network_sha256="d" * 64)
    write_record(entries.search("tuned"), search)
    assert search.best is not None
    write_run(entries, "tuned", 1, layers(0), recipe=search.best.recipe, epochs=12)
    made = page(entries)
    assert "none of the finished runs was trained with it" in made.section("Hyper-parameter search")
    assert made.rows("tuned")["tuned"]["recipe"] == "this project's"
    assert "tuned: left out: seed 1, trained by another recipe (learning_rate 0.02" in made.section("tuned")
