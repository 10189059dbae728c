"""The options for inputs: shapes, values and files of arrays, and every contradiction in one line."""

import io
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from study.errors import StudyError
from study.onnx_given import Given, parse_given, parse_shapes
from study.onnx_inputs import batch_sizes
from study.onnx_values import check, digest, generate
from tests.study.test_onnx_values import given


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, allow_pickle=True, **{name: np.asarray(array) for name, array in arrays.items()})
    return path


def test_shapes_are_words_of_a_name_and_numbers() -> None:
    words = ["x=1,3,224,224", "step=", "a=b:0=7", "past=1,0"]
    assert parse_shapes(words) == {"x": (1, 3, 224, 224), "step": (), "a=b:0": (7,), "past": (1, 0)}


def test_other_words_are_refused_and_shown() -> None:
    for word in ("x", "", "=", "=1,2", "x=1,", "x=1,-1", "x=1, 2", "x=1x2", "x=1.5", "x=²", "x=٣", "x=" + "9" * 5000):
        with pytest.raises(StudyError) as error:
            parse_shapes(["ok=1", word])
        assert repr(word) in str(error.value)


def test_a_second_shape_for_the_same_input_is_refused() -> None:
    with pytest.raises(StudyError, match="'x=2' as another for 'x'"):
        parse_shapes(["x=1", "x=2"])


# ---- files of arrays


def test_each_file_is_one_call_and_fixes_the_shapes(tmp_path: Path) -> None:
    inputs = [given("x", "n", "w"), given("sr", dtype=np.int64), given("noise", "n", 5)]
    files = [save(tmp_path / f"{i}.npz", x=np.full((2, 3), i, np.float32), sr=16000 + i) for i in range(3)]
    users = parse_given([], [], files)
    check(inputs, users)
    assert users.shapes == {"x": (2, 3), "sr": ()}
    assert batch_sizes(inputs, users.shapes, [1, 32]) == [2]
    pool = generate(inputs, users, 2, seed=0, count=8)
    assert [int(call["sr"]) - 16000 for call in pool] == [0, 1, 2] * 3  # each as often as any other
    assert [float(call["x"].mean()) for call in pool] == [0, 1, 2] * 3
    assert len({call["noise"].tobytes() for call in pool}) == 9
    assert [list(call) for call in pool] == [["x", "sr", "noise"]] * 9


def test_a_file_holds_any_dtype_of_an_input(tmp_path: Path) -> None:
    for dtype in (np.bool_, np.uint8, np.float16, ml_dtypes.bfloat16, np.complex64, np.str_):
        array = np.array([[0, 1, 1]]).astype(dtype).T
        users = parse_given([], [], [save(tmp_path / "x.npz", **{"a/b:0": array})])
        (call,) = generate([given("a/b:0", "n", 1, dtype=object if dtype is np.str_ else dtype)], users, 3, 0, 1)
        assert call["a/b:0"].flags.c_contiguous
        np.testing.assert_array_equal(call["a/b:0"], array)
        assert call["a/b:0"].dtype == array.dtype
        assert len(digest([call])) == 64


def test_a_contradiction_is_refused(tmp_path: Path) -> None:
    one, other = save(tmp_path / "one.npz", x=[1.0, 2]), save(tmp_path / "other.npz", x=[1.0])
    for shapes, values, feeds, message in (
        ([], ["x"], [], "--input: expected name=16000 or name=0..9, found 'x'"),
        ([], ["x=1", "x=2"], [], "found 'x=2' as another for 'x'"),
        ([], ["x=1"], [one], "one.npz: input 'x' is there already, leave out --input x=1"),
        (["x=3"], [], [one], "one.npz: input 'x' is there already, leave out the shape [3]"),
        ([], [], [one, other], "other.npz: expected arrays named and shaped as in"),
    ):
        with pytest.raises(StudyError) as error:
            parse_given(shapes, values, feeds)
        assert message in str(error.value)
    assert parse_given(["x=2"], [], [one]).shapes == {"x": (2,)}


def test_a_file_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    users = parse_given([], [], [save(tmp_path / "x.npz", x=[1.0, 2])])
    for inputs, message in (
        ([given("y", 2)], "the model has no input 'x'; it has: 'y'"),
        ([given("x", 2)], "--feed: expected 'x' as float32, found float64: use .astype('float32')"),
        ([given("x", 2, dtype=object)], "expected 'x' as str, found float64"),
        ([given("x", 3, dtype=np.float64)], "shape x=2: expected 3 where it has 2"),
    ):
        with pytest.raises(StudyError) as error:
            generate(inputs, users, 2, seed=0, count=1)
        assert message in str(error.value)
    with pytest.raises(StudyError, match="the model has no input 'z'"):
        check([given("y", 2)], Given(values={"z": "1"}))


def _claiming(shape: str) -> bytes:
    """An array of numpy's format whose header claims a shape that its two bytes do not have."""
    made = io.BytesIO()
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    made.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"ab")
    return made.getvalue()


def test_a_file_that_is_none_of_arrays_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    contents: list[bytes | dict[str, bytes]] = [
        b"", b"PK", b"no zip", {"x.npy": b"no array"}, {"x.npy": _claiming("(9, 9)")}, {"x.npy": _claiming("(2**40,)")},
        {"x.npy": _claiming("(999999999999999,)")}, {},
    ]  # fmt: skip
    for content in contents:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            with zipfile.ZipFile(path, "w") as file:
                for name, data in content.items():
                    file.writestr(name, data)
        with pytest.raises(StudyError) as error:
            parse_given([], [], [path])
        assert str(error.value).startswith(f"--feed {path}: expected arrays")
        assert "\n" not in str(error.value)
    for wrong in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(StudyError, match=r"--feed .*: (No such file|Is a directory)"):
            parse_given([], [], [wrong])
    with pytest.raises(StudyError, match=r"expected a file of numpy\.savez, found no plain file"):
        parse_given([], [], [Path("/dev/zero")])
    pickled = save(path, x=np.array([{}], object))
    with pytest.raises(StudyError, match=r"Object arrays cannot be loaded .*: give texts as .astype\(str\)"):
        parse_given([], [], [pickled])
