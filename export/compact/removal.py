"""Remove units that decide nothing from a network, which then computes the same with smaller matrices.

A unit of a fully-connected layer, or a channel of a convolution, is dead if all weights that lead to it are zero, since
it then gives out a constant, which is added to the biases of the layers behind it; or if all weights that lead away
from it are zero, since nothing depends on it; but not if it may be Inf or NaN, which a weight of zero makes NaN.
Removing it may leave others without a weight, so this is repeated until nothing changes. A unit whose weights are all
zero stays where its constant cannot be added: before a convolution that pads its input, or an average that counts
zeros beyond the border, unless the constant is 0 there.
A weight that several nodes share is cut alike for all of them, or for none (export/compact/shared.py).
"""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, shape_inference

from export.compact.graph import Graph, drop_unused, uses
from export.compact.layers import Layer, add_to_bias, can_add, keep_inputs, keep_outputs, layer_of
from export.compact.paths import BlockedError, Path, constants, follow
from export.compact.shared import settle, shared, stored
from study.errors import StudyError
from study.onnx_graph import dimensions
from study.records.compact import RemovedUnits
from study.variants import Variant


class NothingError(StudyError):
    """There is nothing to remove, or to store sparsely."""


Mask = NDArray[np.bool_]


@dataclass
class _Count:
    """Units of one layer."""

    before: int
    constant: int = 0
    unused: int = 0


def remove_dead_units(model: ModelProto) -> tuple[RemovedUnits, ...]:
    """Remove the dead units from the main graph of `model`, in place.

    Returns:
        The number of units of each layer whose units could be followed to the layers behind it, in the order of the
        nodes; also of those that had no dead one.

    Raises:
        NothingError: the dead units are those of weights that other nodes share.
        StudyError: ONNX Runtime does not compute an activation.
    """
    whole: set[str] = set()
    with np.errstate(all="ignore"):  # weights may be Inf; what follows from them is compared afterwards
        while True:
            several, before, old = shared(Graph(model)), uses(model), _stored(model)
            original = model.SerializeToString() if any(one.is_weight for one in several) else b""
            counts = _cut_all(model, whole)
            if not any(one.constant or one.unused for one in counts.values()):
                if whole:
                    raise NothingError(
                        f"nothing to remove: the dead units are those of {', '.join(sorted(whole))}, which other "
                        "nodes share and need whole"
                    )
                break
            if apart := settle(Graph(model), several) - whole:
                whole |= apart
                model.ParseFromString(original)
                continue
            drop_unused(model, before + Counter(_stored(model) - old))
            break
    graph = Graph(model)
    names = {_key(node): layer.name for node in graph.nodes if (layer := layer_of(graph, node))}
    return tuple(
        RemovedUnits(
            layer=names.get(key, key),
            before=one.before,
            after=one.before - one.constant - one.unused,
            constant=one.constant,
            unused=one.unused,
        )
        for key, one in counts.items()
    )


def _stored(model: ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _cut_all(model: ModelProto, whole: Container[str]) -> dict[str, _Count]:
    """Cut until nothing changes, but leave the stored weights in `whole` as they are; the units of each layer."""
    shapes = _shapes(model)
    counts: dict[str, _Count] = {}
    graph = Graph(model)
    again = True
    while again:
        again = False
        for node in list(model.graph.node):
            path = _path(graph, node, shapes)
            if path is None or any(stored(graph, one.node.input[1]) in whole for one in (path.layer, *path.ends)):
                continue
            if _cut(model, graph, path, counts.setdefault(_key(node), _Count(path.units))):
                _forget_shapes(model, {name for one in (node, *path.nodes) for name in one.output})
                graph, shapes, again = Graph(model), _shapes(model), True
    return counts


def _forget_shapes(model: ModelProto, names: set[str]) -> None:
    """Drop what the file declares of values whose shapes have changed."""
    kept = [value for value in model.graph.value_info if value.name not in names]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)


def _key(node: NodeProto) -> str:
    """What stays the same of a node when an Add is put behind it: its name, or the tensor that it gives out."""
    return node.name or node.output[0]


def _shapes(model: ModelProto) -> Mapping[str, tuple[int | None, ...]]:
    with suppress(Exception):  # onnx raises exceptions of several types, and some models are too large for it
        model = shape_inference.infer_shapes(model)
    values = (*model.graph.input, *model.graph.value_info)
    known = {value.name: dimensions(value.type) for value in values if value.type.HasField("tensor_type")}
    return {
        name: tuple(size if isinstance(size, int) else None for size in shape)
        for name, shape in known.items()
        if shape is not None
    }


def _path(graph: Graph, node: NodeProto, shapes: Mapping[str, tuple[int | None, ...]]) -> Path | None:
    layer = layer_of(graph, node)
    if layer is None:
        return None
    try:
        return follow(graph, layer, shapes)
    except BlockedError:
        return None


def _cut(model: ModelProto, graph: Graph, path: Path, count: _Count) -> bool:
    """Remove the dead units of one layer; whether there were any."""
    layer, units = path.layer, path.units
    outgoing = [_outgoing(end, units) for end in path.ends]
    needed = [weights.any(axis=(0, *range(2, weights.ndim))) for weights in outgoing]
    unneeded: Mask = ~np.logical_or.reduce(needed)
    unused = unneeded & path.finite & _finite(layer)
    silent: Mask = np.array([not row.any() for row in layer.weight])
    values: list[NDArray[Any]] = []
    if (silent & ~unused).any():
        values, everywhere = constants(model, path, graph)
        silent &= everywhere
        for end, value in zip(path.ends, values, strict=True):
            movable = can_add(graph, end) and not (end.is_conv and end.padded)
            silent &= (value == 0) | (np.isfinite(value) & (movable | unneeded))
    else:
        silent = np.zeros(units, np.bool_)
    dead = unused | silent
    if dead.all():
        dead[0] = False  # a layer of no units is more than some runtimes take
    if not dead.any():
        return False
    folded = dead & silent & ~unused
    offsets = [
        (weights[:, folded].astype(np.float64).reshape(len(weights), int(folded.sum()), -1).sum(2))
        @ value[folded].astype(np.float64)
        for weights, value in zip(outgoing, values if folded.any() else (), strict=False)
    ]
    kept = ~dead
    for end, weights in zip(path.ends, outgoing, strict=True):
        keep_inputs(graph, end, np.repeat(kept, end.weight.shape[1] // weights.shape[1]))
    for node, position, axis in path.sliced:
        each = graph.constant(node.input[position])
        assert each is not None
        graph.replace(node, position, np.compress(kept, each, axis=axis))
    for node in path.shapes:
        target = np.array(graph.constant(node.input[1]))
        target[1] = target[1] // units * int(kept.sum())
        graph.replace(node, 1, target)
    keep_outputs(graph, layer, kept)
    for end, offset in zip(path.ends, offsets, strict=False):
        if offset.any():
            add_to_bias(model, graph, end, offset)
    count.constant += int(folded.sum())
    count.unused += int((dead & ~folded).sum())
    return True


def _finite(layer: Layer) -> Mask:
    """Whether all weights that lead to a unit, and its bias, are finite: (out,)."""
    finite: Mask = np.array([np.isfinite(row).all() for row in layer.weight])
    if layer.bias is None:
        return finite
    biases: Mask = np.isfinite(layer.bias)
    return finite & biases


def _outgoing(end: Layer, units: int) -> NDArray[Any]:
    """The weights of a layer behind, by the unit that they are for: (out, units, ...)."""
    weight = end.weight
    return weight if end.is_conv else weight.reshape(len(weight), units, -1)


def describe(removed: tuple[RemovedUnits, ...]) -> str:
    """The result in words: "fc1 120 -> 87 units (30 constant, 3 unused), fc2 84 -> 84"."""
    return ", ".join(
        f"{one.layer} {one.before} -> {one.after} units"
        + (f" ({one.constant} constant, {one.unused} unused)" if one.before > one.after else "")
        for one in removed
    )


def refuse_nothing(removed: tuple[RemovedUnits, ...]) -> None:
    """
    Raises:
        NothingError: no unit was removed.
    """
    if not any(one.before > one.after for one in removed):
        reason = (
            f"none of {sum(one.before for one in removed)} units between two layers is dead"
            if removed
            else "no layer leads to another"
        )
        raise NothingError(f"nothing to remove: {reason}")


def refuse_larger(before: int, after: int) -> None:
    """
    Args:
        before: bytes of the original; `after` those of the new file.

    Raises:
        NothingError: it is no smaller, as where constants were added that need more bytes than the units had.
    """
    if after >= before:
        raise NothingError(f"nothing gained: the new file would have {after:,} bytes, the original has {before:,}")


@contextmanager
def noted(nothing: list[str]) -> Iterator[None]:
    """Add the reason to `nothing` instead of raising `NothingError`."""
    try:
        yield
    except NothingError as error:
        nothing.append(str(error))


def refuse_useless(variant: Variant, nothing: Sequence[str]) -> None:
    """
    Args:
        nothing: why a part of what was asked for does not apply, for each such part.

    Raises:
        NothingError: no part of it applies.
    """
    asked = (variant.remove_dead, variant.sparse, variant.int8 is not None)
    if nothing and len(nothing) == sum(asked):
        raise NothingError("; ".join(nothing))
