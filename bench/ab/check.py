"""Before A and B are timed: do they take the same inputs, and do they compute the same?"""

from collections.abc import Sequence
from pathlib import Path

from bench.ab.process import Process
from bench.ab.protocol import Compute, Computed
from bench.ab.sides import Side
from bench.arrays import load_outputs, save_inputs
from bench.parity import limit
from study.difference import Limit
from study.errors import StudyError
from study.onnx_inputs import concrete
from study.parity import Calls, differences, held
from study.records.ab import Outputs
from study.records.base import Parity

Sides = tuple[Side, Side]


def batch_sizes(sides: Sides, wanted: Sequence[int]) -> list[int]:
    """The batch sizes at which both can be measured: those wanted, or the one that a file fixes.

    Raises:
        StudyError: the files are fixed at different ones, or leave another dimension open.
    """
    a, b = (side.model for side in sides)
    sizes = b.batch_sizes(a.batch_sizes(wanted))
    if a.batch_sizes(sizes) != sizes:
        raise StudyError(f"A is fixed at batch {a.batch_sizes(wanted)[0]}, B at batch {sizes[0]}")
    return sizes


def write_inputs(sides: Sides, batch: int, folder: Path) -> tuple[Path, Path]:
    """Write the inputs of A and of B, which are the same arrays: B may have other names for them.

    Raises:
        StudyError: they take unlike inputs.
    """
    taken = [_taken(side, batch) for side in sides]
    names = [list(one) for one in taken]
    if set(names[0]) == set(names[1]):  # otherwise their order decides
        names[1] = names[0]
    if [taken[0][name] for name in names[0]] != [taken[1][name] for name in names[1]]:
        shown = [", ".join(f"{name} {kind}" for name, kind in one.items()) for one in taken]
        raise StudyError(f"expected sides that take the same inputs, found A with {shown[0]}, B with {shown[1]}")
    pool = sides[0].model.pool(batch)
    files = folder / f"a-{batch}.npz", folder / f"b-{batch}.npz"
    for file, own in zip(files, names, strict=True):
        save_inputs(file, [dict(zip(own, (given[name] for name in names[0]), strict=True)) for given in pool])
    return files


def _taken(side: Side, batch: int) -> dict[str, str]:
    """Type and shape of each input, by its name."""
    inputs = side.model.facts.inputs
    shapes = concrete(inputs, side.model.given.shapes, batch)
    return {one.name: f"{one.dtype.name} {list(shapes[one.name])}" for one in inputs}


def outputs(pair: Sequence[Process], batch: int, folder: Path, seconds: float) -> Outputs:
    """Compare the outputs of both for the pool, as far as both compute it in `seconds`.

    Raises:
        StudyError: a side does not run its model.
    """
    found = [_computed(process, folder / f"outputs-{process.side.name}.npz", seconds) for process in pair]
    sides = [process.side for process in pair]
    calls = min(map(len, found))
    a, b = (each[:calls] for each in found)
    names = sides[0].model.facts.outputs
    if len(a[0]) != len(b[0]):
        return Outputs(parity=None, differences=(f"A has {len(a[0])} outputs, B {len(b[0])}",))
    results = differences(names, a, b, batch)
    allowed = coarser(*(limit(side.case(batch)) for side in sides))
    items = frozenset[tuple[int, int]]().union(*(one.items for one in results))
    parity = Parity(
        images=calls * batch,
        max_abs_difference=max((one.largest for one in results if one.kind != "decision"), default=0.0),
        argmax_mismatches=len(items),
        against="A",
    )
    unlike = any(one.unlike for one in results)
    faults = tuple(one.sentence("A", allowed) for one in results if not one.holds(allowed))
    return Outputs(parity=None if unlike else parity, differences=faults)


def coarser(a: Limit, b: Limit) -> Limit:
    """The limit of the coarser arithmetic of two."""
    return max(a, b, key=lambda one: (one.relative, one.absolute))


def _computed(process: Process, file: Path, seconds: float) -> Calls:
    structure = process.ask(Compute(str(file), seconds), Computed).structure
    types = process.side.model.facts.output_types
    calls = load_outputs(file, structure)
    kinds = types if all(len(outputs) == len(types) for outputs in calls) else [None] * len(calls[0])
    return [[held(value, kind) for value, kind in zip(outputs, kinds, strict=True)] for outputs in calls]
