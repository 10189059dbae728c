"""The model card: true to its records, usable as it stands, refreshed where it differs; tests/golden/ has one whole."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace

from export.__main__ import main
from export.card import LICENCES, card, code
from study.artifacts import Artifacts
from study.data import datasets
from study.record_files import read_record
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.variants import Variant
from tests.conftest import Trained


@pytest.fixture
def records(artifacts: Artifacts) -> tuple[RunRecord, ExportRecord]:
    files = artifacts.run("baseline", 0)
    return read_record(files.record, RunRecord, ""), read_record(files.export, ExportRecord, "")


def test_its_lines_of_python_can_be_run(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    files = trained.artifacts.run("gap", 0)
    example = re.search(r"```python\n(.*?)```", files.card.read_text(), re.DOTALL)
    assert example is not None
    monkeypatch.chdir(files.folder)
    names: dict[str, Any] = {"images": np.zeros((3, 1, 28, 28), np.float32)}
    exec(example[1], names)  # noqa: S102, the card's own lines
    assert names["probabilities"].shape == (3, 10)
    assert isinstance(names["session"], onnxruntime.InferenceSession)


def test_a_variant_has_its_own_file_command_input_and_warning(records: tuple[RunRecord, ExportRecord]) -> None:
    run, export = records
    variant = Variant(opset=17, input="uint8", int8="static")
    text = card(run, replace(export, variant=variant, opset=17, test_error_onnxruntime=None))
    assert "`model-opset17-uint8-int8-static.onnx`" in text
    assert "`python -m export --opset 17 --input uint8 --int8 static`" in text
    assert "| input | `image` | uint8 [batch, 1, 28, 28] | grey level 0 to 255;" in text
    assert "not an exact copy" in text
    assert "| test | ONNX Runtime |" not in text


def test_colour_images_and_their_missing_licence(records: tuple[RunRecord, ExportRecord]) -> None:
    run, export = records
    text = card(replace(run, dataset=replace(run.dataset, name="CIFAR-10")), export)
    assert "float32 [batch, 3, 32, 32] | red, green and blue, each 0 to 1" in text
    assert "state no licence" in text
    assert set(LICENCES) == {dataset.title for dataset in datasets.DATASETS.values()}


def test_a_text_of_the_user_is_not_markdown() -> None:
    texts = {
        "a_b*c*": "`a_b*c*`",
        "a|b": r"`a\|b`",
        "a`b": "`` a`b ``",
        "a\n# b\x1b": r"`a\n# b\x1b`",
        "<script>": "`<script>`",
    }
    assert {text: code(text) for text in texts} == texts


def test_a_card_that_is_missing_or_differs_is_written_again(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = trained.copy(tmp_path / "a")
    files = artifacts.run("gap", 0)
    before = files.card.read_bytes()
    command = ["gap", "--artifacts", str(artifacts.root)]
    for spoil in (files.card.unlink, lambda: files.card.write_text("old")):
        spoil()
        assert main(command) == 0
        assert capsys.readouterr().out == f"gap seed 0: wrote {files.card}\n"
        assert files.card.read_bytes() == before
    assert main(command) == 0
    assert capsys.readouterr().out == f"gap seed 0: {files.onnx} is current: nothing to do\n"


def test_a_run_without_a_possible_card_does_not_stop_the_others(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = trained.copy(tmp_path / "a")
    spoilt, other = artifacts.run("baseline", 0).record, artifacts.run("gap", 0).card
    run = json.loads(spoilt.read_text())
    spoilt.write_text(json.dumps({**run, "recipe": {**run["recipe"], "colour": "red"}}))
    other.unlink()
    assert main(["baseline", "gap", "--artifacts", str(artifacts.root)]) == 2
    assert other.is_file()
    assert "colour" in capsys.readouterr().err
