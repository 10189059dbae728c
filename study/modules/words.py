"""The inputs of a torch module in words: `image=float32[batch,3,224,224]`, `ids=int64[batch,sequence]:0..30521`.

A dimension is a number or a name. The one called `batch` is the number of items of a call; each other name has a size,
`sequence=128`, and all stay free in the ONNX file. No torch here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from study import onnx_given
from study.errors import StudyError
from study.onnx_given import Given
from study.onnx_graph import Dimensions
from study.onnx_inputs import BATCH, Input

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
WORD = re.compile(r"(?P<name>[^=\[\]]+)=(?P<dtype>[a-z0-9]+)\[(?P<shape>[^\[\]]*)\](?::(?P<values>.+))?")
NUMBER, NAME = re.compile("[1-9][0-9]{0,8}"), re.compile("[A-Za-z_][A-Za-z0-9_]*")
EXAMPLE = "image=float32[batch,3,224,224] or ids=int64[batch,sequence]:0..30521"


@dataclass(frozen=True)
class ModuleInput:
    """One input of a module."""

    name: str
    """Its name in the ONNX file; that of a parameter of `forward`, or else the inputs are given by position."""
    dtype: str
    """One of DTYPES."""
    shape: Dimensions
    """Each dimension a number or a name; () is a scalar."""
    values: str | None = None
    """A value or a range, such as "0..30521"; None: as `study.onnx_values.drawn_from` chooses them."""

    def __str__(self) -> str:
        values = f":{self.values}" if self.values else ""
        return f"{self.name}={self.dtype}[{','.join(map(str, self.shape))}]{values}"


def parse_inputs(words: Sequence[str]) -> tuple[ModuleInput, ...]:
    """The inputs in their order.

    Raises:
        StudyError: there is none, a word has another syntax, or a name comes twice.
    """
    if not words:
        raise StudyError(f"--input: expected a word for each input of the module, such as {EXAMPLE}, found none")
    inputs = tuple(map(_parse, words))
    names = [one.name for one in inputs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise StudyError(f"--input: expected one word for each input, found several for {twice!r}")
    return inputs


def _parse(word: str) -> ModuleInput:
    found = WORD.fullmatch(word)
    parts = [part.strip() for part in found["shape"].split(",")] if found and found["shape"].strip() else []
    if not found or not all(NUMBER.fullmatch(part) or NAME.fullmatch(part) for part in parts):
        raise StudyError(f"--input: expected {EXAMPLE}, found {word!r}")
    if found["dtype"] not in DTYPES:
        raise StudyError(f"--input {word}: expected one of {', '.join(DTYPES)}, found {found['dtype']!r}")
    shape = tuple(int(part) if part.isdecimal() else part for part in parts)
    return ModuleInput(found["name"], found["dtype"], shape, found["values"])


def parse_sizes(words: Sequence[str]) -> dict[str, int]:
    """Sizes of named dimensions, from words such as `sequence=128`.

    Raises:
        StudyError: a word has another syntax, a name comes twice, or is that of the batch.
    """
    for word in words:
        name, _, number = word.partition("=")
        if not NAME.fullmatch(name) or not NUMBER.fullmatch(number):  # an ONNX file's may have any name, and be 0
            raise StudyError(f"--size: expected name=128, found {word!r}")
    return onnx_given.parse_sizes(words)


def parse_arguments(text: str) -> list[Any] | dict[str, Any]:
    """The arguments of a callable from JSON; {} for none.

    Raises:
        StudyError: it is no JSON, or neither a list nor an object.
    """
    try:
        given = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise StudyError(
            f"--module-args: expected a list or an object in JSON, found {text[:60]!r} ({error})"
        ) from None
    if not isinstance(given, list | dict):
        raise StudyError(f"--module-args: expected a list or an object in JSON, found {text[:60]!r}")
    return given


def same_arguments(text: str) -> str:
    """The arguments in one spelling, which is equal where the call is; "" for none."""
    given = parse_arguments(text)
    return json.dumps(given, sort_keys=True) if given else ""


def batches_of(inputs: Sequence[ModuleInput], sizes: Mapping[str, int], wanted: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes of `wanted`; that of the inputs alone where none of their dimensions is the batch."""
    from study.onnx_inputs import batch_sizes

    if any(BATCH in one.shape for one in inputs):
        return tuple(wanted)
    return tuple(batch_sizes(as_onnx(inputs, sizes)[0], {}, wanted))


def checked_sizes(inputs: Sequence[ModuleInput], sizes: Mapping[str, int]) -> None:
    """Check that every named dimension but the batch has a size, and every size a dimension.

    Raises:
        StudyError: that is not so; the message gives the option to add.
    """
    names = dict.fromkeys(size for one in inputs for size in one.shape if isinstance(size, str) and size != BATCH)
    if missing := [name for name in names if name not in sizes]:
        raise StudyError(f"dimension {', '.join(missing)} has no size: add --size {missing[0]}=128")
    if unknown := [name for name in sizes if name not in names]:
        known = ", ".join(names) or "none but the batch"
        raise StudyError(f"--size {unknown[0]}: no input has such a dimension; the named ones are: {known}")


def as_onnx(inputs: Sequence[ModuleInput], sizes: Mapping[str, int]) -> tuple[tuple[Input, ...], Given]:
    """The same inputs as those of an ONNX file, whose dimensions but the batch are known, and the values for them."""
    values = {one.name: one.values for one in inputs if one.values}
    return tuple(
        Input(one.name, _dtype(one.dtype), tuple(sizes.get(str(size), size) for size in one.shape)) for one in inputs
    ), Given(values=values)


def _dtype(name: str) -> np.dtype[np.generic]:
    import ml_dtypes

    known: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    return known
