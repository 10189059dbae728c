"""Inputs for any ONNX model: names, types, shapes, and random arrays that are the same for every engine.

A dimension is fixed by the file, by the user's `--shape`, or by a fixed dimension of the same name. The first dimension
of an input is the batch, and so is every dimension of its name. The user has to give all others.
"""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from study.errors import StudyError
from study.onnx_graph import Dimensions, dimensions

Shapes = Mapping[str, tuple[int, ...]]
"""The user's shapes by the input's name."""

MOST_BYTES = 4 * 2**30
"""Bytes of the largest pool of inputs: a typing mistake must not exhaust the memory."""


@dataclass(frozen=True)
class Input:
    """One input of a model. A dimension that is not fixed is its name, or None if it has none."""

    name: str
    dtype: np.dtype[Any]
    shape: Dimensions


def signature(graph: onnx.GraphProto, shapes: Shapes) -> tuple[Input, ...]:
    """The inputs that a user of the graph has to give: those without an initializer.

    Raises:
        StudyError: there is none, or one that is no tensor of numbers, has neither a shape nor one in `shapes`, or no
            printable name of its own.
    """
    initialized = {tensor.name for tensor in graph.initializer}
    inputs: dict[str, Input] = {}
    for value in graph.input:
        if value.name in initialized:
            continue
        kind, tensor = value.type.WhichOneof("value"), value.type.tensor_type
        if kind != "tensor_type" or tensor.elem_type == onnx.TensorProto.STRING:
            found = "a tensor of strings" if kind == "tensor_type" else str(kind).removesuffix("_type")
            raise StudyError(f"expected inputs that are tensors of numbers, input {value.name!r} is: {found}")
        shape = dimensions(value.type)
        if shape is None and value.name not in shapes:
            raise StudyError(f"input {value.name!r} has no shape: give it with --shape {value.name}=1,3,224,224")
        if shape is None:
            shape = (None,) * len(shapes[value.name])
        words = [value.name, *(size for size in shape if isinstance(size, str))]
        if not value.name or value.name in inputs or not all(map(str.isprintable, words)):
            raise StudyError(f"expected inputs with printable names of their own, found {words!r}")
        inputs[value.name] = Input(value.name, helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape)
    if not inputs:
        raise StudyError("expected a model with inputs, found one without")
    return tuple(inputs.values())


def parse_shapes(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by name from words such as `image=1,3,224,224`; `step=` is a scalar, `a=b=1` is called `a=b`.

    Raises:
        StudyError: a word has another syntax, or a name comes twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for word in words:
        name, _, numbers = word.rpartition("=")
        parts = numbers.split(",") if numbers else []
        if not name or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
            raise StudyError(f"--shape: expected name=1,3,224,224 (name= for a scalar), found {word!r}")
        if name in shapes:
            raise StudyError(f"--shape: expected one shape for each input, found {word!r} as another for {name!r}")
        shapes[name] = tuple(map(int, parts))
    return shapes


def batch_sizes(inputs: Sequence[Input], shapes: Shapes, wanted: Sequence[int]) -> list[int]:
    """The batch sizes that can be measured: those wanted, or the one that the file or `shapes` fixes.

    All that are wanted where some input's first dimension is fixed by neither; otherwise the first dimension of the
    first input that has dimensions, and 1 where all are scalars.

    Raises:
        StudyError: as `resolve`, or the batch is fixed at nothing.
    """
    resolved = [shape for shape in resolve(inputs, shapes).values() if shape]
    if any(not isinstance(shape[0], int) for shape in resolved):
        return list(wanted)
    first = resolved[0][0] if resolved else 1
    if not isinstance(first, int) or first < 1:
        raise StudyError(f"expected a batch of one or more, found inputs {', '.join(map(_shown, inputs))}")
    return [first]


def resolve(inputs: Sequence[Input], shapes: Shapes, batch: int | None = None) -> dict[str, Dimensions]:
    """The shape of each input by its name, as far as the file, `shapes` and (unless None) `batch` fix it.

    Raises:
        StudyError: `shapes` names what is no input, contradicts the file or itself, or has another rank.
    """
    names = [value.name for value in inputs]
    for name in shapes:
        if name not in names:
            raise StudyError(f"--shape: the model has no input {name!r}; it has: {', '.join(map(repr, names))}")
    symbols: dict[str, int] = {}
    for value in inputs:
        given = shapes.get(value.name, ())
        if value.name in shapes and len(given) != len(value.shape):
            raise StudyError(
                f"--shape {_word(value.name, given)}: expected {len(value.shape)} dimensions: {_shown(value)}"
            )
        for number, dimension in zip(given, value.shape, strict=False):
            known = symbols.setdefault(dimension, number) if isinstance(dimension, str) else dimension
            if known not in (None, number):
                raise StudyError(
                    f"--shape {_word(value.name, given)}: expected {known} where it has {number}: {_shown(value)}"
                )
    if batch is not None:
        for value in inputs:
            if value.shape and isinstance(value.shape[0], str):
                symbols.setdefault(value.shape[0], batch)
    resolved: dict[str, Dimensions] = {}
    for value in inputs:
        shape: Dimensions = shapes.get(value.name, value.shape)
        shape = tuple(symbols.get(size, size) if isinstance(size, str) else size for size in shape)
        resolved[value.name] = (batch, *shape[1:]) if shape and shape[0] is None else shape
    return resolved


def concrete(inputs: Sequence[Input], shapes: Shapes, batch: int) -> dict[str, tuple[int, ...]]:
    """The shape of each input by its name at this batch size.

    Raises:
        StudyError: as `resolve`; a dimension other than the batch is not known; the model is fixed at another batch.
    """
    possible = batch_sizes(inputs, shapes, [batch])
    if batch not in possible:
        raise StudyError(f"expected the batch {possible[0]}, at which the inputs are fixed, found {batch}")
    fixed: dict[str, tuple[int, ...]] = {}
    for value, shape in zip(inputs, resolve(inputs, shapes, batch).values(), strict=True):
        numbers = tuple(size for size in shape if isinstance(size, int))
        if len(numbers) < len(shape):
            example = tuple(size if isinstance(size, int) else 224 for size in shape)
            raise StudyError(f"{_shown(value)}: give it with --shape {_word(value.name, example)}")
        fixed[value.name] = numbers
    return fixed


def generate(
    inputs: Sequence[Input], shapes: Shapes, batch: int, seed: int, count: int
) -> list[dict[str, NDArray[Any]]]:
    """`count` inputs drawn from `seed` alone: arrays by name, C-contiguous, of the model's dtypes and concrete shapes.

    Floating point (float16, float32, float64, bfloat16) is uniform in 0..1 and never subnormal, which would be slow for
    a reason of its own; uint8 and int8 take all their values; other integers are 0 or 1, since those are valid as token
    ids, masks and indices; bool is either.

    Raises:
        StudyError: as `concrete`; a dtype is none of these; the arrays would take more than `MOST_BYTES`.
    """
    sizes = concrete(inputs, shapes, batch)
    needed = count * sum(value.dtype.itemsize * prod(sizes[value.name]) for value in inputs)
    if needed > MOST_BYTES:
        raise StudyError(f"expected inputs of at most {MOST_BYTES} bytes, found {needed}: {count} of {sizes}")
    random = np.random.default_rng(seed)
    return [{value.name: _draw(random, value, sizes[value.name]) for value in inputs} for _ in range(count)]


def _draw(random: np.random.Generator, value: Input, shape: tuple[int, ...]) -> NDArray[Any]:
    dtype = value.dtype
    if dtype in (np.float32, np.float64):
        return random.random(shape, dtype=dtype.type)
    if dtype == np.float16:  # in steps of 2**-11: rounded from float32 some would lie below its smallest normal, 2**-14
        return np.asarray(np.floor(random.random(shape, dtype=np.float32) * 2048) / 2048, dtype)
    if dtype.name == "bfloat16":
        return random.random(shape, dtype=np.float32).astype(dtype)
    if dtype in (np.uint8, np.int8):
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype=dtype.type, endpoint=True)
    if dtype.kind in "iu":
        return random.integers(0, 2, shape, dtype=dtype.type)
    if dtype.kind == "b":
        return random.integers(0, 2, shape, dtype=np.uint8).astype(dtype)
    raise StudyError(f"{_shown(value)} and dtype {dtype.name}: expected floats of 16 bits or more, integers or bool")


def digest(pool: Sequence[Mapping[str, NDArray[Any]]]) -> str:
    """SHA-256, in hex, of names, dtypes, shapes and bytes in their order: equal for equal inputs only."""
    total = hashlib.sha256()
    for index, arrays in enumerate(pool):
        for name, array in arrays.items():
            total.update(repr((index, name, array.dtype.name, array.shape)).encode())
            total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _word(name: str, shape: Sequence[int]) -> str:
    return shlex.quote(f"{name}={','.join(map(str, shape))}")


def _shown(value: Input) -> str:
    return f"input {value.name!r} has shape [{', '.join('?' if size is None else str(size) for size in value.shape)}]"
