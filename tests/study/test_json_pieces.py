"""A large JSON file read a piece at a time, against the same file read whole."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study import json_pieces
from study.json_pieces import pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    content=st.dictionaries(st.text(), VALUES),
    many=st.lists(VALUES | st.dictionaries(st.text() | st.just("\n}"), VALUES)),
    inner=st.lists(VALUES),
    indent=st.sampled_from([None, 0, 4]),
    chunk=st.integers(1, 30) | st.just(2**20),
)
def test_the_pieces_are_those_of_the_whole(
    content: dict[str, Any], many: list[Any], inner: list[Any], indent: int | None, chunk: int
) -> None:
    content |= {"many": many, "one": {"inner": inner, "other": content.get("x")}}
    previous, json_pieces.CHUNK = json_pieces.CHUNK, chunk
    try:
        found = list(pieces(io.StringIO(json.dumps(content, indent=indent)), ("many", "one", "one.inner")))
    finally:
        json_pieces.CHUNK = previous
    assert [value for key, value in found if key == "many"] == many
    assert [value for key, value in found if key == "one.inner"] == inner
    rest = {key: value for key, value in found if key not in ("many", "one.inner")}
    assert rest == {key: value for key, value in content.items() if key not in ("many", "one")} | {
        "one.other": content["one"]["other"]
    }


BAD = {
    "nothing": "",
    "an array": "[1]",
    "cut off": "{",
    "cut off behind a value": '{"a": 1',
    "more behind it": '{"a": 1} 2',
    "a comma too many": '{"a": 1,}',
    "a comma too many in an array": '{"many": [1,]}',
    "an array that does not end": '{"many": [1}',
    "a key twice": '{"a": 1, "a": 2}',
    "NaN in an array": '{"many": [NaN]}',
    "Infinity": '{"a": Infinity}',
    "a number as a key": "{1: 2}",
    "no colon": '{"a" 1}',
    "half a number": '{"a": 1.}',
    "nested too deeply": '{"a": ' + "[" * 200_000,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(pieces(io.StringIO(text), ("many",)))
