"""The inputs of any ONNX model: names, types and shapes.

A dimension is fixed by the file, by the user's `--shape` or `--size`, or by fixed dimensions of the same name or of its
terms. The first dimension of an input is the batch, and so is every dimension of its name. The user has to give all
others.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from study.errors import StudyError
from study.onnx_given import BATCH as BATCH
from study.onnx_given import Given, Shapes, shape_word
from study.onnx_graph import Dimensions, dimensions

TOKENS, PIXELS, OTHER = 128, 224, 16
"""The sizes in the example of an error: of a sequence of tokens, of an image, of anything else."""


@dataclass(frozen=True)
class Input:
    """One input of a model. A dimension that is not fixed is its name, or None if it has none."""

    name: str
    dtype: np.dtype[Any]
    shape: Dimensions


def signature(graph: onnx.GraphProto, given: Given) -> tuple[Input, ...]:
    """The inputs that a user of the graph has to give: those without an initializer. Dimensions with a size are fixed.

    Raises:
        StudyError: there is none, or one that is no tensor, has neither a shape nor a given one, or no printable
            name of its own; or a size is given to a dimension that there is not.
    """
    initialized = {tensor.name for tensor in graph.initializer}
    initialized |= {sparse.values.name for sparse in graph.sparse_initializer}
    inputs: dict[str, Input] = {}
    named = set[str]()
    for value in graph.input:
        if value.name in initialized:
            continue
        kind, tensor = value.type.WhichOneof("value"), value.type.tensor_type
        if kind != "tensor_type":
            found = str(kind).removesuffix("_type")
            raise StudyError(f"expected inputs that are tensors, input {value.name!r} is: {found}")
        shape = dimensions(value.type)
        if shape is None and value.name not in given.shapes:
            example = shape_word(value.name, (1, OTHER))
            raise StudyError(f"input {value.name!r} has no shape: give it with --shape {example}, all its dimensions")
        if shape is None:
            shape = (None,) * len(given.shapes[value.name])
        words = [value.name, *(size for size in shape if isinstance(size, str))]
        if not value.name or value.name in inputs or not all(map(str.isprintable, words)):
            raise StudyError(f"expected inputs with printable names of their own, found {words!r}")
        named |= {word for size in shape if isinstance(size, str) for word in (size, *_terms(size))}
        shape = tuple(_sum(size, given.sizes) if isinstance(size, str) else size for size in shape)
        inputs[value.name] = Input(value.name, helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape)
    if not inputs:
        raise StudyError("expected a model with inputs, found one without")
    if unknown := [name for name in given.sizes if name not in named]:
        known = ", ".join(sorted(named)) or "none"
        raise StudyError(f"--size {unknown[0]}: no input has a dimension of that name; the named ones are: {known}")
    return tuple(inputs.values())


def batch_sizes(inputs: Sequence[Input], shapes: Shapes, wanted: Sequence[int]) -> list[int]:
    """The batch sizes that can be measured: those wanted, or the one that the file or `shapes` fixes.

    All that are wanted where some input's first dimension is fixed by neither; otherwise the first dimension of the
    first input that has dimensions, and 1 where all are scalars.

    Raises:
        StudyError: as `resolve`, or the batch is fixed at nothing.
    """
    resolved = [shape for shape in resolve(inputs, shapes).values() if shape]
    if any(not isinstance(shape[0], int) or BATCH in shape for shape in resolved):
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
            raise StudyError(f"the model has no input {name!r}; it has: {', '.join(map(repr, names))}")
    symbols: dict[str, int] = {}
    for value in inputs:
        given = shapes.get(value.name, ())
        if value.name in shapes and len(given) != len(value.shape):
            raise StudyError(
                f"shape {shape_word(value.name, given)}: expected {len(value.shape)} dimensions: {_shown(value)}"
            )
        for number, dimension in zip(given, value.shape, strict=False):
            known = symbols.setdefault(dimension, number) if isinstance(dimension, str) else dimension
            if known not in (None, number):
                raise StudyError(
                    f"shape {shape_word(value.name, given)}: expected {known} where it has {number}: {_shown(value)}"
                )
    if batch is not None:
        symbols.setdefault(BATCH, batch)
        for value in inputs:
            if value.shape and isinstance(value.shape[0], str):
                symbols.setdefault(value.shape[0], batch)
    unnamed = {shapes[value.name][0] for value in inputs if value.shape[:1] == (None,) and value.name in shapes}
    if len(unnamed) == 1:
        batch = unnamed.pop()
    resolved: dict[str, Dimensions] = {}
    for value in inputs:
        shape: Dimensions = shapes.get(value.name, value.shape)
        shape = tuple(_sum(size, symbols) if isinstance(size, str) else size for size in shape)
        resolved[value.name] = (batch, *shape[1:]) if shape and shape[0] is None else shape
    return resolved


def _sum(name: str, symbols: Mapping[str, int]) -> int | str:
    """The number that a name or a sum, such as "past_length + 1", stands for; the name if that is unknown."""
    words = _terms(name)
    terms = [int(word) if re.fullmatch("[0-9]{1,18}", word) else symbols.get(word) for word in words]
    known = [term for term in terms if term is not None]
    return symbols.get(name, sum(known) if len(known) == len(terms) > 1 else name)


def _terms(name: str) -> list[str]:
    return re.split(r"\s*\+\s*", name)


def concrete(inputs: Sequence[Input], shapes: Shapes, batch: int) -> dict[str, tuple[int, ...]]:
    """The shape of each input by its name at this batch size.

    Raises:
        StudyError: as `resolve`; a dimension other than the batch is not known; the model is fixed at another batch.
    """
    possible = batch_sizes(inputs, shapes, [batch])
    if batch not in possible:
        raise StudyError(f"expected the batch {possible[0]}, at which the inputs are fixed, found {batch}")
    fixed, options, lacking = dict(shapes), [], []
    for value in inputs:
        shape = resolve(inputs, fixed, batch)[value.name]
        fixed[value.name] = tuple(size if isinstance(size, int) else _example(value, size) for size in shape)
        if fixed[value.name] == shape:
            continue
        lacking.append(_shown(value))
        sizes = [(size, known) for size, known in zip(shape, fixed[value.name], strict=True) if size != known]
        if all(isinstance(size, str) and _terms(size) == [size] for size, _ in sizes):
            options += [f"--size {shlex.quote(f'{size}={known}')}" for size, known in sizes]
        else:
            options.append(f"--shape {shape_word(value.name, fixed[value.name])}")
    if lacking:
        pronoun = "it" if len(lacking) == 1 else "them"
        raise StudyError(f"{', '.join(lacking)}: give {pronoun} with {' '.join(dict.fromkeys(options))}")
    return {value.name: fixed[value.name] for value in inputs}


def _example(value: Input, dimension: str | None) -> int:
    """A size that is likely for a dimension that is not known."""
    if dimension is not None and re.search("past|cache", dimension, re.I) and "+" not in dimension:
        return 0  # a model of language before its first token
    if re.match("state|[hc]_?[0n]?$", value.name):
        return 1  # of a recurrent network: layers, batch, hidden
    if value.dtype in (np.int32, np.int64) or re.search("ids|mask|token", value.name, re.I):
        return TOKENS
    image = len(value.shape) == 4 and not {1, 3}.isdisjoint((value.shape[1], value.shape[3]))
    return PIXELS if image else OTHER


def _shown(value: Input) -> str:
    return f"input {value.name!r} has shape [{', '.join('?' if size is None else str(size) for size in value.shape)}]"
