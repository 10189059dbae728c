"""Which inputs a report has: studies, their fingerprint, searches."""

from pathlib import Path
from typing import Any

import pytest

from analysis.inputs.files import PROJECT, REPORT, Inputs, find, sources
from study.artifacts import Artifacts
from study.errors import StudyError
from study.record_files import write_record
from study.records.training import BestTrial
from tests.support.records import search_record
from tests.support.study import analyse, layers, study_of, write_bench, write_changed, write_run


class TestWhichStudy:
    def test_another_one_is_reported_on_beside_the_default_one(self, artifacts: Artifacts) -> None:
        for model in ("cnn5", "cnn5-modern"):
            write_run(artifacts, model, 0, layers(0))
        analyse(artifacts.root, "--study", "cnn5")
        folder = artifacts.root / "report-cnn5"
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

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--study", "lenets"), "no study is called 'lenets'; there are: regularisers, "),
            (("--study", "cnn5", "--publish"), "--publish: expected the default study, regularisers, found cnn5"),
        ],
    )
    def test_what_there_is_not_is_refused(self, artifacts: Artifacts, words: tuple[str, ...], message: str) -> None:
        with pytest.raises(StudyError, match=message):
            analyse(artifacts.root, *words)


class TestFingerprint:
    @pytest.mark.parametrize("name", ["record", "history", "predictions", "export", "onnx"])
    def test_a_change_in_any_file_of_a_run_changes_it(self, artifacts: Artifacts, name: str) -> None:
        before = find(artifacts, ("baseline",)).fingerprint()
        with getattr(artifacts.run("baseline", 0), name).open("ab") as file:
            file.write(b"\n")
        assert find(artifacts, ("baseline",)).fingerprint() != before

    def test_measurements_runs_searches_and_models_change_it(self, artifacts: Artifacts) -> None:
        found = [find(artifacts, ("baseline",)).fingerprint(), find(artifacts, ("baseline", "gap")).fingerprint()]
        for write in (
            lambda: write_bench(artifacts, []),
            lambda: write_run(artifacts, "baseline", 1, layers(1)),
            lambda: write_record(artifacts.search("baseline"), search_record("baseline")),
        ):
            write()
            found.append(find(artifacts, ("baseline",)).fingerprint())
        assert len(set(found)) == 5

    def test_moving_the_artifacts_does_not(self, artifacts: Artifacts, tmp_path: Path) -> None:
        before = find(artifacts, ("baseline",)).fingerprint()
        moved = artifacts.root.rename(tmp_path / "elsewhere")
        assert find(Artifacts(moved), ("baseline",)).fingerprint() == before

    def test_all_that_decides_what_a_report_looks_like_is_in_it(self) -> None:
        names = {str(path.relative_to(PROJECT)) for path in sources()}
        assert {"analysis/pages/report.html.j2", "analysis/tables/summary.py", "study/records/bench.py"} <= names
        assert not [name for name in names if name.startswith("study/networks/")]


class TestWholeReport:
    @pytest.mark.parametrize("lost", [REPORT[0], REPORT[-1]])
    def test_one_that_lacks_a_file_is_made_again(self, artifacts: Artifacts, lost: str) -> None:
        inputs = find(artifacts, ("baseline",))
        artifacts.report.mkdir()
        for name in REPORT:
            (artifacts.report / name).write_text(name)
        inputs.mark.write_text(inputs.marked(inputs.fingerprint()))
        assert inputs.reported(inputs.fingerprint())
        (artifacts.report / lost).unlink()
        assert not inputs.reported(inputs.fingerprint())

    def test_one_with_a_search_has_its_tables_and_pictures(self, artifacts: Artifacts) -> None:
        write_record(artifacts.search("baseline"), search_record("baseline"))
        own = set(find(artifacts, ("baseline",)).outputs) - set(REPORT)
        assert own == {f"{name}{kind}" for name in ("search", "importance") for kind in (".csv", ".svg", ".png")}


class TestSearch:
    def test_runs_by_its_best_recipe_are_not_held_against_the_catalogue(self, artifacts: Artifacts) -> None:
        search = search_record("baseline")
        assert search.best is not None
        write_record(artifacts.search("baseline"), search)
        write_run(artifacts, "baseline", 0, layers(0), recipe=search.best.recipe)
        assert not [note for note in study_of(artifacts).notes if "catalogue" in note]

    @pytest.mark.parametrize(
        ("model", "changes", "message"),
        [
            ("cnn5", {}, "expected a search of baseline, found one of cnn5; run "),
            ("baseline", {"best": {"number": 99}}, "expected the best trial among those there are, found 99"),
            ("baseline", {"best": {"recipe": {"epochs": 0}}}, "epochs: expected a whole number from 1, found 0"),
        ],
    )
    def test_one_that_contradicts_itself_is_refused(
        self, artifacts: Artifacts, model: str, changes: dict[str, Any], message: str
    ) -> None:
        search = search_record(model)
        assert isinstance(search.best, BestTrial)
        best = {"number": 2, "validation_error": 0.09, "recipe": search.best.recipe, **changes.get("best", {})}
        write_changed(artifacts.search("baseline"), search, best=best)
        with pytest.raises(StudyError, match=rf"search\.json: .*{message}"):
            study_of(artifacts)
