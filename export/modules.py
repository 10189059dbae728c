"""Export any torch module to ONNX, and prove that both compute the same."""

import contextlib
import ctypes
import gc
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, load

from export import module_file
from export.first_difference import first_difference
from export.module_card import write_card
from export.module_graph import Exported, from_torch
from export.module_parity import ModuleParityError, prove
from export.module_reference import INPUT_SEED, Inputs, Reference, Subject, Weights, in_torch, subject_of
from study import arithmetic
from study.entry import Entry
from study.environment import environment, versions
from study.errors import StudyError, in_one_line
from study.files import sha256
from study.first_difference import Place
from study.modules.building import SEED, draw
from study.modules.files import ModuleFiles
from study.modules.finding import import_folder, packages, sources
from study.modules.outputs import array, unique_names
from study.modules.words import ModuleInput, batches_of
from study.onnx_graph import dimensions
from study.onnx_inputs import BATCH
from study.parity import Calls, Limit
from study.record_files import write_record
from study.records.module import ModuleRecord, OutputParity

FOLDED = 2, 3
"""Batch sizes of the two calls that tell constants from what depends on the sizes."""
SHOWN = 3
"""Names of random weights that a note shows."""
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


def export_module(entry: Entry, files: ModuleFiles) -> ModuleRecord:
    """Write the ONNX file of a module, its record and its card; nothing is written unless the proof holds.

    The outputs of torch are computed first, and the module is given up before another engine loads the weights.

    Raises:
        StudyError: the module cannot be built, called or exported, or its inputs are not as described.
        ModuleParityError: ONNX Runtime computes something else.
    """
    subject = subject_of(entry)
    built = subject.build()
    weights = Weights.of(subject, built.network)
    reference = in_torch(subject, built)
    by_position = built.by_position
    files_of_it = sources(subject.factory)
    packages_of_it = packages(subject.factory, {type(one).__module__ for one in built.network.modules()})
    names = unique_names(reference.names, [one.name for one in subject.inputs])
    batch_is_free = len(reference.expected) > 1
    with _new_folder(files) as place:
        exported = [from_torch(entry.name, built, subject.inputs, subject.sizes, names, batch_is_free)]
        del built  # the graph alone has the weights now
        try:
            proven = _proven(subject, reference, weights, exported, place)
        except StudyError as error:
            failed = _set_aside(place, error)
            if not batch_is_free:
                raise _located(error, subject, reference, names, failed) from None
            try:  # the graph may be right for the batch of its example alone
                again = subject.build()
                exported = [from_torch(entry.name, again, subject.inputs, subject.sizes, names, batch_is_free=False)]
                del again
                proven = _proven(subject, reference, weights, exported, place)
            except StudyError:
                raise _located(error, subject, reference, names, failed) from None
        onnx, data = place / files.onnx.name, place / files.data.name
        record = ModuleRecord(
            name=entry.name,
            factory=subject.factory,
            import_folder=import_folder(subject.factory),
            arguments=entry.arguments,
            inputs=tuple(map(str, subject.inputs)),
            sizes=subject.sizes,
            fixed=proven.fixed,
            by_position=by_position,
            weights=str(subject.weights) if subject.weights else None,
            weights_sha256=sha256(subject.weights) if subject.weights else None,
            seed=None if subject.weights else SEED,
            random=weights.random,
            sources=files_of_it,
            packages=packages_of_it,
            tolerance=entry.tolerance,
            parameters=weights.parameters,
            weight_bytes=weights.bytes,
            onnx_sha256=sha256(onnx),
            data_sha256=proven.beside.sha256 if proven.beside else None,
            bytes=onnx.stat().st_size + (proven.beside.bytes if proven.beside else 0),
            portable=proven.portable,
            opset=proven.opset,
            ir_version=proven.ir_version,
            batches=tuple(reference.expected)[: 1 if BATCH in proven.fixed else None],
            input_seed=INPUT_SEED,
            parity=proven.parity,
            notes=tuple(_notes(subject, weights, reference, proven)),
            environment=environment(),
        )
        if proven.beside:
            data.replace(files.data)
        onnx.replace(files.onnx)
    if not proven.beside:
        files.data.unlink(missing_ok=True)
    write_record(files.record, record)
    write_card(files, record)
    return record


def _proven(subject: Subject, reference: Reference, weights: Weights, exported: list[Exported], folder: Path) -> Proven:
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


def _set_aside(folder: Path, error: StudyError) -> Path | None:
    """The file whose outputs differ under another name, for the search for the node; None where there is nothing."""
    if not isinstance(error, ModuleParityError) or error.call is None:
        return None
    return (folder / "model.onnx").rename(folder / "failed.onnx")


def _located(
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


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _notes(subject: Subject, weights: Weights, reference: Reference, proven: Proven) -> Iterator[str]:
    """What a reader must know first."""
    random = weights.random
    if random:
        more = f" and {len(random) - SHOWN} more" if len(random) > SHOWN else ""
        yield f"random weights, of torch.manual_seed({SEED}): {', '.join(random[:SHOWN])}{more}"
    if weights.imported:
        yield f"weights of the module that {Path(subject.factory).name} has made when it was imported: random or not"
    yield from reference.notes
    yield from proven.notes
    if proven.fixed:
        yield (
            f"the file is fixed at {_words(proven.fixed)}: torch's exporter does not keep that free, or the file would "
            "compute something else"
        )
    if subject.sizes and reference.elsewhere is None and proven.fixed.keys().isdisjoint(subject.sizes):
        yield f"proven at {_words(subject.sizes)} alone: the module does not run at {_words(subject.other_sizes)}"


@contextmanager
def _new_folder(files: ModuleFiles) -> Iterator[Path]:
    """A folder beside the files, from which they are moved in place: an interrupted export leaves the old ones."""
    files.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=files.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def metadata(subject: Subject, weights: Weights) -> dict[str, str]:
    """The `metadata_props` of the ONNX file: no path, and nothing that differs between two exports of one module."""
    source = f"random, torch.manual_seed({SEED})" if weights.random else "of the callable"
    return {
        "model": subject.entry.name,
        "module": Path(subject.factory).name,
        "inputs": " ".join(map(str, subject.inputs)),
        "sizes": _words(subject.sizes),
        "weights": f"sha256 {sha256(subject.weights)}" if subject.weights else source,
        "parameters": str(weights.parameters),
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items() if name in MADE_WITH),
    }


def in_onnxruntime(onnx: Path, calls: Mapping[int, Inputs]) -> dict[int, Calls]:
    """The outputs of each call of the file by batch size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with in_one_line(f"ONNX Runtime {onnxruntime.__version__} does not run it"):
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        return {
            batch: [_outputs(session, {name: array(one) for name, one in given.items()}) for given in several]
            for batch, several in calls.items()
        }


def _outputs(session: onnxruntime.InferenceSession, given: Mapping[str, NDArray[Any]]) -> list[Any]:
    """The outputs of a call. ONNX Runtime gives numpy no bfloat16: it takes and returns the bits."""
    declared = [one.type for one in session.get_outputs()]
    if "tensor(bfloat16)" not in (*declared, *(one.type for one in session.get_inputs())):
        return list(session.run(None, given))
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(one)
        if one.dtype.name != "bfloat16"
        else onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(one.view(np.uint16), TensorProto.BFLOAT16)
        for name, one in given.items()
    }
    found = session.run_with_ort_values(None, values)
    return [
        one.numpy()
        if kind != "tensor(bfloat16)"
        else np.frombuffer(ctypes.string_at(one.data_ptr(), one.tensor_size_in_bytes()), ml_dtypes.bfloat16).reshape(
            one.shape()
        )
        for one, kind in zip(found, declared, strict=True)
    ]
