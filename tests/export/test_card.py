"""The model card: true to the records it is made from, usable as it stands, the same each time."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from export.__main__ import is_current, main, write_card
from export.card import LICENCES, RECIPE, card, code
from study.artifacts import RunFiles, read_json, sha256
from study.data import datasets
from study.recipe import Recipe
from study.variants import Variant
from tests.conftest import Trained


@pytest.fixture
def files(trained: Trained) -> RunFiles:
    return trained.artifacts.run("gap", 0)


@pytest.fixture
def records(files: RunFiles) -> tuple[dict[str, Any], dict[str, Any]]:
    return read_json(files.record, "run/1", ""), read_json(files.export, "export/1", "")


def test_the_card_beside_the_file_tells_what_the_records_have(
    files: RunFiles, records: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    run, export = records
    text = files.card.read_text()
    assert text == card(run, export)
    assert text.startswith("# gap, seed 0\n")
    for said in (
        "`study.networks.lenet5:LeNet5GAP`",
        "14,398 parameters",
        "| input | `image` | float32 [batch, 1, 28, 28] | grey level 0 to 1; the normalisation is in the graph |",
        "| output | `probabilities` | float32 [batch, 10] | 0 to 1, their sum is 1 |",
        "0. `T-shirt/top`\n1. `Trouser`\n",
        f"| test | PyTorch | {100 * run['test_error']:.2f} |",
        f"| test | ONNX Runtime | {100 * export['test_error_onnxruntime']:.2f} |",
        "On 60,000 training images of Fashion-MNIST, for 1 epochs",
        "| images a step | 256 |",
        f"| SHA-256 | `{sha256(files.onnx)}` |",
        f"| SHA-256 of the checkpoint | `{sha256(files.checkpoint)}` |",
        "| opset, IR version | 18, 8 |",
        "Zalando SE",
        "MIT licence",
    ):
        assert said in text, said


def test_the_lines_on_its_use_can_be_run(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```python\n(.*?)```", files.card.read_text(), re.DOTALL)
    assert found is not None
    monkeypatch.chdir(files.folder)
    names: dict[str, Any] = {"images": np.zeros((3, 1, 28, 28), np.float32)}
    exec(found[1], names)  # noqa: S102, the card's own lines
    assert names["probabilities"].shape == (3, 10)
    assert isinstance(names["session"], onnxruntime.InferenceSession)


def test_a_variant_is_told_as_what_it_is(records: tuple[dict[str, Any], dict[str, Any]]) -> None:
    run, export = records
    variant = Variant(opset=17, input="uint8", int8="static")
    text = card(run, {**export, "variant": variant.record(), "opset": 17, "test_error_onnxruntime": None})
    assert "`model-opset17-uint8-int8-static.onnx`" in text
    assert "`python -m export --opset 17 --input uint8 --int8 static`" in text
    assert "| input | `image` | uint8 [batch, 1, 28, 28] | grey level 0 to 255;" in text
    assert "8-bit integers are no exact copy" in text
    assert "| test | ONNX Runtime |" not in text


def test_colour_images_and_their_missing_licence(records: tuple[dict[str, Any], dict[str, Any]]) -> None:
    run, export = records
    text = card({**run, "dataset": {**run["dataset"], "name": "CIFAR-10"}}, export)
    assert "float32 [batch, 3, 32, 32] | red, green and blue, each 0 to 1" in text
    assert "state no licence" in text
    assert set(LICENCES) == {dataset.title for dataset in datasets.DATASETS.values()}


def test_every_field_of_a_recipe_is_in_words(records: tuple[dict[str, Any], dict[str, Any]]) -> None:
    run, export = records
    rows = card(run, export).split("| recipe |  |\n")[1].split("\n\n")[0].splitlines()[1:]
    assert len(rows) == len(Recipe.__dataclass_fields__)
    assert set(RECIPE) <= set(Recipe.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b*c*", "`a_b*c*`"),
        ("a|b", r"`a\|b`"),
        ("a`b", "`` a`b ``"),
        ("a\n# b\x1b", r"`a\n# b\x1b`"),
        ("<script>", "`<script>`"),
    ],
)
def test_a_name_of_the_users_is_no_markdown(text: str, expected: str) -> None:
    assert code(text) == expected


def test_a_card_that_is_missing_or_not_as_it_should_be_is_written_again(trained: Trained, tmp_path: Path) -> None:
    files = trained.copy(tmp_path / "a").run("gap", 0)
    before = files.card.read_bytes()
    assert is_current(files)
    assert not write_card(files)
    for spoil in (files.card.unlink, lambda: files.card.write_text("old")):
        spoil()
        assert write_card(files)
        assert files.card.read_bytes() == before


def test_a_run_that_no_card_can_be_made_of_does_not_keep_the_others_from_theirs(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = trained.copy(tmp_path / "a")
    spoilt, card_of_other = artifacts.run("baseline", 0).record, artifacts.run("gap", 0).card
    run = json.loads(spoilt.read_text())
    spoilt.write_text(json.dumps({**run, "recipe": {**run["recipe"], "colour": "red"}}))
    card_of_other.unlink()
    assert main(["baseline", "gap", "--artifacts", str(artifacts.root)]) == 2
    assert card_of_other.is_file()
    assert "colour" in capsys.readouterr().err
