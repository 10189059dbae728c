"""What a side of `bench ab` means, and how its arrays travel. No processes."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.ab.check import batch_sizes, write_inputs
from bench.ab.sides import side, words_of
from bench.arrays import load_inputs, load_outputs, save_inputs, save_outputs
from study.errors import StudyError
from study.onnx_given import Given
from tests.bench.test_onnx_files import LINEAR, model, node, ones, save, value

# ---- what a side means


@pytest.mark.parametrize(
    ("word", "model", "settings"),
    [
        ("baseline", "baseline", {}),
        ("m.onnx,threads=2", "m.onnx", {"threads": ["2"]}),
        ("my,model.onnx,variant=a,b", "my,model.onnx", {"variant": ["a,b"]}),
        ("m.onnx,python=/a,b/python,threads=1", "m.onnx", {"python": ["/a,b/python"], "threads": ["1"]}),
        ("m.onnx,options=a.b:1,options=c.d:0", "m.onnx", {"options": ["a.b:1", "c.d:0"]}),
        ("m.onnx,thread=2", "m.onnx,thread=2", {}),  # no setting, so the file is missing
    ],
)
def test_only_the_comma_before_a_setting_separates(word: str, model: str, settings: dict[str, list[str]]) -> None:
    assert words_of(word) == (model, settings)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "m.onnx", LINEAR)


COMMON = Namespace(threads=1, mode="native", device="cpu", catalogue=None, artifacts=Path("nowhere"), tolerance=None)


def test_a_side_has_the_settings_of_its_word_and_else_those_of_the_command(file: Path) -> None:
    own = side("B", f"{file},options=session.x:1:2,options=y:z,runtime=tract", COMMON, Given())
    assert (own.model.onnx, own.runtime, own.threads) == (file, "tract", 1)
    assert own.options == {"session.x:1": "2", "y": "z"}
    assert own.request.options == own.options


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("{file},threads=0", r"^B \(.*threads=0\): expected 1 to \d+ threads, found 0$"),
        ("{file},threads=2,threads=1", "expected threads once"),
        ("{file},options=x", "options: expected NAME:VALUE, found 'x'"),
        ("{file},variant=int8", "variant applies to a model of the catalogue"),
        ("{file},python=/nowhere/python", "python=/nowhere/python: expected an interpreter"),
        ("{file},checkout=/", "checkout=/: expected a checkout of this project"),
        ("{file},runtime=torch", "torch runs modules, and the standard variant of trained models"),
        ("{file},thread=2", "found '.*m.onnx,thread=2'; settings are variant, threads, runtime, options, python"),
        ("gap", "expected a finished run of gap in nowhere/models, found none; run `python -m train gap --arti"),
        ("", "expected MODEL,NAME=VALUE, found ''"),
    ],
)
def test_a_mistake_in_a_side_is_one_line(file: Path, word: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        side("B", word.format(file=file), COMMON, Given())


# ---- arrays on their way to the other process and back


def test_inputs_and_outputs_of_all_kinds_arrive_unchanged(tmp_path: Path) -> None:
    pool: list[dict[str, NDArray[Any]]] = [
        {"x": np.full((2, 3), i, np.float32), "file": np.array([i], np.int64)} for i in range(3)
    ]
    save_inputs(tmp_path / "in.npz", pool)
    loaded = load_inputs(tmp_path / "in.npz")
    assert [{k: v.tolist() for k, v in one.items()} for one in loaded] == [
        {k: v.tolist() for k, v in one.items()} for one in pool
    ]
    assert all(array.flags.c_contiguous and array.flags.owndata for one in loaded for array in one.values())
    calls = [[np.ones(2), None, [np.zeros(1), {3: np.float32(0.5)}], np.array(["a", "bc"], object)]]
    (found,) = load_outputs(tmp_path / "out.npz", save_outputs(tmp_path / "out.npz", calls))
    assert found[0].tolist() == [1, 1]
    assert found[1] is None
    assert (found[2][0].tolist(), found[2][1]) == ([0], {3: 0.5})
    assert found[3].tolist() == ["a", "bc"]


# ---- the same inputs for both


def with_input(path: Path, name: str, rows: Any) -> Path:
    return save(path, model([node("MatMul", f"{name} w")], [value(name, [rows, 4])], [ones("w", 4, 3)]))


def test_an_input_of_another_name_gets_the_same_arrays(file: Path, tmp_path: Path) -> None:
    renamed = with_input(tmp_path / "renamed.onnx", "pixels", "N")
    sides = side("A", str(file), COMMON, Given()), side("B", str(renamed), COMMON, Given())
    a, b = (load_inputs(each) for each in write_inputs(sides, 2, tmp_path))
    assert [one["x"].tolist() for one in a] == [one["pixels"].tolist() for one in b]
    assert a[0]["x"].shape == (2, 4)


def test_both_are_measured_at_the_batch_that_one_of_them_fixes(file: Path, tmp_path: Path) -> None:
    free = side("A", str(file), COMMON, Given())
    two, three = (side("B", str(with_input(tmp_path / f"{rows}.onnx", "x", rows)), COMMON, Given()) for rows in (2, 3))
    assert batch_sizes((free, two), [1, 32]) == batch_sizes((two, free), [1, 32]) == [2]
    with pytest.raises(StudyError, match="A is fixed at batch 2, B at batch 3"):
        batch_sizes((two, three), [1])
