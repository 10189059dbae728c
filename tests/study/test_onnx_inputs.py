"""Inputs that are made for any model: their shapes, what is in them, and that ONNX Runtime takes them."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from bench.onnx_files import read
from study.errors import StudyError
from study.onnx_given import Given
from study.onnx_inputs import Input, batch_sizes, concrete
from study.onnx_values import digest, generate


def given(name: str, *shape: int | str | None, dtype: Any = np.float32) -> Input:
    return Input(name, np.dtype(dtype), shape)


IMAGE = given("x", "batch", 3, "height", "width")
MASK = given("mask", "batch", "length", dtype=np.int64)
SMALLEST_NORMAL = {np.float16: 2**-14, np.float32: 2**-126, np.float64: 2**-1022, ml_dtypes.bfloat16: 2**-126}


BATCHES: list[tuple[list[Input], dict[str, tuple[int, ...]], list[int]]] = [
    ([IMAGE], {}, [1, 32]),
    ([given("x", None, 3)], {}, [1, 32]),
    ([given("x", 8, 3), given("y", "N")], {}, [1, 32]),
    ([IMAGE], {"x": (4, 3, 9, 9)}, [4]),
    ([IMAGE, MASK], {"x": (4, 3, 9, 9)}, [4]),  # the mask's dimension has the same name
    ([IMAGE, given("y", "N", 2)], {"x": (4, 3, 9, 9)}, [1, 32]),
    ([given("s"), given("x", 8, 3), given("y", 2)], {}, [8]),
    ([given("s")], {}, [1]),
    ([given("x", None, 3), given("y", None)], {"x": (4, 3)}, [4]),  # the batch of both
    ([given("ids", "batch", "length"), given("past", "batch", 4, "past", 8)], {"past": (2, 4, 0, 8)}, [2]),
]


def test_batches_are_those_wanted_unless_the_file_or_the_user_fixes_one() -> None:
    for inputs, shapes, expected in BATCHES:
        assert batch_sizes(inputs, shapes, [1, 32]) == expected, inputs


def test_a_dimension_has_one_number_wherever_its_name_stands() -> None:
    inputs = [MASK, given("ids", None, "length"), given("square", "length", "length"), given("table", 7, "batch")]
    assert concrete(inputs, {"mask": (4, 9), "ids": (4, 9)}, 4) == {
        "mask": (4, 9), "ids": (4, 9), "square": (9, 9), "table": (7, 4)
    }  # fmt: skip
    assert concrete(inputs[:1] + inputs[3:], {"mask": (4, 9)}, 4)["table"] == (7, 4)
    assert concrete([given("x", "batch"), given("table", 7, "batch")], {}, 5) == {"x": (5,), "table": (7, 5)}


def test_a_name_that_is_a_sum_has_the_sum_of_its_terms() -> None:
    past = given("past", "n", 4, "past length", 8)
    inputs = [given("ids", "n", "length", dtype=np.int64), past, given("mask", "n", "past length + length")]
    shapes = {"ids": (2, 3), "past": (2, 4, 5, 8)}
    assert concrete(inputs, shapes, 2)["mask"] == (2, 8)
    assert concrete(inputs, shapes | {"mask": (2, 9)}, 2)["mask"] == (2, 9)
    assert concrete([past, given("next", "n", "past length+1")], {"past": (2, 4, 5, 8)}, 2)["next"] == (2, 6)
    with pytest.raises(StudyError, match=r"--shape ids=1,128 --shape past=1,4,0,8$"):
        concrete(inputs, {}, 1)


REFUSED: list[tuple[list[Input], dict[str, tuple[int, ...]], int, str]] = [
    ([IMAGE], {}, 1, "'x' has shape [batch, 3, height, width]: give it with --shape x=1,3,224,224"),
    ([given("x", "n", None)], {}, 1, "'x' has shape [n, ?]: give it with --shape x=1,16"),
    ([given("x y", "n", None)], {}, 1, "--shape 'x y=1,16'"),
    ([MASK], {}, 1, "'mask' has shape [batch, length]: give it with --shape mask=1,128"),
    ([MASK, given("ids", "batch", "length", dtype=np.int64), given("past", "batch", 4, "past_length", 8)], {}, 1,
     "[batch, 4, past_length, 8]: give them with --shape mask=1,128 --shape past=1,4,0,8"),
    ([given("input", None, None), given("state", 2, None, 128)], {}, 1,
     "give them with --shape input=1,16 --shape state=2,1,128"),
    ([IMAGE, MASK], {"y": (1,)}, 1, "no input 'y'; it has: 'x', 'mask'"),
    ([IMAGE], {"x": (1, 3, 9)}, 1, "shape x=1,3,9: expected 4 dimensions"),
    ([given("s")], {"s": (1,)}, 1, "expected 0 dimensions"),
    ([IMAGE], {"x": (1, 4, 9, 9)}, 1, "shape x=1,4,9,9: expected 3 where it has 4"),
    ([IMAGE, MASK], {"x": (1, 3, 9, 9), "mask": (2, 9)}, 1, "shape mask=2,9: expected 1 where it has 2"),
    ([given("x", "n", "n")], {"x": (2, 3)}, 2, "expected 2 where it has 3"),
    ([given("x", 8, 3)], {}, 4, "expected the batch 8"),
    ([given("x", 0, 3)], {}, 1, "a batch of one or more"),
    ([given("x", "n", 10**6)], {}, 10**6, "at most 4294967296 bytes, found 8000000000000"),
    ([given("x", 1, dtype=np.complex64)], {}, 1, "dtype complex64"),
    ([given("word", 1, dtype=object)], {}, 1, "'word' has dtype str: expected floats of 16 bits or more, integers or "
     "bool; give it with --input word=TEXT or --feed FILE.npz"),
]  # fmt: skip


def test_inputs_that_cannot_be_made_are_refused_with_the_remedy() -> None:
    for inputs, shapes, batch, message in REFUSED:
        with pytest.raises(StudyError) as error:
            generate(inputs, Given(shapes), batch, seed=0, count=2)
        assert message in str(error.value)


@pytest.mark.parametrize("dtype", SMALLEST_NORMAL)
def test_floats_are_uniform_in_0_to_1_and_never_subnormal(dtype: Any) -> None:
    (arrays,) = generate([given("x", "n", 1000, dtype=dtype)], Given(), 100, seed=0, count=1)
    assert arrays["x"].dtype == dtype
    x = arrays["x"].astype(np.float64)
    assert 0 <= x.min() <= x.max() <= 1
    assert x[x > 0].min() >= SMALLEST_NORMAL[dtype]
    # Uniform: mean 1/2, variance 1/12; bfloat16 rounds to 8 bits. Standard errors are below 0.001 and 0.0003.
    assert (x.mean(), x.var()) == (pytest.approx(1 / 2, abs=5e-3), pytest.approx(1 / 12, abs=2e-3))


def test_integers_take_all_values_that_are_valid_anywhere() -> None:
    values: dict[Any, range] = {np.uint8: range(256), np.int8: range(-128, 128)}
    bits = (np.bool_, np.int16, np.int32, np.int64, np.uint16, np.uint32, np.uint64)
    for dtype, expected in {**values, **dict.fromkeys(bits, range(2))}.items():
        (arrays,) = generate([given("x", 10_000, dtype=dtype)], Given(), 10_000, seed=0, count=1)
        assert arrays["x"].dtype == dtype
        assert {int(number) for number in np.unique(arrays["x"])} == set(expected)


def test_the_pool_follows_from_the_seed_alone_and_its_inputs_differ() -> None:
    inputs = [given("s"), IMAGE, given("h", "batch", dtype=np.float16)]
    shapes = {"x": (2, 3, 5, 7)}
    pool = generate(inputs, Given(shapes), 2, seed=1, count=3)
    np.random.default_rng().random()
    again = generate(inputs, Given(shapes), 2, seed=1, count=4)
    assert [list(arrays) for arrays in pool] == [["s", "x", "h"]] * 3
    assert all(array.flags.c_contiguous for arrays in pool for array in arrays.values())
    assert [array.shape for array in pool[0].values()] == [(), (2, 3, 5, 7), (2,)]
    assert digest(pool) == digest(again[:3])
    assert len({digest([arrays]) for arrays in again}) == 4
    assert digest(pool) != digest(generate(inputs, Given(shapes), 2, seed=2, count=3))


def test_the_digest_depends_on_names_dtypes_shapes_values_and_order() -> None:
    x = np.arange(6, dtype=np.int32)
    pools: list[list[dict[str, np.ndarray]]] = [
        [{"x": x}], [{"y": x}], [{"x": x.view(np.float32)}], [{"x": x.reshape(2, 3)}], [{"x": x[::-1]}],
        [{"x": x, "y": x}], [{"y": x, "x": x}], [{"x": x}, {"y": x}], [{"x": x.reshape(2, 3).T}], [],
        [{"x": x[:0]}], [{"x": np.array(1, ml_dtypes.bfloat16)}], [{"x": np.array(1, np.float16)}],
    ]  # fmt: skip
    assert len({digest(pool) for pool in pools}) == len(pools)
    assert digest([{"x": x[::2]}]) == digest([{"x": x[::2].copy()}])
    assert digest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing


MODEL = """<ir_version: 8, opset_import: ["": 18]> main
    (int64[batch, length] ids, bool[batch, length] mask, uint8[?, 4] pixels, float16 scale, bool[1] flag,
     float[3] default)
    => (float[] y, bool[] mask_out, uint8[] pixels_out, float16[] scale_out) <float[2, 1] table = {1, 1}>
    { embedded = Gather(table, ids)
      y = If(flag)<then_branch = a () => (float[] t) { t = Identity(embedded) },
                   else_branch = b () => (float[] e) { e = Identity(embedded) }>
      mask_out = Identity(mask) pixels_out = Identity(pixels) scale_out = Identity(scale) }"""
"""Tokens, a mask, a byte image, a scalar and a flag; `default` has an initializer and need not be given."""


@pytest.mark.parametrize(("shapes", "batch"), [({"ids": (3, 7), "pixels": (3, 4)}, 3), ({"mask": (2, 6)}, 5)])
def test_onnx_runtime_takes_what_is_generated(tmp_path: Path, shapes: dict[str, tuple[int, ...]], batch: int) -> None:
    made, path = parser.parse_model(MODEL), tmp_path / "model.onnx"
    made.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "default"))
    path.write_bytes(made.SerializeToString())
    inputs = read(path, shapes).inputs
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for arrays in generate(inputs, Given(shapes), batch, seed=0, count=3):
        outputs = session.run(None, arrays)
        assert outputs[0].shape == (*arrays["ids"].shape, 1)
        for name, found in zip(("mask", "pixels", "scale"), outputs[1:], strict=True):
            np.testing.assert_array_equal(found, arrays[name])
