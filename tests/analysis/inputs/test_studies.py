"""Reports on other studies than the default one, and on models that no catalogue has."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from analysis.inputs.files import REPORT, Inputs, find, models_of
from analysis.inputs.runs import read_study
from analysis.pages.markup import render
from analysis.pages.search import search_results
from analysis.plots import search as search_plots
from analysis.tables import search as search_tables
from analysis.tables.columns import read
from study.artifacts import Artifacts, write_json
from study.catalogue import DEFAULT_STUDY
from study.errors import StudyError
from tests.support.reporting import analyse
from tests.support.synthetic import edit_json, layers, search_record, write_run


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


class TestStudies:
    def test_another_study_is_reported_on_beside_the_default_one(self, artifacts: Artifacts) -> None:
        for model in ("cnn5", "cnn5-modern"):
            write_run(artifacts, model, 0, layers(0))
        analyse(artifacts.root, "--study", "cnn5")
        folder = artifacts.root / "report-cnn5"
        assert [row["verdict"] for row in table(folder, "summary.csv")] == ["baseline", "not judged"]
        assert [row["model"] for row in table(folder, "summary.csv")] == ["cnn5", "cnn5-modern"]
        assert "<h1>cnn5, accuracy, sparsity and speed on Fashion-MNIST</h1>" in (folder / "index.html").read_text()
        assert not artifacts.report.exists()
        assert analyse(artifacts.root, "--study", "cnn5")[0].startswith(f"nothing to do: {folder} is made")

    def test_the_same_models_for_another_data_set(self, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Inputs] = []
        monkeypatch.setattr("analysis.__main__.make", lambda inputs, measures: seen.append(inputs))
        write_run(artifacts, "baseline-cifar10", 0, layers(0))
        analyse(artifacts.root, "--dataset", "cifar10")
        (inputs,) = seen
        assert inputs.report == artifacts.root / "report-regularisers-cifar10"
        assert [(run.model, run.seed) for run in inputs.runs] == [("baseline-cifar10", 0)]

    def test_a_wrong_study_lists_the_right_ones(self, artifacts: Artifacts) -> None:
        with pytest.raises(StudyError, match="no study is called 'lenets'; there are: regularisers, "):
            analyse(artifacts.root, "--study", "lenets", "--models", "baseline")

    def test_only_the_default_study_is_published(self, artifacts: Artifacts) -> None:
        with pytest.raises(StudyError, match="--publish: expected the default study, regularisers, found cnn5"):
            analyse(artifacts.root, "--study", "cnn5", "--publish")

    def test_a_model_of_the_users_own_is_reported_on_and_not_held_against_the_catalogue(
        self, artifacts: Artifacts
    ) -> None:
        write_run(artifacts, "gap", 0, {})
        (artifacts.root / "models" / "gap").rename(artifacts.root / "models" / "mine")
        for name in ("run.json", "export.json"):
            edit_json(artifacts.run("mine", 0).folder / name, model="mine")
        record = json.loads(artifacts.run("mine", 0).record.read_text())
        edit_json(artifacts.run("mine", 0).record, recipe={**record["recipe"], "learning_rate": 7})
        study = read_study(find(artifacts, models_of(artifacts, ["baseline", "mine"], DEFAULT_STUDY)))
        assert study.models == ("baseline", "mine")
        assert not [note for note in study.notes if "recipe" in note]

    def test_a_name_that_is_neither_in_the_catalogue_nor_among_the_artifacts_lists_those_there_are(
        self, artifacts: Artifacts
    ) -> None:
        with pytest.raises(StudyError, match="no model is called 'mine'; the catalogue has: baseline, "):
            analyse(artifacts.root, "--models", "baseline,mine")


def test_a_page_has_no_section_on_what_a_study_lacks(reported: tuple[Path, str, str]) -> None:
    page = (reported[0] / "report" / "index.html").read_text()
    assert "<h1>Regularisation, accuracy, sparsity and speed on Fashion-MNIST</h1>" in page
    assert "Hyper-parameter search" not in page
    assert "Variants of the ONNX files" not in page


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The report on a baseline that was searched, trained twice by what was found and once by another recipe."""
    artifacts = Artifacts(tmp_path_factory.mktemp("searched"))
    search = search_record("baseline")
    write_json(artifacts.search("baseline"), search)
    for seed, error in enumerate((0.080, 0.084)):
        recipe = search["best"]["recipe"]
        write_run(artifacts, "baseline", seed, layers(seed), test_error=error, recipe=recipe)
    write_run(artifacts, "baseline", 2, layers(2), test_error=0.5)
    return artifacts.report, analyse(artifacts.root)[1]


class TestSearch:
    def test_trials_come_in_their_order_with_the_best_so_far(self, searched: tuple[Path, str]) -> None:
        rows = table(searched[0], "search.csv")
        assert [row["best_so_far"] for row in rows] == ["0.12", "0.12", "0.09", "0.09"]
        assert [row["last_error"] for row in rows] == ["0.12", "0.5", "0.09", ""]
        assert [row["learning_rate"] for row in rows] == ["0.1", "0.3", "0.02", ""]

    def test_what_mattered_most_comes_first(self, searched: tuple[Path, str]) -> None:
        rows = table(searched[0], "importance.csv")
        assert [(row["parameter"], row["share"]) for row in rows] == [("learning_rate_sgd", "0.75"), ("flip", "0.25")]

    def test_the_page_has_the_best_trial_and_the_test_of_the_runs_with_its_recipe(
        self, searched: tuple[Path, str]
    ) -> None:
        page, notes = (searched[0] / "index.html").read_text(), searched[1]
        assert "4 trials (2 complete, 1 pruned, 1 failed). The best is number 2" in page
        assert "a validation accuracy of 91.00 % on 20,000 training images after 2 epochs on the other 40,000" in page
        assert "28 epochs on all 60,000, the test accuracy is 91.80 ± 0.28 % (n = 2)" in page
        best = "<tr><td>learning_rate</td><td>0.02</td><td>0.01 to 0.3, by its logarithm</td><td>0.75</td></tr>"
        assert best in page
        assert "<tr><td>flip</td><td>False</td><td>True, False</td><td>0.25</td></tr>" in page
        assert "not trained by the catalogue's recipe" not in notes

    def test_trials_are_drawn_where_they_ended_and_the_best_so_far_as_steps(self, searched: tuple[Path, str]) -> None:
        (axis,) = search_plots.search(read(searched[0] / "search.csv")).axes
        drawn = {str(line.get_marker()): np.asarray(line.get_xydata()).tolist() for line in axis.lines}
        assert drawn["o"] == [[0, 12], [2, 9]]
        assert drawn["v"] == [[1, 50]]
        assert drawn["x"] == [[3, pytest.approx(axis.get_ylim()[1])]], "it has no error: at the upper edge"
        assert drawn["s"] == [[0, 12]], "the model's own recipe"
        assert drawn["None"] == [[0, 12], [1, 12], [2, 9], [3, 9]]

    def test_bars_are_the_shares_with_the_largest_on_top(self, searched: tuple[Path, str]) -> None:
        (axis,) = search_plots.importance(read(searched[0] / "importance.csv")).axes
        assert [bar.get_width() for bar in axis.containers[0]] == [0.75, 0.25]
        assert axis.yaxis_inverted()

    def test_a_new_search_makes_the_report_again(self, artifacts: Artifacts) -> None:
        before = find(artifacts, ("baseline",))
        fingerprint = before.fingerprint()
        write_json(artifacts.search("baseline"), search_record("baseline"))
        after = find(artifacts, ("baseline",))
        assert after.fingerprint() != fingerprint
        pictures = {f"{name}{kind}" for name in ("search", "importance") for kind in (".csv", ".svg", ".png")}
        assert set(after.outputs) - set(REPORT) == pictures

    def test_a_search_without_a_complete_trial_has_no_best_one(self) -> None:
        trials = search_record("baseline")["trials"][3:]
        search = search_record("baseline", best=None, importance=None, trials=trials)
        text = render("search.j2", "txt", searches=search_results([search], []))
        assert text == "baseline: 1 trials (1 failed); none of them is complete.\n"
        assert search_tables.best(search).empty
        (note,) = search_plots.importance(search_tables.importance([search])).texts
        assert note.get_text() == "too few trials for the importance of parameters"
        assert search_plots.search(search_tables.trials([search])).axes

    def test_a_best_recipe_that_is_none_is_refused(self, artifacts: Artifacts) -> None:
        best = {"number": 2, "validation_error": 0.09, "recipe": {"epochs": 0}}
        write_json(artifacts.search("baseline"), search_record("baseline", best=best))
        with pytest.raises(
            StudyError, match=r"search\.json: the best recipe: epochs: expected a whole number from 1, found 0"
        ):
            read_study(find(artifacts, ("baseline",)))

    def test_a_search_of_another_model_is_refused(self, artifacts: Artifacts) -> None:
        write_json(artifacts.search("baseline"), search_record("cnn5"))
        with pytest.raises(StudyError, match=r"search\.json: expected a search of baseline, found one of cnn5; run "):
            read_study(find(artifacts, ("baseline",)))

    def test_a_best_trial_that_is_not_there_is_refused(self, artifacts: Artifacts) -> None:
        best = {**search_record("baseline")["best"], "number": 99}
        write_json(artifacts.search("baseline"), search_record("baseline", best=best))
        with pytest.raises(StudyError, match=r"search\.json: expected the best trial among those there are, found 99"):
            read_study(find(artifacts, ("baseline",)))
