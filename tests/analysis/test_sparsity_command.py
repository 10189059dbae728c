"""`python -m analysis sparsity`: what it prints of any ONNX file, and how it fails."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from analysis import sparsity
from analysis.inputs import onnx_file
from analysis.weights.proof import Proof
from study.errors import StudyError
from study.record_files import read_record, to_record
from study.records.analysis import SparsityRecord, TableRecord
from tests.conftest import ROOT, Trained, run
from tests.support import notation
from tests.support.study import save_graph, write_model

HALF = np.array([[0, 1, 0, -1], [2, 0, 2, 0]], np.float32)
"""(2, 4), half of it exactly zero."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """fc1 (2, 4), half zero, and fc2 (3, 2), all zero."""
    path = tmp_path / "model.onnx"
    write_model(path, {"fc1": HALF, "fc2": np.zeros((3, 2), np.float32)})
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    """What the command prints on standard output."""
    assert sparsity.main(list(map(str, words))) == code
    return capsys.readouterr().out


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def layers_of(text: str) -> dict[str, Any]:
    (file,) = json.loads(text)["files"]
    return {layer["layer"]: layer for layer in file["layers"]}


class TestTable:
    """What tests/golden/sparsity.txt does not show."""

    def test_a_row_has_the_four_measures(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = printed(capsys, model)
        assert re.search(r"layer +out x in +type +hoyer +gini +pqi\(p=1,q=2\) +exact_zeros +operator pattern", text)
        hoyer = (np.sqrt(8) - 6 / np.sqrt(10)) / (np.sqrt(8) - 1)
        assert re.search(rf"fc1 +2 x 4 +float32 +{hoyer:.4f} +[\d.]+ +[\d.]+ +0\.5000 +Gemm, transB=1", text)

    def test_several_files_have_a_table_each_and_the_same_one_has_one(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_model(tmp_path / "other.onnx", {"fc": HALF})
        text = printed(capsys, model, tmp_path / "other.onnx", model)
        first = f"{model}: 2 fully-connected layers with 14 weights, 71.4 % of them exactly zero\n"
        assert text.startswith(first)
        assert text.count(str(model)) == 1
        assert f"\n\n{tmp_path}/other.onnx: 1 fully-connected layer with 8 weights" in text

    def test_counts_are_whole_and_what_is_not_exact_has_its_bound(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        weight = 1 + np.random.default_rng(0).random((1100, 1000), np.float32) / 128
        write_model(tmp_path / "m.onnx", {"close": weight, "sparse": np.zeros((12, 1100))})
        text = printed(capsys, tmp_path / "m.onnx", "--measure", "l0,u_theta")
        assert "13,200" in text
        assert "0.5000 ± 0.5" in text

    def test_noise_is_once_for_each_number_of_weights_and_not_of_few(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        square = np.eye(20, dtype=np.float32)
        write_model(tmp_path / "m.onnx", {"a": np.ones((40, 20)), "b": square, "c": square, "d": np.ones((2, 2))})
        text = printed(capsys, tmp_path / "m.onnx")
        table = text[text.index("Expected values of as many random weights") :]
        assert [line.split()[0] for line in table.splitlines()[4:] if "±" in line] == ["400", "800"]

    def test_300_layers_have_a_table_of_a_readable_size(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Every other one is all zero, so that its measures are undefined."""
        square = np.eye(8, dtype=np.float32)
        write_model(tmp_path / "m.onnx", {f"blocks.{i}.attention.query": square * (i % 2) for i in range(300)})
        lines = printed(capsys, tmp_path / "m.onnx", "--facts", "--verify").splitlines()
        assert len(lines) < 140
        assert max(map(len, lines)) < 160
        last = next(line for line in lines if line.startswith("all 300"))
        assert last.split() == ["all", "300", "19,200", f"{(64 * 300 - 8 * 150) / (64 * 300):.4f}", "300", "yes"]
        assert "These are the 20 least and 20 most sparse layers by Hoyer; --format csv has all 300." in lines
        undefined = "blocks.0.attention.query, blocks.2.attention.query, blocks.4.attention.query and 147 more: "
        assert f"{undefined}hoyer, gini, pqi(p=1,q=2) undefined: all weights are zero." in lines

    def test_tied_layers_are_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        products = [helper.make_node("MatMul", [f"h{i}", "w"], [f"h{i + 1}"], f"/fc{i}/MatMul") for i in range(9)]
        products[0].input[0] = "image"
        save_graph(tmp_path / "m.onnx", products, [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")])
        assert "fc1, fc2, fc3 and 5 more have the same weights as fc0.\n" in printed(capsys, tmp_path / "m.onnx")


class TestCsv:
    def test_the_columns_are_those_of_the_report_and_verified(
        self, model: Path, capsys: pytest.CaptureFixture[str], reported: tuple[Path, str, str]
    ) -> None:
        text = printed(capsys, model, "--format", "csv")
        report = (reported[0] / "report" / "sparsity.csv").read_text().splitlines()[0]
        assert text.splitlines()[0] == f"{report},verified"

    def test_a_row_is_a_layer_and_measure_or_fact(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        found = rows(printed(capsys, model, "--format", "csv", "--measure", "l0", "--facts"))
        assert [row["measure"] for row in found[:5]] == ["hoyer", "gini", "pqi(p=1,q=2)", "exact_zeros", "l0"]
        zeros = found[3]
        assert (zeros["model"], zeros["layer"], zeros["seed"]) == ("model.onnx", "fc1", "")
        assert (zeros["out_features"], zeros["in_features"]) == ("2", "4")
        assert (zeros["value"], zeros["reason"], zeros["verified"]) == ("0.5", "", "")
        second = {row["measure"]: row for row in found if row["layer"] == "fc2"}
        assert (second["gini"]["value"], second["gini"]["reason"]) == ("", "all weights are zero")
        assert second["dead_columns"]["value"] == "2"

    def test_files_of_the_same_name_go_by_their_paths(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_model(tmp_path / "other" / "model.onnx", {"fc": HALF})
        found = rows(printed(capsys, model, tmp_path / "other" / "model.onnx", "--format", "csv"))
        assert {row["model"] for row in found} == {str(model), str(tmp_path / "other" / "model.onnx")}


class TestJson:
    @pytest.mark.parametrize("words", [(), ("--facts", "--verify", "--measure", "all", "--shape", "image=2,4")])
    def test_it_is_a_record(self, model: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
        content = json.loads(printed(capsys, model, "--format", "json", *words))
        layer = to_record(content, SparsityRecord, "standard output", "mend it").files[0].layers[0]
        assert (layer.layer, layer.node, layer.tensor, layer.role) == ("fc1", "Gemm#0", "fc1.weight", "fc")
        assert (layer.form, layer.dtype, layer.tied_to) == ("Gemm, transB=1", "float32", None)
        assert (layer.out_features, layer.in_features) == (2, 4)

    def test_a_measure_has_its_parameters(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        layer = layers_of(printed(capsys, model, "--format", "json", "--measure", "-lp(p=0.3)"))["fc1"]
        by_name = {measure["name"]: measure for measure in layer["measures"]}
        assert by_name["-lp"]["parameters"] == {"p": 0.3}
        assert by_name["-lp"]["measure"] == "-lp(p=0.3)"
        assert by_name["-lp"]["value"] == pytest.approx(-((2 + 2 * 2**0.3) ** (1 / 0.3)))
        assert by_name["gini"]["noise"] == {}, "8 weights are too few"

    def test_a_value_like_noise_says_so(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_model(tmp_path / "m.onnx", {"fc": np.random.default_rng(0).normal(size=(40, 50))})
        layer = layers_of(printed(capsys, tmp_path / "m.onnx", "--format", "json"))["fc"]
        by_name = {measure["name"]: measure for measure in layer["measures"]}
        assert by_name["gini"]["noise"]["uniform"]["value"] == pytest.approx(1 / 3)
        assert by_name["gini"]["noise"]["normal"]["deviation"] > 0
        assert by_name["gini"]["not_distinguishable_from"] == ["normal"]
        assert by_name["exact_zeros"]["not_distinguishable_from"] == []

    def test_what_is_no_number_is_null_so_that_it_is_json_to_everybody(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_model(tmp_path / "m.onnx", {"fc": np.array([[np.nan, 1], [np.inf, 2]], np.float32)})
        text = printed(capsys, tmp_path / "m.onnx", "--format", "json", "--facts", "--measure", "all")
        assert "NaN" not in text
        assert "Infinity" not in text
        layer = layers_of(text)["fc"]
        assert {measure["value"] for measure in layer["measures"]} == {None}
        assert {measure["reason"] for measure in layer["measures"]} == {"a weight is not finite"}
        assert (layer["facts"]["nan"], layer["facts"]["infinite"]) == (1, 1)


class TestVerify:
    def test_the_matrices_of_a_trained_model_are_proved(
        self, trained: Trained, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = rows(printed(capsys, trained.artifacts.run("baseline", 0).onnx, "--verify", "--format", "csv"))
        assert {(row["layer"], row["verified"]) for row in found} == {("fc1", "yes"), ("fc2", "yes"), ("fc3", "yes")}

    def test_a_matrix_that_is_turned_ends_with_code_1(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_model(tmp_path / "m.onnx", {"fc": np.arange(16, dtype=np.float32).reshape(4, 4)})
        from analysis.weights import matrix as matrices

        load = matrices.Matrix.load
        monkeypatch.setattr(matrices.Matrix, "load", lambda matrix: load(matrix).T)
        text = printed(capsys, tmp_path / "m.onnx", "--verify", "--shape", "image=2,4", code=1)
        assert re.search(r"fc: WRONG: y is not x W\^T", text)

    def test_what_was_not_verified_and_what_only_in_part_is_said(
        self, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        proofs = [Proof(None, None, "ONNX Runtime has no kernel"), Proof(True, 0.0, "", inputs_seen=1)]
        monkeypatch.setattr("analysis.weights.proof.verify", lambda *_: proofs)
        lines = printed(capsys, model, "--verify").splitlines()
        assert "fc1: not verified: ONNX Runtime has no kernel." in lines
        assert "fc2: verified for 1 of 2 inputs; the others were left out, to bound the time." in lines
        rows_of = {row["layer"]: row["verified"] for row in rows(printed(capsys, model, "--verify", "--format", "csv"))}
        assert rows_of == {"fc1": "not tried: ONNX Runtime has no kernel", "fc2": "yes"}


@pytest.mark.usefixtures("drawing")
class TestPictures:
    def test_bars_and_histograms_are_drawn_from_the_tables_beside_them(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert sparsity.main([str(model), "--pictures", str(tmp_path / "pictures"), "--measure", "kappa4"]) == 0
        assert capsys.readouterr().err.count("wrote ") == 8
        names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
        expected = [f"{n}.{s}" for n in ("sparsity", "weights_histogram") for s in ("csv", "json", "png", "svg")]
        assert names == sorted(expected)
        bins = rows((tmp_path / "pictures" / "weights_histogram.csv").read_text())
        assert sum(int(row["count"]) for row in bins if row["layer"] == "fc1") == 8
        same = read_record(tmp_path / "pictures" / "weights_histogram.json", TableRecord, "draw it").rows
        assert [(row["layer"], row["count"]) for row in same] == [(row["layer"], int(row["count"])) for row in bins]
        assert [row["count"] for row in bins if row["layer"] == "fc1" and row["low"] == row["high"] == "0.0"] == ["4"]
        bars = rows((tmp_path / "pictures" / "sparsity.csv").read_text())
        assert "kappa4" in {row["measure"] for row in bars}
        assert "kappa4" in (tmp_path / "pictures" / "sparsity.svg").read_text()


class TestMistakes:
    def test_a_bad_file_is_one_line_and_the_others_are_reported(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.onnx").write_bytes(b"no model\n")
        done = run("analysis", "sparsity", tmp_path / "bad.onnx", model)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {tmp_path}/bad.onnx: expected an ONNX model")
        assert done.stderr.count("\n") == 1
        assert "fc1" in done.stdout

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (("--measure", "hoyr"), "hoyer"),
            (("--measure", "-lp(p=2)"), "0 < p < 1"),
            (("--shape", "image"), "name=1,3,224,224"),
            (("--shape", "image=2,4"), "--shape is for --verify"),
            (("--input", "image=1"), "--input is for --verify"),
            (("--allow-root", "nowhere"), "--allow-root: expected a folder"),
        ],
    )
    def test_a_wrong_word_is_one_line_that_says_what_is_right(
        self, model: Path, words: tuple[str, ...], expected: str
    ) -> None:
        with pytest.raises(StudyError) as error:
            sparsity.main([str(model), *words])
        assert expected in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("words", [("--shape", "nowhere=1"), ("--input", "nowhere=1")])
    def test_what_fits_no_input_is_a_mistake_and_the_layers_are_reported_without_a_verdict(
        self, model: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
    ) -> None:
        assert sparsity.main([str(model), "--verify", "--shape", "image=2,4", *words]) == 2
        shown = capsys.readouterr()
        assert "the model has no input 'nowhere'; it has: 'image'" in shown.err
        assert shown.err.count("\n") == 1
        assert "fc1" in shown.out
        assert "verified" not in shown.out

    def test_what_is_given_has_to_fit_a_file_without_layers_too(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = notation.save(tmp_path, "y = Cast<to=1>(x)", {}, x="int64[1]")
        printed(capsys, path, "--verify", "--input", "x=1")
        assert sparsity.main([str(path), "--verify", "--input", "x=1.5"]) == 2
        assert "--input x=1.5: expected an integer" in capsys.readouterr().err

    def test_a_file_of_arrays_is_checked_too(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        np.savez(tmp_path / "feed.npz", allow_pickle=False, image=np.zeros((2, 4), np.float32))
        assert "yes" in printed(capsys, model, "--verify", "--feed", tmp_path / "feed.npz")
        np.savez(tmp_path / "feed.npz", allow_pickle=False, image=np.zeros((2, 4)))
        assert sparsity.main([str(model), "--verify", "--feed", str(tmp_path / "feed.npz")]) == 2
        assert "expected 'image' as float32, found float64" in capsys.readouterr().err

    def test_pictures_that_cannot_be_written_leave_the_table(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        done = run("analysis", "sparsity", model, "--pictures", tmp_path / "file")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "fc1" in done.stdout

    @pytest.mark.parametrize("form", ["table", "json"])
    def test_what_was_read_before_an_interruption_is_reported(
        self,
        model: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        form: str,
    ) -> None:
        second = model.with_name("second.onnx")
        second.write_bytes(model.read_bytes())
        describe = onnx_file.describe

        def interrupted(name: str, path: Path, *rest: Any, **how: Any) -> Any:
            if path == second:
                raise KeyboardInterrupt
            return describe(name, path, *rest, **how)

        monkeypatch.setattr(onnx_file, "describe", interrupted)
        assert sparsity.main([str(model), str(second), "--format", form]) == 130
        shown = capsys.readouterr()
        assert "fc1" in shown.out
        assert shown.err == "interrupted: only the files that were read are reported\n"

    @pytest.mark.parametrize(("files", "code"), [(["nowhere.onnx"], 2), ([], 141)])
    def test_a_reader_who_leaves_early_hides_no_mistake_and_loses_no_picture(
        self, files: list[str], code: int, model: Path, tmp_path: Path
    ) -> None:
        command = [sys.executable, "-u", "-m", "analysis", "sparsity"]
        words = [*(tmp_path / name for name in files), model, "--measure", "all", "--pictures", tmp_path / "pictures"]
        with subprocess.Popen(
            [*command, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout
            process.stdout.close()
            assert process.wait(60) == code
        assert (tmp_path / "pictures" / "sparsity.png").is_file()

    def test_the_missing_file_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert sparsity.main([str(tmp_path / "nowhere.onnx")]) == 2
        assert f"{tmp_path}/nowhere.onnx cannot be read" in capsys.readouterr().err

    def test_an_onnx_that_is_unsafe_is_refused(
        self, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(onnx, "__version__", "1.20.1")
        assert sparsity.main([str(model)]) == 2
        assert "expected onnx 1.21 or newer, found the unsafe 1.20.1" in capsys.readouterr().err


def test_without_verify_no_engine_is_loaded_nor_what_draws_and_tabulates(model: Path) -> None:
    script = (
        "import sys; from analysis import sparsity; sparsity.main([sys.argv[1], '--format', 'csv']); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, model], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "onnxruntime", "pandas", "matplotlib", "scipy"} & set(done.stderr.split())
    assert "onnx" in done.stderr.split()
