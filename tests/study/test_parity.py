"""Outputs of two engines: each is compared on its own scale, with values by hand."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from study.difference import Difference, Limit
from study.parity import differences, has_nan, held

LIMIT = Limit(1e-6, 1e-3, " (how it is made)")
NAN, INFINITY = math.nan, math.inf


def array(*values: Any, dtype: Any = np.float32) -> Any:
    return np.array(values, dtype)


def differ(expected: Any, found: Any, batch: int = 1) -> Difference:
    """One output of one call."""
    (result,) = differences(["y"], [[held(expected)]], [[held(found)]], batch)
    return result


EQUAL: dict[str, tuple[Any, Any]] = {
    "numbers": (array(1, 1000), array(1.9, 1000)),
    "numbers near zero, to the absolute part": (array(2e-7), array(1.1e-6)),
    "NaN and infinities at the same places": (array(NAN, INFINITY, -INFINITY, 1), array(NAN, INFINITY, -INFINITY, 1)),
    "no rows": (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)),
    "a scalar": (np.float32(3), np.array(3, np.float32)),
    "with and without dimensions of 1": (np.ones((1, 3)), np.ones(3)),
    "texts and their bytes": (np.array(["eel", "cät"], object), np.array([b"eel", "cät".encode()], object)),
    "integers as floating point": (array(3, 5, dtype=np.int64), array(3, 5)),
    "one of a thousand decisions": (np.zeros(1000, np.int64), np.eye(1, 1000, dtype=np.int64)[0]),
    "rounded numbers": (array(20_000, 3, dtype=np.int16), array(20_020, 23, dtype=np.int16)),
    "bfloat16": (array(1, 2, dtype=ml_dtypes.bfloat16), array(1, 2)),
    "8-bit floats": (array(1, 2, dtype=ml_dtypes.float8_e5m2), array(1, 2)),
    "complex numbers": (array(1 + 2j, dtype=np.complex64), array(1 + 2.001j, dtype=np.complex64)),
    "a ragged sequence": ([array(1), array(2, 3)], [array(1), array(2, 3)]),
    "an empty sequence": ([], []),
    "nothing": (None, None),
    "maps, as scikit-learn's probabilities": ([{"a": 0.25, "b": 0.75}], [{"b": 0.75, "a": 0.25}]),
    "a map of arrays": ({1: array(1, 2), 2: array(3)}, {1: array(1, 2), 2: array(3)}),
}


@pytest.mark.parametrize("name", EQUAL)
def test_what_counts_as_equal(name: str) -> None:
    assert differ(*EQUAL[name]).holds(LIMIT)


DIFFERENT: dict[str, tuple[Any, Any, str, str, str]] = {
    "numbers": (
        *(array([1, 2], [4, 8]), array([1, 2], [4.5, 8])),
        *("float32 [2, 2]", "by 5.0e-01, 0.06 of its largest value,", "at [1, 0] : 4.5 instead of 4"),
    ),
    "float64 in float64": (
        *(array(1e9, dtype=np.float64), array(1e9 + 2e6, dtype=np.float64)),
        *("float64 [1]", "by 2.0e+06, 0.002 of its largest value,", "at [0] : 1.002e+09 instead of 1e+09"),
    ),
    "a number and NaN": (
        *(array(1, 2), array(1, NAN)),
        *("float32 [2]", "by inf", "at [1] : nan instead of 2"),
    ),
    "infinities of another sign": (
        *(array(INFINITY), array(-INFINITY)),
        *("float32 [1]", "by inf", "at [0] : -inf instead of inf"),
    ),
    "a part of a sequence": (
        *([array(1), array(2, 3)], [array(1), array(2, 4)]),
        *("float32 [2]", "by 1.0e+00, 0.3 of its largest value,", "at [1][1] : 4 instead of 3"),
    ),
    "a value of a map": (
        *([{"a": 0.25, "b": 0.75}], [{"a": 0.25, "b": 0.5}]),
        *("float64 [2]", "by 2.5e-01, 0.3 of its largest value,", "at [0] by sorted key [1] : 0.5 instead of 0.75"),
    ),
    "integers beyond float32": (
        *(array(2**24 + 1, dtype=np.int32), array(2**24, dtype=np.int32)),
        *("int32 [1]", "in 1 of 1 values,", "at [0] : 16777216 instead of 16777217"),
    ),
    "integers beyond float64": (
        *(array(2**53 + 1, dtype=np.int64), array(2**53, dtype=np.int64)),
        *("int64 [1]", "in 1 of 1 values,", "at [0] : 9007199254740992 instead of 9007199254740993"),
    ),
    "booleans": (
        *(array(True, False, dtype=bool), array(True, True, dtype=bool)),
        *("bool [2]", "in 1 of 2 values,", "at [1] : True instead of False"),
    ),
    "an inverted mask in 8 bits": (
        *(array(0, 1, dtype=np.uint8), array(1, 0, dtype=np.uint8)),
        *("uint8 [2]", "in 2 of 2 values,", "at [0] : 1 instead of 0"),
    ),
    "texts": (
        *(array("cat", "eel", dtype=object), array("cat", "dog", dtype=object)),
        *("texts [2]", "in 1 of 2 values,", "at [1] : dog instead of eel"),
    ),
    "texts with a NUL at the end": (
        *(array("a\0", dtype=object), array("a", dtype=object)),
        *("texts [1]", "in 1 of 1 values,", r"at [0] : a instead of 'a\x00'"),
    ),
    "texts that a template or a terminal would take for commands": (
        *(array("{0}", dtype=object), array("\x1b[2J" + 99 * "a", dtype=object)),
        *("texts [1]", "in 1 of 1 values,", rf"at [0] : '\x1b[2J{56 * 'a'}' instead of {{0}}"),
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_is_reported_with_its_place_and_its_limit(name: str) -> None:
    expected, found, shown, amount, place = DIFFERENT[name]
    result = differ(expected, found)
    assert not result.holds(LIMIT)
    numbers = "0.001 of its largest value and 1e-06 (how it is made)"
    limit = "0.001 of them" if result.kind != "number" else numbers
    place = place.replace(" :", " in call 1 of 1:")
    assert result.sentence("A", LIMIT) == (
        f"output 'y' ({shown}) differs from A's {amount} {place}; expected at most {limit}"
    )


UNLIKE: dict[str, tuple[Any, Any, str]] = {
    "shapes": (np.ones((3, 4)), np.ones((2, 4)), "float64 [2, 4] instead of float64 [3, 4]"),
    "a row and a column": (np.ones((1, 5)), np.ones((5, 1)), "float64 [5, 1] instead of float64 [1, 5]"),
    "shapes without values": (np.ones((0, 4)), np.ones((2, 0)), "float64 [2, 0] instead of float64 [0, 4]"),
    "lengths": ([array(1)], [], "a sequence of 0 instead of a sequence of 1"),
    "nothing": (array(1), None, "nothing instead of float32 [1]"),
    "a sequence and a map": ([array(1)], {1: array(1)}, "a map of 1 instead of a sequence of 1"),
    "texts and numbers": (array("1", dtype=object), array(1), "float32 [1] instead of texts [1]"),
    "keys": ({"a": 1.0}, {"b": 1.0}, "a map without the key 'a'"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_outputs_of_another_structure_differ(name: str) -> None:
    expected, found, sentence = UNLIKE[name]
    result = differ(expected, found)
    assert not result.holds(Limit(INFINITY, INFINITY))
    assert result.sentence("A", LIMIT) == f"output 'y' differs from A's: {sentence}, in 1 of 1 calls"


def test_a_large_output_does_not_hide_a_small_one() -> None:
    small, large = differences(["s", "l"], [[array(1e-3), array(1e6)]], [[array(2e-3), array(1e6)]], batch=1)
    assert (small.holds(LIMIT), large.holds(LIMIT)) == (False, True)


def test_the_scale_is_the_largest_finite_value_of_one_array() -> None:
    of_calls = ([[array(1e6, INFINITY)], [array(1)]], [[array(1e6 + 600, INFINITY)], [array(500)]])
    of_elements = ([[[array(1e6, INFINITY), array(1)]]], [[[array(1e6 + 600, INFINITY), array(500)]]])
    for (expected, found), place in ((of_calls, "[0] in call 2 of 2"), (of_elements, "[1][0] in call 1 of 1")):
        (result,) = differences(["y"], expected, found, batch=1)
        assert (result.largest, result.values, result.differing) == (600, 3, 2)
        assert not result.holds(LIMIT)
        assert f" by 5.0e+02, 5e+02 of its largest value, at {place}: 500 instead of 1;" in result.sentence("A", LIMIT)
        (right,) = differences(["y"], expected, expected, batch=1)
        assert (right.holds(LIMIT), right.doubt(LIMIT)) == (True, "")


def test_what_is_within_the_limit_but_may_be_wrong_is_a_doubt() -> None:
    labels = np.arange(4000)
    others = np.where(labels < 2, 999_999, labels)
    assert (differ(labels, others).holds(LIMIT), differ(labels, others).doubt(LIMIT)) == (
        True,
        "2 of 4,000 values of output 'y' differ",
    )
    assert differ(array(1e-10), array(1.0005e-10)).doubt(LIMIT) == "", "the share holds without the absolute part"
    assert differ(array(1e-7), array(-1e-7)).doubt(LIMIT) == "output 'y' is too small (1e-07) to be compared"
    assert differ(array(20_000, 3, dtype=np.int16), array(20_020, 23, dtype=np.int16)).doubt(LIMIT) == ""
    assert differ(array(1, 1e-7), array(1, -1e-7)).doubt(LIMIT) == ""


def test_shapes_that_differ_are_counted_in_calls() -> None:
    rows = [[np.ones((n, 3))] for n in (2, 3, 4)]
    (result,) = differences(["boxes"], rows, [rows[0], rows[0], rows[0]], batch=1)
    assert result.sentence("A", LIMIT) == (
        "output 'boxes' differs from A's: float64 [2, 3] instead of float64 [3, 3], in 2 of 3 calls"
    )


def test_items_of_another_decision_are_counted_once() -> None:
    scores, others = array([1, 2], [2, 1], [1, 2]), array([1, 2], [1, 2], [1, 2])
    labels, wrong = array(1, 0, 1, dtype=np.int64), array(1, 1, 0, dtype=np.int64)
    of_scores, of_labels = differences(["s", "l"], [[scores, labels]], [[others, wrong]], batch=3)
    assert of_scores.items == {(0, 1)}
    assert of_labels.items == {(0, 1), (0, 2)}


def test_an_engine_that_gives_the_bits_of_a_type_that_numpy_lacks() -> None:
    value = np.array([1.5, -2], ml_dtypes.bfloat16)
    for bits in (value.view(np.uint16), value.view(np.float16)):
        assert differ(value, held(bits, value.dtype)).largest == 0


def test_what_is_held_does_not_change_with_the_engines_memory() -> None:
    given = array(1, 2)
    kept = held([{"a": given}])
    given[:] = 0
    assert differ([{"a": array(1, 2)}], kept).differing == 0


def test_nan_is_found_at_any_depth() -> None:
    assert has_nan([{"a": array(NAN, dtype=ml_dtypes.bfloat16)}])
    assert not any(map(has_nan, (array(INFINITY), array("nan", dtype=object), array(1, dtype=np.int8), None, [], {})))
