"""The records of the JSON files: what they accept, what they write, and that docs/formats.md describes them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from docs import formats
from study.errors import StudyError
from study.record_files import read_record, write_record
from study.records.base import Environment, Parity, Record
from study.records.bench import JournalEntry
from study.records.export import ExportRecord
from study.records.training import RunRecord, SearchRange, TrialRecord
from study.seal import sealed
from study.variants import STANDARD, Variant
from tests.conftest import Trained
from tests.support.records import ENVIRONMENT

EXPORT = ExportRecord(
    model="gap",
    seed=0,
    onnx_sha256="a" * 64,
    checkpoint_sha256="b" * 64,
    opset=18,
    ir_version=8,
    bytes=1000,
    parity=Parity(images=64, max_abs_difference=1e-7, argmax_mismatches=0),
    test_error_onnxruntime=None,
    environment=msgspec.convert(ENVIRONMENT, Environment),
)


def test_the_documentation_is_what_the_records_say() -> None:
    assert formats.PAGE.read_text() == formats.page(), "run `python -m docs.formats`"


@pytest.mark.parametrize("kind", formats.FILES.values())
def test_no_object_of_a_file_may_have_unknown_keys(kind: type[Record]) -> None:
    for name, definition in formats.schema(kind)["$defs"].items():
        assert definition["additionalProperties"] is False, name


def test_the_schema_of_a_file_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert formats.main(["pruning/2"]) == 0
    share = json.loads(capsys.readouterr().out)["$defs"]["PruningPoint"]["properties"]["share"]
    assert (share["minimum"], share["maximum"], share["type"]) == (0, 1, "number")


def test_a_file_keeps_its_bytes_when_read_and_written_again(trained: Trained, tmp_path: Path) -> None:
    files = trained.artifacts.run("gap", 0)
    for path, kind in ((files.record, RunRecord), (files.export, ExportRecord)):
        write_record(tmp_path / path.name, read_record(path, kind, ""))
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_keys_are_in_the_order_of_the_fields_after_the_schema(tmp_path: Path) -> None:
    write_record(tmp_path / "export.json", EXPORT)
    text = (tmp_path / "export.json").read_text()
    assert text.startswith('{\n  "schema": "export/2",\n  "model": "gap",\n  "seed": 0,\n')
    fields = ExportRecord.__struct_fields__
    assert list(json.loads(text)) == ["schema", *fields[: fields.index("variant")], "sha256"], (
        "no variant: it is the standard"
    )


def test_a_variant_is_written_unless_it_is_the_standard_one(tmp_path: Path) -> None:
    for variant in (Variant(int8="static"), Variant(), STANDARD):
        record = msgspec.structs.replace(EXPORT, variant=variant)
        write_record(tmp_path / "export.json", record)
        assert ("variant" in json.loads((tmp_path / "export.json").read_text())) == (variant != STANDARD)
        assert read_record(tmp_path / "export.json", ExportRecord, "") == record


@dataclass(frozen=True)
class Damage:
    """A change of export.json, and the message it is refused with."""

    change: Callable[[dict[str, Any]], object]
    message: str


DAMAGES = {
    "out of range": Damage(
        lambda record: record.update(test_error_onnxruntime=1.5),
        "Expected `float` <= 1.0 - at `$.test_error_onnxruntime`, found 1.5",
    ),
    "nested": Damage(
        lambda record: record["parity"].update(images=-1), "Expected `int` >= 0 - at `$.parity.images`, found -1"
    ),
    "no digest": Damage(
        lambda record: record.update(onnx_sha256="A" * 64), "matching regex '^[0-9a-f]{64}$' - at `$.onnx_sha256`"
    ),
    "another type": Damage(lambda record: record.update(bytes="1"), "Expected `int`, got `str` - at `$.bytes`"),
    "true is no number": Damage(lambda record: record.update(seed=True), "Expected `int`, got `bool` - at `$.seed`"),
    "unknown key": Damage(lambda record: record.update(colour="red"), "Object contains unknown field `colour`"),
    "nested unknown key": Damage(
        lambda record: record["environment"].update(moon=1), "unknown field `moon` - at `$.environment`"
    ),
    "missing key": Damage(lambda record: record.pop("opset"), "Object missing required field `opset`"),
    "no such choice": Damage(
        lambda record: record.update(variant={"input": "float64"}),
        "Invalid enum value 'float64' - at `$.variant.input`",
    ),
    "not finite": Damage(lambda record: record["parity"].update(max_abs_difference=float("nan")), "NaN is no JSON"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_with_the_place_in_it(damage: Damage, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    write_record(file, EXPORT)
    record = json.loads(file.read_text())
    damage.change(record)
    file.write_text(json.dumps(record))
    with pytest.raises(StudyError) as refusal:
        read_record(file, ExportRecord, "export it again")
    message = str(refusal.value)
    assert damage.message in message
    assert message.startswith(f"{file}")
    assert message.endswith("; export it again")


@pytest.mark.parametrize(
    "record",
    [
        msgspec.structs.replace(EXPORT, seed=-1),
        msgspec.structs.replace(EXPORT, test_error_onnxruntime=float("nan")),
        msgspec.structs.replace(EXPORT, onnx_sha256=""),
    ],
)
def test_a_record_that_could_not_be_read_is_not_written(record: ExportRecord, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected|Out of range"):
        write_record(tmp_path / "export.json", record)
    assert list(tmp_path.iterdir()) == []


def test_a_run_from_before_a_key_existed_has_its_default(trained: Trained, tmp_path: Path) -> None:
    record = json.loads(trained.artifacts.run("gap", 0).record.read_text())
    for key in ("kept_epoch", "validation_error", "validation_loss"):
        del record[key]
    del record["recipe"]["bfloat16"]
    (tmp_path / "run.json").write_text(json.dumps(sealed(record)))
    read = read_record(tmp_path / "run.json", RunRecord, "")
    assert (read.kept_epoch, read.validation_error, read.validation_loss) == (None, None, None)
    assert read.recipe.bfloat16 is False


def test_a_recipe_without_one_of_the_first_fields_is_damaged(trained: Trained, tmp_path: Path) -> None:
    record = json.loads(trained.artifacts.run("gap", 0).record.read_text())
    del record["recipe"]["batch_size"]
    (tmp_path / "run.json").write_text(json.dumps(sealed(record)))
    with pytest.raises(StudyError, match=r"missing required field `batch_size` - at `\$\.recipe`; train it$"):
        read_record(tmp_path / "run.json", RunRecord, "train it")


TRIAL: dict[str, Any] = {
    **{"number": 0, "own": False, "repeats": None, "values": {}, "epochs": 1, "validation_errors": [0.5]},
    **{"seconds": 1.0, "state": "complete", "validation_error": 0.5, "reason": None},
}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (SearchRange, {}),
        (SearchRange, {"low": 0.1, "high": 1.0}),
        (SearchRange, {"choices": [1], "low": 0.1, "high": 1.0, "log": True}),
        (SearchRange, {"choices": []}),
        (TrialRecord, {**TRIAL, "validation_error": None}),
        (TrialRecord, {**TRIAL, "reason": "behind"}),
        (TrialRecord, {**TRIAL, "state": "pruned", "reason": "behind"}),
        (TrialRecord, {**TRIAL, "state": "failed", "validation_error": None}),
        (JournalEntry, {"schema": "journal/4"}),
    ],
)
def test_keys_that_contradict_each_other_are_refused(kind: type[msgspec.Struct], content: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="Expected"):
        msgspec.convert(content, kind)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (SearchRange, {"low": 1, "high": 3, "log": False}),
        (SearchRange, {"choices": ["sgd", "adamw", None]}),
        (TrialRecord, TRIAL),
        (TrialRecord, {**TRIAL, "state": "pruned", "validation_error": None, "reason": "behind"}),
        (JournalEntry, {"schema": "journal/4", "exit_status": 0}),
    ],
)
def test_a_record_is_written_as_it_was_read(kind: type[msgspec.Struct], content: dict[str, Any]) -> None:
    assert json.loads(json.dumps(msgspec.to_builtins(msgspec.convert(content, kind)))) == content
