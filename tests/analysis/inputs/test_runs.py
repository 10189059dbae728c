"""Runs that are missing, damaged or stale, and a study of runs that are not alike."""

from pathlib import Path

import pytest
from msgspec import structs

from analysis.inputs.files import find, models_of
from analysis.inputs.study import read_study
from study.artifacts import HISTORY, Artifacts
from study.catalogue import DEFAULT_STUDY, entry
from study.errors import StudyError
from tests.support.study import (
    IMAGES,
    analyse,
    edit_json,
    layers,
    refusal,
    seal_tables,
    study_of,
    write_predictions,
    write_run,
)

RETRAIN = "`python -m train baseline --fresh`"


class TestExports:
    @pytest.mark.parametrize("name", ["export", "onnx"])
    def test_a_run_without_its_export_is_refused(self, artifacts: Artifacts, name: str) -> None:
        getattr(artifacts.run("baseline", 0), name).unlink()
        assert "`python -m export baseline`" in refusal(artifacts)

    def test_an_onnx_file_other_than_the_one_described_is_refused(self, artifacts: Artifacts) -> None:
        with artifacts.run("baseline", 0).onnx.open("ab") as file:
            file.write(b"\x00")
        assert "`python -m export baseline`" in refusal(artifacts)

    def test_an_export_of_another_checkpoint_is_refused(self, artifacts: Artifacts) -> None:
        edit_json(artifacts.run("baseline", 0).record, checkpoint_sha256="d" * 64)
        assert "`python -m export baseline`" in refusal(artifacts)


class TestRecord:
    def test_a_record_in_the_wrong_folder_is_refused(self, artifacts: Artifacts) -> None:
        edit_json(artifacts.run("baseline", 0).record, seed=1)
        assert "expected baseline with seed 0, found baseline with seed 1" in refusal(artifacts)

    def test_a_record_with_an_impossible_value_is_refused(self, artifacts: Artifacts) -> None:
        edit_json(artifacts.run("baseline", 0).record, test_error=8.3)
        assert "test_error" in refusal(artifacts)

    def test_a_recipe_with_an_unknown_key_is_refused(self, artifacts: Artifacts) -> None:
        recipe = {**structs.asdict(entry("baseline").recipe), "noise": 0.1}
        edit_json(artifacts.run("baseline", 0).record, recipe=recipe)
        assert "unknown field `noise` - at `$.recipe`; run `python -m train baseline`" in refusal(artifacts)


class TestHistory:
    @pytest.mark.parametrize(
        ("content", "found"),
        [
            ("", "expected the header epoch,lr,.* found ''"),
            ("epoch,loss\n1,2\n", "found 'epoch,loss'"),
            ("HEADER", "expected the 3 epochs of run.json, found 0"),
            ("HEADER1,0.1,1,0.5,,,3\n\n3,0.1,1,0.5,,,3\n", "expected epoch 2 with"),
            ("HEADER2,0.1,1,0.5,,,3\n3,0.1,1,0.5,,,3\n", "found '2,0.1,1,0.5,,,3'"),
            ("HEADER1,0.1,1,0.5,,,3,4\n", "found '1,0.1,1,0.5,,,3,4'"),
            ("HEADER1,,1,0.5,,,3\n", "found '1,,1,0.5,,,3'"),
            ("HEADER1,0.1,1,,,,3\n", "found '1,0.1,1,,,,3'"),
            ("HEADER1,0.1,1,0.5,,,\n", "found '1,0.1,1,0.5,,,'"),
            ("HEADER1,fast,1,0.5,,,3\n", "found '1,fast,1,0.5,,,3'"),
            ("HEADER1,0.1,1,0.5,\udcff,,3\n", "decode"),
        ],
    )
    def test_a_damaged_one_is_refused(self, artifacts: Artifacts, content: str, found: str) -> None:
        path = artifacts.run("baseline", 0).history
        path.write_bytes(content.replace("HEADER", f"{','.join(HISTORY)}\n").encode(errors="surrogateescape"))
        with pytest.raises(StudyError, match=f"^{path}: .*{found}.*; run {RETRAIN}"):
            study_of(artifacts)

    @pytest.mark.parametrize("lost", [1, 2, 8])
    def test_one_cut_in_mid_row_is_refused(self, artifacts: Artifacts, lost: int) -> None:
        """Without the end of its line, without its last value, and without half of the row."""
        path = artifacts.run("baseline", 0).history
        path.write_bytes(path.read_bytes()[:-lost])
        assert "history.csv: expected whole rows, found one that is cut off" in refusal(artifacts)

    @pytest.mark.parametrize("epochs", [2, 4])
    def test_one_of_fewer_or_more_epochs_than_were_made_is_refused(self, artifacts: Artifacts, epochs: int) -> None:
        path = artifacts.run("baseline", 0).history
        rows = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*rows, "4,0.1,1,0.5,,,3\n"][: 1 + epochs]))
        assert f"expected the 3 epochs of run.json, found {epochs};" in refusal(artifacts)

    def test_a_missing_one_is_refused(self, artifacts: Artifacts) -> None:
        artifacts.run("baseline", 0).history.unlink()
        assert f"history.csv is missing; run {RETRAIN}" in refusal(artifacts)


class TestPredictions:
    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"0,0\n1,1\n", "found '0,0'"),
            (b"label,predicted\n", "found none"),
            (b"label,predicted\n0,0\n1,\n", "found '1,'"),
            (b"label,predicted\n0,0\n1,1.5\n", "found '1,1.5'"),
            (b"label,predicted\n0,0,0\n", "found '0,0,0'"),
            (b"label,predicted\n0,0\n\n1,1\n", "found ''"),
            (b"label,predicted\n0,0\n1,1", "cut off"),
            (b"label,predicted\n0,\xff\n", "decode"),
        ],
    )
    def test_damaged_ones_are_refused(self, artifacts: Artifacts, content: bytes, found: str) -> None:
        artifacts.run("baseline", 0).predictions.write_bytes(content)
        with pytest.raises(StudyError, match=f"predictions.csv: .*{found}.*; run {RETRAIN}"):
            study_of(artifacts)

    def test_missing_ones_are_refused(self, artifacts: Artifacts) -> None:
        artifacts.run("baseline", 0).predictions.unlink()
        assert f"predictions.csv is missing; run {RETRAIN}" in refusal(artifacts)

    @pytest.mark.parametrize(("wrong", "images"), [(81, IMAGES), (80, IMAGES - 10)])
    def test_ones_that_are_not_as_often_wrong_as_the_record_says_are_refused(
        self, artifacts: Artifacts, wrong: int, images: int
    ) -> None:
        write_predictions(artifacts.run("baseline", 0).predictions, [1] * wrong + [0] * (images - wrong))
        assert f"expected the test error of run.json, 0.08, found {wrong / images}" in refusal(artifacts)

    @pytest.mark.parametrize("images", [IMAGES - 100, IMAGES])
    def test_runs_with_other_labels_are_refused(self, artifacts: Artifacts, images: int) -> None:
        write_run(artifacts, "baseline", 1, layers(1), test_error=0)
        rows = "".join(f"{(i + 1) % 2},{(i + 1) % 2}\n" for i in range(images))
        path = artifacts.run("baseline", 1).predictions
        path.write_text("label,predicted\n" + rows)
        seal_tables(path.parent)
        with pytest.raises(StudyError, match=f"{path}: expected the labels of .*; run {RETRAIN}"):
            study_of(artifacts)


class TestStudy:
    def test_without_any_run_nothing_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match="expected a finished run of baseline in "):
            find(Artifacts(tmp_path / "nothing"), ("baseline",))

    def test_a_model_without_runs_is_left_out_with_a_note(self, artifacts: Artifacts) -> None:
        study = study_of(artifacts, "gap", "baseline")
        assert (study.baseline, study.models) == ("gap", ("baseline",))
        assert study.notes[0] == "left out: expected a finished run of gap, found none; run `python -m train gap`"

    @pytest.mark.parametrize("name", ["lenet", "mine"])
    def test_a_wrong_name_lists_the_right_ones(self, artifacts: Artifacts, name: str) -> None:
        with pytest.raises(StudyError, match=f"no model is called '{name}'; the catalogue has: baseline, l2-1e-4"):
            analyse(artifacts.root, "--models", f"baseline,{name}")

    def test_a_model_of_the_users_own_is_not_held_against_the_catalogue(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {}, recipe=structs.replace(entry("gap").recipe, learning_rate=7.0))
        (artifacts.root / "models" / "gap").rename(artifacts.root / "models" / "mine")
        for name in ("run.json", "export.json"):
            edit_json(artifacts.run("mine", 0).folder / name, model="mine")
        study = read_study(find(artifacts, models_of(artifacts, ["baseline", "mine"], DEFAULT_STUDY)))
        assert study.models == ("baseline", "mine")
        assert not [note for note in study.notes if "recipe" in note]

    def test_a_recipe_other_than_the_catalogues_is_noted(self, artifacts: Artifacts) -> None:
        recipe = structs.replace(entry("baseline").recipe, epochs=29)
        edit_json(artifacts.run("baseline", 0).record, recipe=recipe)
        note = "baseline, seed 0 was not trained by the catalogue's recipe: epochs 29 instead of 28"
        assert note in study_of(artifacts).notes

    def test_a_run_from_before_a_field_of_the_recipe_existed_has_its_default(self, artifacts: Artifacts) -> None:
        added = ("optimiser", "schedule", "rotation", "validation", "patience", "bfloat16")
        recipe = {name: value for name, value in structs.asdict(entry("baseline").recipe).items() if name not in added}
        edit_json(artifacts.run("baseline", 0).record, recipe=recipe)
        assert not [note for note in study_of(artifacts).notes if "recipe" in note]

    def test_runs_on_different_data_are_noted(self, artifacts: Artifacts) -> None:
        data = {"name": "digits", "classes": [], "mean": 0.1, "std": 0.3, "files": {}}
        write_run(artifacts, "gap", 0, {}, dataset=data)
        assert "the runs were trained on different data sets" in study_of(artifacts, "baseline", "gap").notes

    def test_models_with_different_numbers_of_runs_are_noted(self, artifacts: Artifacts) -> None:
        for seed in (0, 1):
            write_run(artifacts, "gap", seed, {})
        notes = study_of(artifacts, "baseline", "gap").notes
        assert "the models have different numbers of runs: baseline 1, gap 2" in notes
