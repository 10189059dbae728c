"""The values of inputs: drawn by their types, names and uses, or given by the user."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from study.errors import StudyError
from study.onnx_given import Given
from study.onnx_indices import Use
from study.onnx_inputs import Input
from study.onnx_values import check, digest, generate


def given(name: str, *shape: int | str | None, dtype: Any = np.float32) -> Input:
    return Input(name, np.dtype(dtype), shape)


def drawn(value: Input, text: str, batch: int = 10_000) -> NDArray[Any]:
    (arrays,) = generate([value], Given(values={value.name: text}), batch, seed=0, count=1)
    return arrays[value.name]


# ---- drawn


SMALLEST_NORMAL = {np.float16: 2**-14, np.float32: 2**-126, np.float64: 2**-1022, ml_dtypes.bfloat16: 2**-126}


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


def test_an_index_is_of_its_dtype_even_for_a_larger_table() -> None:
    for dtype, use, low, high in ((np.int8, Use(0, 999), 0, 127), (np.uint8, Use(300, 400), 255, 255)):
        (arrays,) = generate([given("i", "n", dtype=dtype)], Given(), 5000, 0, 1, {"i": use})
        assert arrays["i"].dtype == dtype
        assert (arrays["i"].min(), arrays["i"].max()) == (low, high)


def test_masks_of_attention_and_padding_show_every_token() -> None:
    for dtype in (np.int64, np.int32, np.uint8, np.bool_):
        names = {
            "attention_mask": 1,
            "decoder_attention_mask:0": 1,
            "input_mask": 1,
            "key_padding_mask": 0,
            "padMask": 0,
        }
        inputs = [given(name, "n", 9, dtype=dtype) for name in (*names, "mask")]
        (arrays,) = generate(inputs, Given(), 50, 0, 1)
        assert {name: set(arrays[name].flat) for name in names} == {name: {value} for name, value in names.items()}
        assert len(set(arrays["mask"].flat)) > 1


def test_the_pool_follows_from_the_seed_alone_and_its_inputs_differ() -> None:
    inputs = [given("s"), given("x", "batch", 3, "height", "width"), given("h", "batch", dtype=np.float16)]
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


# ---- given


CONSTANTS: list[tuple[Any, str, Any]] = [
    (np.int64, "16000", 16000), (np.int64, "9223372036854775807", 2**63 - 1),
    (np.uint64, "18446744073709551615", 2**64 - 1),
    (np.int8, "-128", -128), (np.float32, "0.5", 0.5), (np.float64, "-1e-3", -0.001), (np.float32, "2", 2.0),
    (ml_dtypes.bfloat16, "1.5", 1.5), (np.float16, "65504", 65504.0), (np.bool_, "true", True), (np.bool_, "0", False),
    (object, "abc=", "abc="), (object, "", ""), (object, "0..1", "0..1"),
]  # fmt: skip


def test_a_value_fills_the_input_with_its_dtype() -> None:
    for dtype, text, expected in CONSTANTS:
        array = drawn(given("x", "n", 2, dtype=dtype), text, 3)
        assert array.shape == (3, 2)
        assert array.dtype == dtype or array.dtype.kind == "U"
        assert (array == expected).all(), (dtype, text)
    assert drawn(given("sr", dtype=np.int64), "16000", 1).shape == ()


RANGES: list[tuple[Any, str, float, float]] = [
    (np.int64, "5..9", 5, 9), (np.int32, "-3..-1", -3, -1), (np.uint8, "0..3", 0, 3), (np.bool_, "false..true", 0, 1),
    (np.float32, "-1..1", -1, 1), (np.float16, "0.25...5", 0.25, 0.5), (ml_dtypes.bfloat16, "10..20", 10, 20),
    (np.float64, "-1.7e308..1.7e308", -1.7e308, 1.7e308),
]  # fmt: skip


def test_a_range_includes_both_ends_and_floats_are_uniform_between_them() -> None:
    for dtype, text, low, high in RANGES:
        array = drawn(given("x", "n", dtype=dtype), text)
        assert array.dtype == dtype
        numbers = array.astype(np.float64)
        if array.dtype.kind in "biu":
            assert set(numbers) == set(range(int(low), int(high) + 1)), text
        else:
            assert low <= numbers.min() <= numbers.max() <= high
            share = numbers / high
            assert np.quantile(share, 0.5) == pytest.approx((low / high + 1) / 2, abs=0.03), text


def test_no_float_of_a_range_is_subnormal() -> None:
    array = drawn(given("x", "n"), "0..1e-37")
    assert np.abs(array[array != 0]).min() >= 2**-126
    assert (array == 0).mean() == pytest.approx(2**-126 / 1e-37, abs=0.02)


REFUSED: list[tuple[Any, str, str]] = [
    (np.int64, "0.5", "expected an integer from -9223372036854775808 to 9223372036854775807"),
    (np.uint8, "256", "expected an integer from 0 to 255"), (np.int64, "", "expected an integer"),
    (np.int64, "1..", "expected an integer"), (np.int64, "\u0663", "expected an integer"),
    (np.int64, "1_0", "an integer"),
    (np.int64, "9" * 5000, "an integer"), (np.int64, "9..0", "expected the smaller number first"),
    (np.bool_, "yes", "expected true or false"), (np.float32, "nan", "expected a number"),
    (np.float32, "1e39", "expected a number within its range"), (np.float16, "0..70000", "within its range"),
    (np.float32, "float32[batch,3]", "expected a number"), (np.complex64, "1", "for complex64"),
]  # fmt: skip


def test_a_value_that_the_input_cannot_hold_is_refused() -> None:
    for dtype, text, message in REFUSED:
        with pytest.raises(StudyError) as error:
            check([given("x", 1, dtype=dtype)], Given(values={"x": text}))
        assert message in str(error.value), (dtype, text)
        assert str(error.value).startswith(f"--input x={text}: ")


# ---- the digest


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
