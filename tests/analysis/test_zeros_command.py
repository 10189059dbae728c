"""`python -m analysis zeros` prints the table of the report, for a file as for a trained model."""

import csv
import io

import pytest
from msgspec import structs

from analysis.__main__ import main
from export.compact import command as compact
from study.artifacts import Artifacts
from study.files import sha256
from study.record_files import write_record
from study.records.bench import CaseKey
from tests.export.compact.test_removal import two_layers
from tests.support.ab import compared
from tests.support.modules import write_module
from tests.support.study import layers

KEY = CaseKey(
    model="m",
    variant="standard",
    seed=None,
    onnx_sha256="",
    runtime="onnxruntime",
    batch=1,
    threads=1,
    mode="native",
    device="cpu",
)


def test_a_file_is_shown_with_the_forms_that_were_made_of_it(
    artifacts: Artifacts, capsys: pytest.CaptureFixture[str]
) -> None:
    file, made = artifacts.root / "m.onnx", artifacts.zeros("m") / "compact.onnx"
    file.write_bytes(two_layers([[1, 2], [0, 0]], [5, 6], [[1, 2], [3, 4]]).SerializeToString())
    assert compact.main([str(file), "-o", str(made)]) == 0
    sides = [structs.replace(KEY, onnx_sha256=sha256(path), model=path.stem) for path in (file, made)]
    write_record(artifacts.root / "ab" / "m.json", compared(sides[0], sides[1], 0.8))
    capsys.readouterr()
    assert main(["zeros", str(file), "--artifacts", str(artifacts.root), "--format", "csv"]) == 0
    dense, small = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (dense["form"], dense["exact_zeros"], dense["network_bound"]) == ("dense", "0.25", str(8 / 6))
    assert (small["form"], small["units_removed"], small["latency_verdict"]) == ("compact", "1", "faster")
    assert float(small["ratio"]) == pytest.approx(0.8, abs=1e-3)
    assert main(["zeros", str(file), "--artifacts", str(artifacts.root)]) == 0
    text = capsys.readouterr().out
    assert "25 % of the 8 fully-connected weights are exactly zero" in text
    assert "compact takes 0.80 (0.80 to 0.80) times as long as dense (faster)" in text


def test_dead_units_that_stay_are_not_promised_to_be_removed(
    artifacts: Artifacts, capsys: pytest.CaptureFixture[str]
) -> None:
    """All zeros are those of an output of the model, which compact keeps."""
    file = artifacts.root / "m.onnx"
    file.write_bytes(two_layers([[1, 2], [3, 4]], [5, 6], [[0, 0], [3, 4]]).SerializeToString())
    assert compact.main([str(file)]) == 0
    assert "nothing to remove: none of 2 units between two layers is dead" in capsys.readouterr().out
    assert main(["zeros", str(file), "--artifacts", str(artifacts.root)]) == 0
    (sentence,) = (line for line in capsys.readouterr().out.splitlines() if "exactly zero" in line)
    assert "100 % of the zeros lie in rows and columns of zeros alone, whose units can be removed if" in sentence


def test_models_and_modules_are_named_and_a_wrong_name_does_not_cost_the_others(
    artifacts: Artifacts, capsys: pytest.CaptureFixture[str]
) -> None:
    write_module(artifacts, "mine", layers(1, zeros=0.5))
    assert main(["zeros", "baseline", "nix", "mine", "--artifacts", str(artifacts.root), "--format", "csv"]) == 2
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [(row["model"], row["seed"]) for row in rows] == [("baseline", "0"), ("mine", "")]
    assert printed.err.startswith("error: expected a trained model, an exported module or an ONNX file, found 'nix'")
