"""What the analysis says when artifacts are missing, damaged or stale, and what it imports."""

import math
from pathlib import Path

import pytest
from msgspec import structs

from analysis.inputs.files import find
from analysis.inputs.runs import read_study
from analysis.pages.report import all_tables
from study.artifacts import HISTORY, Artifacts
from study.catalogue import entry
from study.errors import StudyError
from tests.support.reporting import analyse, command, refusal, rows
from tests.support.synthetic import IMAGES, edit_json, layers, write_predictions, write_run


class TestInputs:
    def test_without_any_run_the_command_ends_with_one_line(self, tmp_path: Path) -> None:
        done = command(tmp_path / "nothing")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert "python -m train" in line

    def test_a_model_without_runs_is_left_out_with_a_line(self, artifacts: Artifacts) -> None:
        _, errors = analyse(artifacts.root, "--models", "baseline,gap")
        assert "without a finished run and left out: gap; run `python -m train gap`" in errors
        assert [r["model"] for r in rows(artifacts.root, "summary.csv")] == ["baseline"]

    def test_without_the_baseline_nothing_is_compared(self, artifacts: Artifacts) -> None:
        study = read_study(find(artifacts, ("gap", "baseline")))
        (row,) = all_tables(study)["summary"].to_dict("records")
        assert row["verdict"] == "not judged"
        assert math.isnan(row["parameters_change"])

    def test_the_first_model_named_is_the_baseline(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {}, parameters=30_853)
        study = read_study(find(artifacts, ("gap", "baseline")))
        summary = all_tables(study)["summary"]
        assert list(summary["verdict"]) == ["baseline", "not judged"]
        assert list(summary["parameters_change"]) == [0, 1]

    def test_a_wrong_name_lists_the_right_ones(self, artifacts: Artifacts) -> None:
        with pytest.raises(StudyError, match=r"'lenet'.*baseline, l2-1e-4"):
            analyse(artifacts.root, "--models", "lenet")

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

    def test_a_record_in_the_wrong_folder_is_refused(self, artifacts: Artifacts) -> None:
        edit_json(artifacts.run("baseline", 0).record, seed=1)
        assert "expected baseline with seed 0, found baseline with seed 1" in refusal(artifacts)

    def test_a_record_that_is_not_of_its_schema_is_refused(self, artifacts: Artifacts) -> None:
        edit_json(artifacts.run("baseline", 0).record, test_error=8.3)
        assert "test_error" in refusal(artifacts)

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", "found ''"),
            (b"epoch,loss\n1,2\n", "found 'epoch,loss'"),
            (b"HEADER", "expected the 3 epochs of run.json, found 0"),
            (b"HEADER1,.1,1,.5,,,3\n\n3,.1,1,.5,,,3\n", "expected epoch 2 with"),
            (b"HEADER2,.1,1,.5,,,3\n3,.1,1,.5,,,3\n", "found '2,.1,1,.5,,,3'"),
            (b"HEADER1,.1,1,.5,,,3\n1,.1,1,.5,,,3\n", "found '1,.1,1,.5,,,3'"),
            (b"HEADER1,.1,1,.5,,,3,4\n", "found '1,.1,1,.5,,,3,4'"),
            (b"HEADER1,,1,.5,,,3\n", "found '1,,1,.5,,,3'"),
            (b"HEADER1,.1,,.5,,,3\n", "found '1,.1,,.5,,,3'"),
            (b"HEADER1,.1,1,,,,3\n", "found '1,.1,1,,,,3'"),
            (b"HEADER1,.1,1,.5,,,\n", "found '1,.1,1,.5,,,'"),
            (b"HEADER1,.1,1,.5,\xff,,3\n", "decode"),
        ],
    )
    def test_a_damaged_history_is_refused(self, artifacts: Artifacts, content: bytes, found: str) -> None:
        path = artifacts.run("baseline", 0).history
        path.write_bytes(content.replace(b"HEADER", f"{','.join(HISTORY)}\n".encode()))
        message = refusal(artifacts)
        assert found in message
        assert message.startswith(f"{path}: ")
        assert "`python -m train baseline --fresh`" in message

    @pytest.mark.parametrize("lost", range(1, 30))
    def test_a_history_cut_in_mid_row_is_refused(self, artifacts: Artifacts, lost: int) -> None:
        path = artifacts.run("baseline", 0).history
        path.write_bytes(path.read_bytes()[:-lost])
        assert "history.csv: expected " in refusal(artifacts)

    @pytest.mark.parametrize(("kept", "found"), [(0, "0"), (1, "1"), (2, "2")])
    def test_a_history_cut_to_fewer_rows_is_refused(self, artifacts: Artifacts, kept: int, found: str) -> None:
        path = artifacts.run("baseline", 0).history
        path.write_text("".join(path.read_text().splitlines(keepends=True)[: 1 + kept]))
        assert f"expected the 3 epochs of run.json, found {found};" in refusal(artifacts)

    def test_a_history_of_more_epochs_than_were_made_is_refused(self, artifacts: Artifacts) -> None:
        with artifacts.run("baseline", 0).history.open("a") as file:
            file.write("4,0.1,1,0.5,,,3\n")
        assert "expected the 3 epochs of run.json, found 4;" in refusal(artifacts)

    def test_a_missing_history_is_refused(self, artifacts: Artifacts) -> None:
        artifacts.run("baseline", 0).history.unlink()
        assert "history.csv is missing" in refusal(artifacts)

    def test_a_history_with_words_for_numbers_is_refused(self, artifacts: Artifacts) -> None:
        path = artifacts.run("baseline", 0).history
        path.write_text(path.read_text().replace("0.05", "fast"))
        assert "fast" in refusal(artifacts)

    def test_missing_predictions_are_refused(self, artifacts: Artifacts) -> None:
        artifacts.run("baseline", 0).predictions.unlink()
        message = refusal(artifacts)
        assert "predictions.csv is missing" in message
        assert "`python -m train baseline --fresh`" in message

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (b"", "found ''"),
            (b"0,0\n1,1\n", "found '0,0'"),
            (b"label,predicted\n", "found none"),
            (b"label,predicted\n0,0\n1,\n", "found '1,'"),
            (b"label,predicted\n0,0\n1,1.5\n", "found '1,1.5'"),
            (b"label,predicted\n0,0,0\n", "found '0,0,0'"),
            (b"label,predicted\n0,0\n\n1,1\n", "found ''"),
            (b"label,predicted\n0,\xff\n", "decode"),
        ],
    )
    def test_damaged_predictions_are_refused(self, artifacts: Artifacts, content: bytes, found: str) -> None:
        artifacts.run("baseline", 0).predictions.write_bytes(content)
        message = refusal(artifacts)
        assert found in message
        assert "`python -m train baseline --fresh`" in message

    def test_predictions_that_are_not_as_often_wrong_as_the_record_says_are_refused(self, artifacts: Artifacts) -> None:
        write_predictions(artifacts.run("baseline", 0).predictions, [1] * 81 + [0] * (IMAGES - 81))
        assert "expected the test error of run.json, 0.08, found 0.081" in refusal(artifacts)

    def test_cut_predictions_are_refused(self, artifacts: Artifacts) -> None:
        path = artifacts.run("baseline", 0).predictions
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-10]))
        assert "expected the test error of run.json" in refusal(artifacts)

    @pytest.mark.parametrize("images", [IMAGES - 100, IMAGES])
    def test_runs_with_other_labels_are_refused(self, artifacts: Artifacts, images: int) -> None:
        write_run(artifacts, "baseline", 1, layers(1), test_error=0)
        rows = "".join(f"{(i + 1) % 2},{(i + 1) % 2}\n" for i in range(images))
        artifacts.run("baseline", 1).predictions.write_text("label,predicted\n" + rows)
        message = refusal(artifacts)
        assert f"{artifacts.run('baseline', 1).predictions}: expected the labels of" in message
        assert "`python -m train baseline --fresh`" in message

    def test_a_recipe_other_than_the_catalogues_is_told(self, artifacts: Artifacts) -> None:
        recipe = {**structs.asdict(entry("baseline").recipe), "epochs": 2}
        edit_json(artifacts.run("baseline", 0).record, recipe=recipe)
        (note, _) = read_study(find(artifacts, ("baseline",))).notes
        assert note.endswith(f"epochs 2 instead of {entry('baseline').recipe.epochs}")

    def test_a_run_from_before_a_field_of_the_recipe_existed_has_its_default(self, artifacts: Artifacts) -> None:
        added = ("optimiser", "schedule", "rotation", "validation", "patience", "bfloat16")
        recipe = {name: value for name, value in structs.asdict(entry("baseline").recipe).items() if name not in added}
        edit_json(artifacts.run("baseline", 0).record, recipe=recipe)
        assert not [note for note in read_study(find(artifacts, ("baseline",))).notes if "recipe" in note]

    def test_a_recipe_with_an_unknown_key_is_refused(self, artifacts: Artifacts) -> None:
        edit_json(
            artifacts.run("baseline", 0).record, recipe={**structs.asdict(entry("baseline").recipe), "noise": 0.1}
        )
        with pytest.raises(
            StudyError, match=r"unknown field `noise` - at `\$\.recipe`; run `python -m train baseline`"
        ):
            read_study(find(artifacts, ("baseline",)))

    def test_runs_on_different_data_are_told(self, artifacts: Artifacts) -> None:
        write_run(artifacts, "gap", 0, {})
        data = {"name": "digits", "classes": [], "mean": 0.1, "std": 0.3, "files": {}}
        edit_json(artifacts.run("gap", 0).record, dataset=data)
        assert "the runs were trained on different data sets" in read_study(find(artifacts, ("baseline", "gap"))).notes


class TestImports:
    BLOCKED = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "onnxruntime", "onnxscript", "train", "export", "bench"}:
            raise ImportError(f"{name} is not for the analysis")
sys.meta_path.insert(0, Block())
sys.path.insert(0, "")
runpy.run_module("analysis", run_name="__main__", alter_sys=True)
"""

    def test_the_report_is_made_where_there_is_no_torch_and_no_other_stage(self, artifacts: Artifacts) -> None:
        done = command(artifacts.root, python=("-c", self.BLOCKED))
        assert done.returncode == 0, done.stderr
        assert "index.html" in done.stdout

    def test_help_imports_nothing_that_is_slow(self) -> None:
        done = command(Path("nowhere"), "--help", python=("-X", "importtime", "-m", "analysis"))
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
        assert "argparse" in imported
        assert not imported & {"torch", "numpy", "pandas", "matplotlib", "onnx", "jsonschema", "jinja2"}
        assert "--models" in done.stdout
