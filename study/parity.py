"""Do two engines compute the same? Outputs of any kind are compared one by one, each on its own scale.

An output is an array, nothing (an empty optional), or a sequence or map of outputs. NaN equals NaN.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.difference import Difference
from study.errors import StudyError, printable
from study.records.base import Parity

INT8_DIFFERENCE = 0.05
"""The largest difference of two probabilities in two engines where a network computes in 8-bit integers: that of a few
steps, for where a number lies between two, the last digit before it decides."""
INT8_MISMATCHES = 0.01
"""The largest share of images that may be of another class there: two classes are often as probable as each other."""

INT8_COST = 0.05
"""The largest share of test images that quantisation may move to another class, or its file is not written."""

Output = NDArray[Any] | None | list["Output"] | dict[Any, "Output"]
CALLS = 2
"""Seeded inputs of a module at each batch size of its proof, and of its pack."""
Calls = Sequence[Sequence[Output]]
"""The outputs of a model in their order, for each call."""
MOST_SHOWN = 60
"""Characters of a text in an output that a message shows."""
WIDE = {"b": np.float64, "i": np.float64, "u": np.float64, "f": np.float64, "c": np.complex128}


def compare(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Parity:
    """Compare two arrays of probabilities [N, classes]; a NaN on either side is an infinite difference."""
    if not expected.size:
        return Parity(images=len(expected), max_abs_difference=0.0, argmax_mismatches=0)
    difference = np.abs(expected.astype(np.float64) - found)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    mismatches = int((expected.argmax(1) != found.argmax(1)).sum())
    return Parity(images=len(expected), max_abs_difference=largest, argmax_mismatches=mismatches)


def held(output: Any, kind: np.dtype[Any] | None = None) -> Output:
    """A copy of an engine's output, which its next call does not change.

    Args:
        kind: the declared type. Of one that numpy does not know (bfloat16, 8-bit floats) some engines give the bits.

    Raises:
        Exception: it has a part that numpy does not take.
    """
    if output is None:
        return None
    if isinstance(output, Mapping):
        return {key: held(value) for key, value in output.items()}
    if isinstance(output, list | tuple):
        return [held(element) for element in output]
    array = np.array(output)
    if kind is None or not kind.name.startswith(("bfloat16", "float8")) or array.itemsize != kind.itemsize:
        return array
    return array.view(kind)


def has_nan(output: Output) -> bool:
    """Whether a number in an output is NaN."""
    if isinstance(output, np.ndarray):
        numbers = _plain(output)
        return numbers.dtype.kind in "fc" and bool(np.isnan(numbers).any())
    parts = output.values() if isinstance(output, dict) else output or ()
    return any(map(has_nan, parts))


def differences(names: Sequence[str], expected: Calls, found: Calls, batch: int) -> list[Difference]:
    """How each output differs.

    Args:
        expected: of each call the outputs in the order of `names`; `found` likewise.
        batch: items of a call: the first dimension of the outputs that have a row an item.
    """
    calls = list(zip(expected, found, strict=True))
    for one, other in calls:
        if not len(one) == len(other) == len(names):
            raise StudyError(f"expected the outputs {', '.join(names)}, found {len(one)} and {len(other)} outputs")
    return [_difference(name, [(one[i], other[i]) for one, other in calls], batch) for i, name in enumerate(names)]


class _UnlikeError(Exception):
    """Two outputs of different structure."""


def _difference(name: str, calls: Sequence[tuple[Output, Output]], batch: int) -> Difference:
    unlike: list[str] = []
    parts: list[Difference] = []
    for number, (expected, found) in enumerate(calls):
        try:
            for path, one, other in _parts("", expected, found):
                parts.append(_compared(one, other, batch, path, number, len(calls)))
        except _UnlikeError as error:
            unlike.append(str(error))
    if unlike:
        return Difference(name, f"{unlike[0]}, in {len(unlike)} of {len(calls)} calls")
    if not parts:
        return Difference(name)
    worst = max(parts, key=lambda part: (part.largest, part.differing))
    return replace(
        worst,
        name=name,
        values=sum(part.values for part in parts),
        differing=sum(part.differing for part in parts),
        scale=max(part.scale for part in parts),
        parts=tuple(parts),
        items=frozenset().union(*(part.items for part in parts)),
        nan=sum(part.nan for part in parts),
        infinite=sum(part.infinite for part in parts),
    )


def _parts(path: str, expected: Output, found: Output) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """The arrays of two outputs in pairs, each with its place."""
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        shapes = [[size for size in array.shape if size != 1] for array in (expected, found)]
        moved = expected.ndim == found.ndim and expected.shape != found.shape  # engines leave out dimensions of 1
        texts = {array.dtype.kind in "OSU" for array in (expected, found)}
        if len(texts) == 2 or shapes[0] != shapes[1] or moved:
            raise _UnlikeError(f"{_shown(found)} instead of {_shown(expected)}")
        yield path, expected, found.reshape(expected.shape)
    elif type(expected) is not type(found) or len(expected or ()) != len(found or ()):
        raise _UnlikeError(f"{_shown(found)} instead of {_shown(expected)}")
    elif isinstance(expected, list) and isinstance(found, list):
        for index, pair in enumerate(zip(expected, found, strict=True)):
            yield from _parts(f"{path}[{index}]", *pair)
    elif isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected, key=str)
        if missing := [key for key in keys if key not in found]:
            raise _UnlikeError(f"a map without the key {missing[0]!r}")
        yield from _parts(f"{path} by sorted key ", _values(expected, keys), _values(found, keys))


def _values(of: dict[Any, Output], keys: Sequence[Any]) -> Output:
    """The values of a map in the order of `keys`: scalars as one array, which is compared at once."""
    values = [of[key] for key in keys]
    if all(isinstance(value, np.ndarray) and not value.ndim for value in values):
        return np.array(values)
    return values


def _shown(output: Output) -> str:
    if isinstance(output, np.ndarray):
        kind = "texts" if output.dtype.kind in "OSU" else output.dtype.name
        return f"{kind} [{', '.join(map(str, output.shape))}]"
    if output is None:
        return "nothing"
    return f"a {'map' if isinstance(output, dict) else 'sequence'} of {len(output)}"


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, np.floating) else printable(str(value)[:MOST_SHOWN])


def _compared(expected: NDArray[Any], found: NDArray[Any], batch: int, path: str, call: int, calls: int) -> Difference:
    """How two arrays of one shape differ, which are at `path` in an output of the call number `call`."""
    one, other = _plain(expected), _plain(found)
    text = one.dtype.kind == "O"
    exact = text or one.dtype.kind in "biu" or other.dtype.kind in "biu"
    wrong = np.asarray((one != other) & ~((one != one) & (other != other)))
    with np.errstate(all="ignore"):
        distance = wrong.astype(np.float64) if text else np.abs(one.astype(WIDE[one.dtype.kind]) - other)
    distance = np.where(wrong, np.where(np.isfinite(distance), distance, np.inf), 0.0)
    finite = np.zeros(0) if text else np.abs(one[np.isfinite(one)])
    unordered = 0 if text else int(np.isnan(one).sum()) if one.dtype.kind in "fc" else 0
    rows = batch if one.ndim and len(one) == batch else 1
    mine, theirs, different = (array.reshape(rows, one.size // max(rows, 1)) for array in (one, other, wrong))
    if exact:
        items = np.flatnonzero(different.any(1))
    else:
        items = np.flatnonzero(mine.argmax(1) != theirs.argmax(1)) if mine.size else np.zeros(0, np.int64)
    place = ""
    if wrong.any():
        where = np.unravel_index(int(distance.argmax()), distance.shape)
        index = f"[{', '.join(map(str, where))}] in call {call + 1} of {calls}"
        place = f"at {path}{index}: {_value(other[where])} instead of {_value(one[where])}"
    narrow = exact and not text and expected.dtype.itemsize <= 2 and expected.dtype.kind in "iu"
    return Difference(
        name="",
        shown=_shown(expected),
        kind="rounded" if narrow else "decision" if exact else "number",
        values=one.size,
        differing=int(wrong.sum()),
        largest=float(distance.max(initial=0)),
        scale=float(finite.max(initial=0)),
        place=place,
        items=frozenset((call, int(item)) for item in items),
        call=call,
        nan=unordered,
        infinite=0 if text else one.size - finite.size - unordered,
    )


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """An array as it is compared: texts, integers and booleans as such, all else in float64 or complex128."""
    if array.dtype.kind in "OSU":
        texts = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in array.reshape(-1)]
        return np.array(texts, object).reshape(array.shape)  # numpy drops a NUL at the end of its own
    if array.dtype.kind in "biu":
        return array
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    return array.astype(np.int64 if "int" in array.dtype.name else np.float64)  # those of ml_dtypes too
