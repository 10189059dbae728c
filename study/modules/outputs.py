"""The tensors that a module of the user returns, with their names, and arrays that share their memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.errors import StudyError

CACHES = ("past_key_values", "cache_params", "mems")
"""Outputs in which transformers keeps what a next call may use; they are left out, and so is any object of a class
called ...Cache."""


def flat(outputs: Any) -> list[tuple[str, Tensor]]:
    """The tensors of what a module returns, each with its name, in their order.

    A tensor is called "output"; of a tuple or list "output_0" and so on; of a dictionary, dataclass or named tuple by
    its key, and inside of it "key_0" or "key.inner". What is None is left out, as torch's exporter does, and what
    `left_out` names.

    Raises:
        StudyError: there is something else in it, or a tensor that ONNX does not have.
    """
    named = list(_flat(outputs, "output"))
    if not named:
        raise StudyError("expected a module that returns tensors, found one that returns none")
    return named


def left_out(outputs: Any) -> list[str]:
    """The names of the caches at the top of what a module returns, which `flat` leaves out."""
    return [name for name, value in _items(outputs) if _is_cache(name, value)]


def _is_cache(name: str, value: Any) -> bool:
    return value is not None and (name in CACHES or type(value).__name__.endswith("Cache"))


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), one) for key, one in value.items()]
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    return ()


def _flat(value: Any, name: str, top: bool = True) -> Iterator[tuple[str, Tensor]]:
    if value is None:
        return
    if isinstance(value, Tensor):
        yield name, _plain(value, name)
    elif items := _items(value):
        for key, one in items:
            if not (top and _is_cache(key, one)):
                yield from _flat(one, key if top else f"{name}.{key}", top=False)
    elif isinstance(value, tuple | list):
        for index, one in enumerate(value):
            yield from _flat(one, f"{name}_{index}", top=False)
    elif not isinstance(value, Mapping):
        raise StudyError(
            f"output {name!r} of the module: expected tensors, found {type(value).__name__}; return tensors alone"
        )


def _plain(value: Tensor, name: str) -> Tensor:
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise StudyError(f"output {name!r} of the module: expected a dense tensor, found a {value.layout} one")
    if value.is_complex():
        raise StudyError(
            f"output {name!r} of the module is complex, which ONNX is not; return torch.view_as_real of it"
        )
    return value


def unique_names(names: Sequence[str], taken: Iterable[str]) -> list[str]:
    """The names of outputs in a file whose inputs have taken some: with "_out" and a number where one is taken."""
    known = set(taken)
    result = []
    for name in names:
        one, number = name, 1
        if name in known:
            one = f"{name}_out"
        while one in known:
            number += 1
            one = f"{name}_out{number}"
        known.add(one)
        result.append(one)
    return result


def tensor(values: NDArray[Any]) -> Tensor:
    """The tensor that shares the memory of an array, of bfloat16 too."""
    if values.dtype.kind == "V" and values.dtype.name == "bfloat16":  # the name takes as long as all the rest
        return torch.from_numpy(values.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def array(values: Tensor) -> NDArray[Any]:
    """The array that shares the memory of a tensor on the CPU, of bfloat16 too."""
    if values.requires_grad:  # each step only where it is needed: the bench times this in its mode numpy
        values = values.detach()
    if values.is_conj() or values.is_neg():
        values = values.resolve_conj().resolve_neg()
    if values.dtype == torch.bfloat16:
        import ml_dtypes

        bits: NDArray[Any] = values.contiguous().view(torch.uint16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    return values.numpy()
