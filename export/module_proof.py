"""Write the graph that torch exported as a file, and prove that ONNX Runtime computes with it what torch did."""

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnxruntime
from onnx import ModelProto, load

from export import module_file
from export.first_difference import first_difference
from export.module_graph import Exported, from_torch
from export.module_parity import ModuleParityError, prove
from export.module_reference import INPUT_SEED, Inputs, Reference, Subject, Weights
from study import arithmetic
from study.difference import Limit
from study.entry import Entry
from study.environment import versions
from study.errors import StudyError, in_one_line
from study.files import sha256
from study.first_difference import Place
from study.modules.building import SEED, draw
from study.modules.outputs import array
from study.modules.words import ModuleInput, batches_of
from study.onnx_graph import dimensions
from study.onnx_inputs import BATCH
from study.ort_values import outputs_of_call, session_on_one_thread
from study.parity import Calls
from study.records.module import OutputParity

FOLDED = 2, 3
"""Batch sizes of the two calls that tell constants from what depends on the sizes."""
MADE_WITH = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime")
"""Packages whose version decides what is in the file."""


@dataclass(frozen=True)
class Proven:
    """A file that has been proven."""

    parity: tuple[OutputParity, ...]
    fixed: dict[str, int]
    portable: bool
    opset: int
    ir_version: int
    beside: module_file.Weights | None
    notes: tuple[str, ...]


def proven(subject: Subject, reference: Reference, weights: Weights, exported: list[Exported], folder: Path) -> Proven:
    """Write what torch's exporter gave as a file of `folder`, edited for every runtime if that is as right.

    Args:
        exported: one, which is taken out: with it the weights in torch's memory go.

    Raises:
        StudyError: ONNX Runtime does not run it, or computes something else.
    """
    entry, given = subject.entry, exported.pop()
    fixed = dict(given.fixed)
    onnx, beside = folder / "model.onnx", None
    if module_file.weight_bytes(given.model) >= module_file.LARGE:
        beside = module_file.put_beside(given.model, folder / "model.onnx.data", "model.onnx.data")
    model = module_file.serialised(given.model)
    del given
    gc.collect()
    if BATCH not in fixed and len(reference.expected) == 1 and any(BATCH in one.shape for one in subject.inputs):
        fixed[BATCH] = next(iter(reference.expected))
    _fix(model, subject.inputs, fixed)
    expected = dict(list(reference.expected.items())[: 1 if BATCH in fixed else None])
    calls = {batch: subject.draw(batch) for batch in expected}
    limit = _limit(subject, model)
    failed: StudyError | None = None
    for portable, graph in _graphs(model, _folding_runs(subject, fixed), folder):
        module_file.describe(graph, metadata(subject, weights))
        shapes = {value.name: dimensions(value.type) or () for value in graph.graph.output}
        opset, ir_version = graph.opset_import[0].version, graph.ir_version
        module_file.write(onnx, graph)
        del graph
        try:
            where = None if portable else partial(_where, subject, reference, list(shapes), onnx, limit)
            proof = prove(entry.name, shapes, expected, in_onnxruntime(onnx, calls), limit, where)
        except StudyError as error:
            failed = error
            continue
        if reference.elsewhere and fixed.keys().isdisjoint(subject.sizes):
            batch, several, outputs = reference.elsewhere
            try:
                prove(entry.name, shapes, {batch: outputs}, in_onnxruntime(onnx, {batch: several}), limit)
            except StudyError as error:
                if portable:
                    failed = error
                    continue
                # The exporter's graph is right at the sizes that were asked for alone.
                module_file.fix(onnx, subject.sizes)
                fixed |= subject.sizes
        return Proven(proof.outputs, fixed, portable, opset, ir_version, beside, proof.notes)
    assert failed is not None
    raise _explained(failed, entry, weights)


def _limit(subject: Subject, model: ModelProto) -> Limit:
    return arithmetic.limit(arithmetic.coarsest(model), subject.entry.tolerance)


def set_aside(folder: Path, error: StudyError) -> Path | None:
    """The file whose outputs differ under another name, for the search for the node; None where there is nothing."""
    if not isinstance(error, ModuleParityError) or error.call is None:
        return None
    return (folder / "model.onnx").rename(folder / "failed.onnx")


def located(
    error: StudyError, subject: Subject, reference: Reference, names: Sequence[str], onnx: Path | None
) -> StudyError:
    """The error with the node that begins to differ."""
    if onnx is None or not isinstance(error, ModuleParityError) or error.call is None:
        return error
    limit = _limit(subject, load(onnx, load_external_data=False))
    place = _where(subject, reference, names, onnx, limit, *error.call)
    return ModuleParityError(f"{error}; {place.sentence}")


def _where(
    subject: Subject, reference: Reference, names: Sequence[str], onnx: Path, limit: Limit, batch: int, call: int
) -> Place:
    """Where the file begins to differ from the graph that torch traces, which is made again."""
    is_free = len(reference.expected) > 1
    again = from_torch(subject.entry.name, subject.build(), subject.inputs, subject.sizes, names, is_free)
    given, expected = subject.draw(batch)[call], reference.expected[batch][call]
    return first_difference(again.traced, onnx, given, expected, limit, batch)


def _folding_runs(subject: Subject, fixed: Mapping[str, int]) -> module_file.Runs:
    """Inputs of two calls with other sizes of all free dimensions."""
    sizes = {name: subject.sizes[name] if name in fixed else size for name, size in subject.other_sizes.items()}
    batches = (1,) if BATCH in fixed else batches_of(subject.inputs, subject.sizes, FOLDED)
    one = draw(subject.inputs, subject.sizes, batches[0], INPUT_SEED, 1)[0]
    other = draw(subject.inputs, sizes, batches[-1], INPUT_SEED, 1)[0]
    return {name: array(value) for name, value in one.items()}, {name: array(value) for name, value in other.items()}


def _graphs(model: ModelProto, runs: module_file.Runs, folder: Path) -> Iterator[tuple[bool, ModelProto]]:
    """The graph edited for every runtime, and the exporter's own, should the other one not be right."""
    with contextlib.suppress(StudyError):
        edited = module_file.edited(model, runs, folder)
        yield True, edited
        del edited
    yield False, module_file.as_written(model)


def _fix(model: ModelProto, inputs: Sequence[ModuleInput], fixed: Mapping[str, int]) -> None:
    """Write the size of the fixed dimensions into the inputs of the graph."""
    for value, one in zip(model.graph.input, inputs, strict=True):
        for axis, size in enumerate(one.shape):
            if size in fixed:
                value.type.tensor_type.shape.dim[axis].dim_value = fixed[str(size)]


def _explained(error: StudyError, entry: Entry, weights: Weights) -> StudyError:
    others = sorted(str(one).removeprefix("torch.") for one in weights.dtypes if one.is_floating_point)
    if isinstance(error, ModuleParityError):
        return error
    remedy = f"; its weights are {' and '.join(others)}: convert it to float32" if set(others) - {"float32"} else ""
    return StudyError(f"{entry.name}: {error}{remedy}")


def in_words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def metadata(subject: Subject, weights: Weights) -> dict[str, str]:
    """The `metadata_props` of the ONNX file: no path, and nothing that differs between two exports of one module."""
    source = f"random, torch.manual_seed({SEED})" if weights.random else "of the callable"
    return {
        "model": subject.entry.name,
        "module": Path(subject.factory).name,
        "inputs": " ".join(map(str, subject.inputs)),
        "sizes": in_words(subject.sizes),
        "weights": f"sha256 {sha256(subject.weights)}" if subject.weights else source,
        "trainable_parameters": str(weights.parameters),
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items() if name in MADE_WITH),
    }


def in_onnxruntime(onnx: Path, calls: Mapping[int, Inputs]) -> dict[int, Calls]:
    """The outputs of each call of the file by batch size."""
    with in_one_line(f"ONNX Runtime {onnxruntime.__version__} does not run it"):
        session = session_on_one_thread(onnx)
        return {
            batch: [outputs_of_call(session, {name: array(one) for name, one in given.items()}) for given in several]
            for batch, several in calls.items()
        }
