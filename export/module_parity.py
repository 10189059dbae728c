"""Does ONNX Runtime compute what a torch module computes? Every output, over all seeded inputs and batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from study.difference import Difference, Limit
from study.errors import StudyError
from study.first_difference import Place
from study.onnx_graph import Dimensions
from study.parity import Calls, Output, differences
from study.records.module import OutputParity

Where = Callable[[int, int], Place]
"""Where the file begins to differ in a call, by its batch and its index."""
GIVE_VALUES = "give the inputs another range, such as --input x=float32[batch,3]:0..1"


class ModuleParityError(StudyError):
    """An output differs, or nothing of it could be compared."""

    call: tuple[int, int] | None = None
    """Batch and index of the call in which it differs."""


@dataclass(frozen=True)
class Proof:
    """The comparison of each output, and what a reader must know of it."""

    outputs: tuple[OutputParity, ...]
    notes: tuple[str, ...]


def prove(
    model: str,
    shapes: Mapping[str, Dimensions],
    expected: Mapping[int, Calls],
    found: Mapping[int, Calls],
    limit: Limit,
    where: Where | None = None,
) -> Proof:
    """Compare the outputs.

    Args:
        shapes: of each output, with the names of free dimensions, by name, in their order.
        expected: the module's outputs of each call, by batch size; `found` likewise those of the ONNX file.
        where: asked where decisions alone differ: on tied values they may.

    Raises:
        ModuleParityError: an output differs by more than its limit, unless it decides on tied values; or it has no
            finite value.
    """
    names = list(shapes)
    results: dict[str, list[Difference]] = {name: [] for name in names}
    tied: list[Difference] = []
    for batch, calls in expected.items():
        _same_types(model, names, batch, calls, found[batch])
        compared = differences(names, calls, found[batch], batch)
        faults = [one for one in compared if not one.holds(limit)]
        if faults:
            decisions = where is not None and all(one.kind == "decision" and not one.unlike for one in faults)
            if not (decisions and where and where(batch, faults[0].call).tied):
                more = f"; {len(faults) - 1} more outputs differ" if len(faults) > 1 else ""
                error = ModuleParityError(f"{model}, batch {batch}: {faults[0].sentence('torch', limit)}{more}")
                error.call = batch, faults[0].call
                raise error
            tied += faults
        for one in compared:
            results[one.name].append(one)
    for name, several in results.items():
        if all(one.nothing_compared for one in several):
            raise ModuleParityError(
                f"{model}: output {name!r} has no finite value for these inputs, in torch and in the file alike, so "
                f"nothing was compared; {GIVE_VALUES}"
            )
    types = [np.asarray(output).dtype.name for output in next(iter(expected.values()))[0]]
    outputs = tuple(
        _record(name, dtype, shapes[name], results[name], limit) for name, dtype in zip(names, types, strict=True)
    )
    notes = [note for one in outputs if (note := _not_finite(one))]
    notes += [
        f"output {name!r} is 0 throughout, in torch too, so its proof says little: the last layer's weights may be 0"
        for name, several in results.items()
        if all(one.zero_throughout for one in several)
    ]
    doubts = dict.fromkeys(doubt for several in results.values() for one in several if (doubt := one.doubt(limit)))
    notes += [doubt for doubt in doubts if " too small " in doubt]
    notes += [
        f"{one.differing} of {one.values} values of output {one.name!r} differ{_why(one, tied)}"
        for one in outputs
        if one.differing
    ]
    return Proof(outputs, tuple(notes))


def _why(one: OutputParity, tied: Sequence[Difference]) -> str:
    if any(each.name == one.name for each in tied):
        return ": it decides between values that are tied within the limit"
    return f", at most {one.limit_rel:.1g} of them may: close decisions fall either way"


def _not_finite(one: OutputParity) -> str:
    counts = {"NaN": one.nan, "infinite": one.infinite}
    shown = " and ".join(f"{count} are {word}" for word, count in counts.items() if count)
    return f"output {one.name!r}: of {one.values} values {shown} for these inputs; {GIVE_VALUES}" if shown else ""


def _same_types(model: str, names: Sequence[str], batch: int, expected: Calls, found: Calls) -> None:
    """Raise unless all outputs have the same shapes and types: unlike two engines, a file has to keep both."""
    for one, other in zip(expected, found, strict=True):
        for name, mine, theirs in zip(names, one, other, strict=True):
            shown = [_shown(each) for each in (mine, theirs)]
            if shown[0] != shown[1]:
                raise ModuleParityError(
                    f"{model}, batch {batch}: output {name!r} of the file is {shown[1]}, that of torch is {shown[0]}"
                )


def _shown(output: Output) -> str:
    array = np.asarray(output)
    return f"{array.dtype.name} {list(array.shape)}"


def _record(name: str, dtype: str, shape: Dimensions, several: Sequence[Difference], limit: Limit) -> OutputParity:
    values, differing = (sum(getattr(one, field) for one in several) for field in ("values", "differing"))
    parts = [part for one in several for part in one.parts or (one,)]
    absolute = max((part.largest for part in parts), default=0.0)
    relative = max((part.largest / part.scale for part in parts if part.scale), default=0.0)
    decides = any(one.kind == "decision" for one in several)
    if decides:
        absolute = relative = differing / max(values, 1)
    return OutputParity(
        name=name,
        dtype=dtype,
        shape=tuple("?" if size is None else size for size in shape),
        values=values,
        max_abs_difference=absolute,
        max_rel_difference=relative,
        limit_abs=0.0 if decides else limit.absolute,
        limit_rel=limit.relative,
        differing=differing if decides else 0,
        nan=sum(one.nan for one in several),
        infinite=sum(one.infinite for one in several),
    )
