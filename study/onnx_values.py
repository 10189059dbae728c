"""The values of a model's inputs: given by the user, or random and the same for every engine."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError
from study.onnx_given import MOST_BYTES, Given, Shapes
from study.onnx_indices import Use
from study.onnx_inputs import Input, concrete

INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
SEEN = re.compile("(attention|input)_?mask", re.IGNORECASE)
"""The name of a mask that is 1 where there is a token."""
HIDDEN = re.compile("pad(ding|ded)?_?mask", re.IGNORECASE)
"""The name of a mask that is 1 where there is none."""
LENGTH = re.compile(r"len(gth)?s?($|[_.:])", re.IGNORECASE)
"""The name of an input that says how long each sequence of a batch is."""
BOOL = {"0": 0, "1": 1, "false": 0, "true": 1}


def check(inputs: Sequence[Input], given: Given) -> None:
    """Refuse values and arrays that the model cannot take.

    Raises:
        StudyError: a name is that of no input, or a value or an array has another type than the input.
    """
    by_name = {value.name: value for value in inputs}
    fed = given.feeds[0] if given.feeds else {}
    for name in (*given.values, *fed):
        if name not in by_name:
            raise StudyError(f"the model has no input {name!r}; it has: {', '.join(map(repr, by_name))}")
    for name, text in given.values.items():
        limits(by_name[name], text)
    for name, array in fed.items():
        wanted = by_name[name].dtype
        if not _fits(array.dtype, wanted):
            kind = "str" if _strings(wanted) else wanted.name
            raise StudyError(f"--feed: expected {name!r} as {kind}, found {array.dtype.name}: use .astype({kind!r})")


def _fits(found: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Whether an array in a file is one of a dtype; files have strings as U, and numpy's format knows no bfloat16."""
    if _strings(wanted):
        return found.kind == "U"
    return found == wanted or (found.kind == wanted.kind == "V" and found.itemsize == wanted.itemsize)


def _strings(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "O"


def limits(value: Input, text: str) -> tuple[float, float]:
    """The smallest and the largest number of "16000", "-1..1" or "false" for an input; integers are of type int.

    Raises:
        StudyError: the text has another syntax, or the dtype of the input cannot hold it.
    """
    if _strings(value.dtype):
        return 0, 0
    low, dots, high = text.partition("..")
    try:
        lowest, highest = _number(value.dtype, low), _number(value.dtype, high if dots else low)
    except ValueError as error:
        word = f"--input {value.name}={text}"
        raise StudyError(f"{word}: expected {error}, or two of them with .. between, for {value.dtype.name}") from None
    if lowest > highest:
        raise StudyError(f"--input {value.name}={text}: expected the smaller number first")
    return lowest, highest


def _number(dtype: np.dtype[Any], word: str) -> float:
    if dtype.kind == "b":
        if word.lower() not in BOOL:
            raise ValueError("true or false")
        return BOOL[word.lower()]
    if dtype.kind in "iu":
        extremes = np.iinfo(dtype)
        if not INTEGER.fullmatch(word) or not extremes.min <= int(word) <= extremes.max:
            raise ValueError(f"an integer from {extremes.min} to {extremes.max}")
        return int(word)
    with np.errstate(over="ignore"):
        if not FLOAT.fullmatch(word) or not _floats(dtype) or not np.isfinite(np.asarray(float(word)).astype(dtype)):
            raise ValueError("a number within its range")
    return float(word)


def _floats(dtype: np.dtype[Any]) -> bool:
    return dtype in (np.float16, np.float32, np.float64) or dtype.name == "bfloat16"


def generate(
    inputs: Sequence[Input],
    given: Given,
    batch: int,
    seed: int,
    count: int,
    uses: Mapping[str, Use] | None = None,
) -> list[dict[str, NDArray[Any]]]:
    """The inputs of at least `count` calls: C-contiguous arrays by name, of the model's dtypes and concrete shapes.

    Those that the user feeds come in their order, again and again, and each as often as any other. All others are drawn
    from `seed` alone, between the limits that the user or else `drawn_from` gives.

    Raises:
        StudyError: as `check` and `concrete`; a dtype cannot be drawn; the arrays would take more than `MOST_BYTES`.
    """
    check(inputs, given)
    sizes = concrete(inputs, given.shapes, batch)
    times = max(1, len(given.feeds))
    count += -count % times
    fed = set(given.feeds[0]) if given.feeds else set()
    needed = count * sum(each.dtype.itemsize * prod(sizes[each.name]) for each in inputs if each.name not in fed)
    if needed > MOST_BYTES:
        raise StudyError(f"expected inputs of at most {MOST_BYTES} bytes, found {needed}: {count} of {sizes}")
    random = np.random.default_rng(seed)

    def array(value: Input, index: int) -> NDArray[Any]:
        if value.name in fed:
            found = given.feeds[index % times][value.name]
            return found if found.dtype.kind != "V" else found.view(value.dtype)
        text, use = given.values.get(value.name), (uses or {}).get(value.name, Use())
        if text is not None and _strings(value.dtype):
            return np.full(sizes[value.name], text)
        low, high = drawn_from(value, sizes, use)[:2] if text is None else limits(value, text)
        return _draw(random, value.dtype, sizes[value.name], low, high)

    return [{value.name: array(value, index) for value in inputs} for index in range(count)]


def drawn_from(value: Input, sizes: Shapes, use: Use) -> tuple[float, float, str]:
    """The values, both included, between which those of an input are drawn that the user does not give, and why.

    Floating point (float16, float32, float64, bfloat16) is uniform in 0..1 and never subnormal, which would be slow for
    a reason of its own. An index takes all rows of the smallest table that it is for: a whole vocabulary is not in the
    processor's cache as one row is. uint8 and int8 take all their values, bool either, other integers 0 and 1: all that
    a mask may have. Three kinds are known by their names: a mask of attention or of padding shows all tokens, because
    the softmax of a row that sees none is NaN; a length is the smallest dimension behind the batch of the other inputs,
    because a model divides by it and its sequences are no longer.

    Args:
        sizes: the shape of each input.

    Returns:
        The limits, and a reason where the user may want others.

    Raises:
        StudyError: the dtype is none of these.
    """
    dtype = value.dtype
    reason = "which decides what is computed" if use.decides else ""
    if use.high is not None:
        most = 1 if dtype.kind == "b" else np.iinfo(dtype).max
        low, high = min(use.low, most), min(use.high, most)
        return low, high, reason or "an index or a length" * (low < high)
    if dtype.kind in "iub" and (SEEN.search(value.name) or HIDDEN.search(value.name)):
        shown = 1 if SEEN.search(value.name) else 0
        return shown, shown, reason
    if dtype in (np.uint8, np.int8):
        return np.iinfo(dtype).min, np.iinfo(dtype).max, reason
    longest = min((size for shape in sizes.values() for size in shape[1:] if size), default=0)
    if dtype.kind in "iu" and LENGTH.search(value.name) and len(sizes[value.name]) < 2 and longest:
        return longest, longest, reason or "a length by its name"
    if dtype.kind in "iub" or _floats(dtype):
        return 0, 1, reason
    kind = "str" if _strings(dtype) else dtype.name
    remedy = f"; give it with --input {value.name}=TEXT or --feed FILE.npz" if _strings(dtype) else ""
    expected = f"expected floats of 16 bits or more, integers or bool{remedy}"
    raise StudyError(f"input {value.name!r} has dtype {kind}: {expected}")


def choices(inputs: Sequence[Input], given: Given, batch: int, uses: Mapping[str, Use]) -> list[str]:
    """The values drawn for inputs that the user may want to give, such as "'ids' 0..30521 (an index or a length)"."""
    sizes, lines = concrete(inputs, given.shapes, batch), []
    for value in inputs:
        if value.name not in given.values and not any(value.name in arrays for arrays in given.feeds):
            low, high, reason = drawn_from(value, sizes, uses.get(value.name, Use()))
            if reason:
                lines.append(f"{value.name!r} {low}{f'..{high}' if low < high else ''} ({reason})")
    return lines


def _draw(
    random: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...], low: float, high: float
) -> NDArray[Any]:
    """An array of one value, of all integers in a range, or uniform in it."""
    if low == high:
        return np.full(shape, low, dtype)
    if dtype.kind in "biu":
        kind = np.uint8 if dtype.kind == "b" else dtype.type
        return random.integers(int(low), int(high), shape, dtype=kind, endpoint=True).astype(dtype)
    if (low, high) == (0, 1) and dtype in (np.float32, np.float64):
        return random.random(shape, dtype=dtype.type)
    if (low, high) == (0, 1):
        share: NDArray[Any] = random.random(shape, dtype=np.float32)
        if dtype == np.float16:  # in steps of 2**-11: rounded some would lie below its smallest normal, 2**-14
            share = np.floor(share * 2048) / 2048
        return np.asarray(share, dtype)
    weight = random.random(shape)
    drawn = np.asarray((1 - weight) * low + weight * high, dtype)
    normal = ml_dtypes.finfo(dtype).smallest_normal  # type: ignore[no-untyped-call]
    return np.where(np.abs(drawn) < normal, np.zeros((), dtype), drawn)


def digest(pool: Sequence[Mapping[str, NDArray[Any]]]) -> str:
    """SHA-256, in hex, of names, dtypes, shapes and bytes in their order: equal for equal inputs only."""
    total = hashlib.sha256()
    for index, arrays in enumerate(pool):
        for name, array in arrays.items():
            total.update(repr((index, name, array.dtype.name, array.shape)).encode())
            total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
