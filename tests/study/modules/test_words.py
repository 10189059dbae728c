"""Inputs in words, of the command line and of catalogue files."""

from pathlib import Path

import pytest
from msgspec import structs

from study import catalogue
from study.artifacts import Artifacts
from study.errors import StudyError
from study.modules.exported import difference
from study.modules.words import ModuleInput, batches_of, checked_sizes, parse_inputs, parse_sizes
from study.record_files import read_record
from study.records.module import ModuleRecord
from tests.support.modules import write_module


def test_words_are_parsed_and_written_again() -> None:
    words = ["image=float32[batch,3,224,224]", "ids=int64[batch,sequence]:0..30521", "step=int32[]:7", "on=bool[batch]"]
    parsed = parse_inputs(words)
    assert parsed[1] == ModuleInput("ids", "int64", ("batch", "sequence"), "0..30521")
    assert parsed[2].shape == ()
    assert list(map(str, parsed)) == words


@pytest.mark.parametrize("word", ["x", "x=float32", "=float32[1]", "x=float32[0]", "x=float32[-1]", "x=float32[a b]"])
def test_another_syntax_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(StudyError, match=r"--input: expected image=float32\[batch,3,224,224\] or"):
        parse_inputs([word])


def test_every_named_dimension_needs_a_size_and_every_size_a_dimension() -> None:
    inputs = parse_inputs(["x=float32[batch,n]"])
    with pytest.raises(StudyError, match="dimension n has no size: add --size n=128"):
        checked_sizes(inputs, {})
    with pytest.raises(StudyError, match="--size m: no input has such a dimension; the named ones are: n"):
        checked_sizes(inputs, {"n": 1, "m": 2})
    with pytest.raises(StudyError, match="the size of the batch is for --batches"):
        parse_sizes(["batch=3"])


def test_inputs_without_a_batch_are_called_at_their_own_size() -> None:
    assert batches_of(parse_inputs(["x=float32[5,batch]"]), {}, (1, 2, 7)) == (1, 2, 7)
    assert batches_of(parse_inputs(["x=float32[4,3]"]), {}, (1, 2, 7)) == (4,)


@pytest.mark.parametrize(
    ("made", "asked", "same"),
    [
        ('{"width": 8, "rate": 0.001}', '{"rate":1e-3,"width":8}', True),
        ("", " {} ", True),
        ('[{"a": [1, 2]}]', '[ {"a": [1,2]} ]', True),
        ('{"width": 8}', '{"width": 8.0}', False),
        ('{"deep": true}', '{"deep": 1}', False),
        ("[1, 2]", "[2, 1]", False),
    ],
)
def test_the_arguments_of_a_module_are_compared_by_value(tmp_path: Path, made: str, asked: str, same: bool) -> None:
    record = read_record(write_module(Artifacts(tmp_path), "mine", {}, arguments=made).record, ModuleRecord, "")
    entry = catalogue.Entry("mine", record.factory, inputs=record.inputs, arguments=asked)
    found = difference(entry, structs.replace(record, factory=str(Path(record.factory).absolute())))
    assert (found == "") == same, found


def extended(folder: Path, name: str, entry: str) -> tuple[catalogue.Entry, ...]:
    file = folder / f"{name}.py"
    file.write_text(f"from study.catalogue import Entry\nclass Net: pass\nENTRIES = ({entry},)\n")
    return catalogue.extended(file)


def test_the_paths_of_a_catalogue_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "nets.py").touch()
    (tmp_path / "w.pt").touch()
    words = "inputs=('x=float32[batch,4]',), weights='w.pt'"
    for number, network in enumerate(("nets:Net", "nets.py:Net")):
        entry = extended(tmp_path, f"my_catalogue_{number}", f"Entry('mine', {network!r}, {words})")[-1]
        assert (entry.network, entry.weights) == (f"{tmp_path}/nets.py:Net", f"{tmp_path}/w.pt")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("inputs='x=float32[batch,4]'", r"mine: expected inputs=\(\"image=float32.*found 'x=float32\[batch,4\]'"),
        ("inputs=('x=float[batch,4]',)", "mine: --input x=float.*expected one of float32"),
        ("inputs=('x=float32[batch,n]',)", "mine: dimension n has no size"),
        ("inputs=('x=float32[batch,4]',), arguments={'a': 1}", "mine: expected a string as arguments, found dict"),
        (
            "inputs=('x=float32[batch,4]',), arguments='{a'",
            "mine: expected arguments as JSON, .* found '{a'",
        ),
        ("inputs=('x=float32[batch,4]',), tolerance='x'", "mine: expected a number above 0 as tolerance"),
    ],
)
def test_a_wrong_entry_is_one_line(tmp_path: Path, fields: str, reason: str) -> None:
    with pytest.raises(StudyError, match=rf"--catalogue .*wrong_{abs(hash(fields))}.py: {reason}"):
        extended(tmp_path, f"wrong_{abs(hash(fields))}", f"Entry('mine', 'nets:Net', {fields})")
