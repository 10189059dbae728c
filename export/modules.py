"""Export any torch module to ONNX, and prove that both compute the same."""

import ctypes
import gc
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import torch
from msgspec import structs
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from torch import Tensor, nn

from export import module_file
from export.module_card import write_card
from export.module_graph import from_torch
from study.artifacts import sha256, write_record
from study.entry import Entry
from study.environment import environment, versions
from study.errors import StudyError, in_one_line, one_line
from study.modules.building import SEED, Built, build, draw
from study.modules.files import ModuleFiles
from study.modules.finding import absolute, import_folder, packages, sources
from study.modules.outputs import array, flat, left_out, unique_names
from study.modules.words import ModuleInput, checked_sizes, parse_inputs, parse_sizes
from study.onnx_graph import dimensions
from study.onnx_inputs import BATCH
from study.parity import Calls, Limit, differences
from study.records.module import ModuleRecord, OutputParity
from study.soundness import NOISE, Drawn, failure

BATCHES = (1, 2, 7)
"""Batch sizes of the proof."""
CALLS = 2
"""Seeded inputs of each batch size."""
INPUT_SEED = 0
FOLDED = 2, 3
"""Batch sizes of the two calls that tell constants from what depends on the sizes."""
SHOWN = 3
"""Names of random weights that a note shows."""
MADE_WITH = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime")
"""Packages whose version decides what is in the file."""

Inputs = Sequence[Mapping[str, Tensor]]
"""Those of each call."""


class ModuleParityError(StudyError):
    """An output differs."""


def export_module(entry: Entry, files: ModuleFiles) -> ModuleRecord:
    """Write the ONNX file of a module, its record and its card; nothing is written unless the proof holds.

    The outputs of torch are computed first, and the module is given up before another engine loads the weights.

    Raises:
        StudyError: the module cannot be built, called or exported, or its inputs are not as described.
        ModuleParityError: ONNX Runtime computes something else.
    """
    inputs, sizes = parse_inputs(entry.inputs), parse_sizes(entry.sizes)
    checked_sizes(inputs, sizes)
    weights = Path(entry.weights).absolute() if entry.weights else None
    factory = absolute(entry.network)
    built = build(factory, entry.arguments, weights, inputs, sizes)
    random = () if weights else _random(built.network, entry, factory, inputs, sizes)
    notes = [_random_note(random)] if random else []
    batches, names, expected, more = in_torch(entry, built, inputs, sizes)
    notes += more
    tensors = {id(one): one for one in (*built.network.parameters(), *built.network.buffers())}
    parameters = sum(one.numel() for one in built.network.parameters() if one.requires_grad)
    weight_bytes, dtypes = sum(one.nbytes for one in tensors.values()), {one.dtype for one in tensors.values()}
    by_position = built.by_position
    del tensors
    other = other_sizes(sizes)
    elsewhere = _elsewhere(built, inputs, other, batches[-1]) if other else None
    files_of_it, packages_of_it, folder = sources(factory), packages(factory), import_folder(factory)
    exported = from_torch(entry.name, built, inputs, sizes, unique_names(names, [one.name for one in inputs]))
    del built
    fixed = exported.fixed
    if BATCH in fixed:
        batches = batches[:1]
    elif batches == (1,) and any(BATCH in one.shape for one in inputs):
        fixed = {**fixed, BATCH: 1}
    calls = {batch: draw(inputs, sizes, batch, INPUT_SEED, CALLS) for batch in batches}
    expected = {batch: expected[batch] for batch in batches}
    with _new_folder(files) as place:
        onnx, data = place / files.onnx.name, place / files.data.name
        beside = None
        if module_file.weight_bytes(exported.model) >= module_file.LARGE:
            beside = module_file.put_beside(exported.model, data, files.data.name)
        model = module_file.serialised(exported.model)
        del exported
        gc.collect()
        _fix(model, inputs, fixed)
        runs = _folding_runs(inputs, sizes, other, fixed)
        graphs = _graphs(model, runs, place)
        del model
        error: StudyError | None = None
        for is_portable, graph in graphs:
            module_file.describe(graph, metadata(entry, inputs, sizes, random, weights, parameters))
            shapes = [dimensions(value.type) or () for value in graph.graph.output]
            opset, ir_version = graph.opset_import[0].version, graph.ir_version
            module_file.write(onnx, graph)
            del graph
            try:
                parity = prove(entry, names, expected, in_onnxruntime(onnx, calls))
                portable = is_portable
                break
            except StudyError as failed:
                error = failed
        else:
            assert error is not None
            raise _explained(error, entry, dtypes)
        if elsewhere and not set(other) & set(fixed):
            given, outputs = elsewhere
            try:
                prove(entry, names, {batches[-1]: outputs}, in_onnxruntime(onnx, {batches[-1]: given}))
            except StudyError:
                module_file.fix(onnx, sizes)
                fixed = {**fixed, **sizes}
        notes += [_fixed_note(fixed)] if fixed else []
        if other and elsewhere is None and not set(other) & set(fixed):
            notes.append(f"proven at {_words(sizes)} alone: the module does not run at {_words(other)}")
        record = ModuleRecord(
            name=entry.name,
            factory=factory,
            import_folder=folder,
            arguments=entry.arguments,
            inputs=tuple(map(str, inputs)),
            sizes=sizes,
            fixed=fixed,
            by_position=by_position,
            weights=str(weights) if weights else None,
            weights_sha256=sha256(weights) if weights else None,
            seed=None if weights else SEED,
            random=random,
            sources=files_of_it,
            packages=packages_of_it,
            tolerance=entry.tolerance,
            parameters=parameters,
            weight_bytes=weight_bytes,
            onnx_sha256=sha256(onnx),
            data_sha256=beside.sha256 if beside else None,
            bytes=onnx.stat().st_size + (beside.bytes if beside else 0),
            portable=portable,
            opset=opset,
            ir_version=ir_version,
            batches=batches,
            input_seed=INPUT_SEED,
            parity=tuple(structs.replace(one, shape=shape) for one, shape in zip(parity, shapes, strict=True)),
            notes=tuple(notes),
            environment=environment(),
        )
        if beside:
            data.replace(files.data)
        onnx.replace(files.onnx)
    if not beside:
        files.data.unlink(missing_ok=True)
    write_record(files.record, record)
    write_card(files, record)
    return record


@contextmanager
def _new_folder(files: ModuleFiles) -> Iterator[Path]:
    """A folder beside the files, from which they are moved in place: an interrupted export leaves the old ones."""
    files.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=files.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _random(
    network: nn.Module, entry: Entry, factory: str, inputs: Sequence[ModuleInput], sizes: Mapping[str, int]
) -> tuple[str, ...]:
    """The names of the weights that another seed gives other values."""
    before = _weights(network)
    if not before:
        return ()
    try:
        other = _weights(build(factory, entry.arguments, None, inputs, sizes, seed=SEED + 1).network)
    except StudyError:
        return ()
    return tuple(name for name, one in before.items() if name in other and not _equal(one, other[name]))


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach() for name, one in (*network.named_parameters(), *network.named_buffers())}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one, other))


def _random_note(random: Sequence[str]) -> str:
    names = ", ".join(random[:SHOWN]) + (f" and {len(random) - SHOWN} more" if len(random) > SHOWN else "")
    return f"random weights, of torch.manual_seed({SEED}): {names}"


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _fixed_note(fixed: Mapping[str, int]) -> str:
    return (
        f"the file is fixed at {_words(fixed)}: torch's exporter does not keep it free, or it computes something else"
    )


def other_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes for a second look at the free dimensions: half of each, if that is a number of 2 or more."""
    return {name: size // 2 if size >= 4 and size % 2 == 0 else max(size - 1, 2) for name, size in sizes.items()}


def _elsewhere(
    built: Built, inputs: Sequence[ModuleInput], sizes: Mapping[str, int], batch: int
) -> tuple[Inputs, Calls] | None:
    """A call at other sizes and its outputs; None if the module itself does not run at them."""
    calls = draw(inputs, sizes, batch, INPUT_SEED, 1)
    try:
        return calls, [[one for _, one in outputs_of(built, given)[0]] for given in calls]
    except (Exception, SystemExit):  # a user's module may raise anything
        return None


def _folding_runs(
    inputs: Sequence[ModuleInput], sizes: Mapping[str, int], other: Mapping[str, int], fixed: Mapping[str, int]
) -> module_file.Runs:
    first, second = (fixed.get(BATCH, batch) for batch in FOLDED)
    one = draw(inputs, sizes, first, INPUT_SEED, 1)[0]
    two = draw(inputs, {**other, **{name: sizes[name] for name in fixed if name in sizes}}, second, INPUT_SEED, 1)[0]
    return {name: array(value) for name, value in one.items()}, {name: array(value) for name, value in two.items()}


def _graphs(model: ModelProto, runs: module_file.Runs, folder: Path) -> Iterator[tuple[bool, ModelProto]]:
    """The graph edited for every runtime, and the exporter's own, should the other one not be right."""
    if (edited := module_file.edited(model, runs, folder)) is not None:
        yield True, edited
        del edited
    yield False, module_file.as_written(model)


def _fix(model: ModelProto, inputs: Sequence[ModuleInput], fixed: Mapping[str, int]) -> None:
    """Write the size of the fixed dimensions into the inputs of the graph."""
    for value, one in zip(model.graph.input, inputs, strict=True):
        for axis, size in enumerate(one.shape):
            if size in fixed:
                value.type.tensor_type.shape.dim[axis].dim_value = fixed[str(size)]


def _explained(error: StudyError, entry: Entry, dtypes: set[torch.dtype]) -> StudyError:
    others = sorted(str(one).removeprefix("torch.") for one in dtypes if one.is_floating_point and one != torch.float32)
    if not others or isinstance(error, ModuleParityError):
        return error
    return StudyError(f"{entry.name}: {error}; its weights are {' and '.join(others)}: convert it to float32")


def metadata(
    entry: Entry,
    inputs: Sequence[ModuleInput],
    sizes: Mapping[str, int],
    random: Sequence[str],
    weights: Path | None,
    parameters: int,
) -> dict[str, str]:
    """The `metadata_props` of the ONNX file: no path, and nothing that differs between two exports of one module."""
    source = f"random, torch.manual_seed({SEED})" if random else "of the callable"
    return {
        "model": entry.name,
        "module": Path(entry.network).name,
        "inputs": " ".join(map(str, inputs)),
        "sizes": _words(sizes),
        "weights": f"sha256 {sha256(weights)}" if weights else source,
        "parameters": str(parameters),
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items() if name in MADE_WITH),
    }


Named = list[tuple[str, NDArray[Any]]]


def outputs_of(built: Built, given: Mapping[str, Tensor]) -> tuple[Named, list[str]]:
    """The outputs of one call, copied, with their names; and the names of those that are left out."""
    positional, keywords = built.arguments({name: one.clone() for name, one in given.items()})  # it may change them
    with torch.inference_mode():
        found = built.network(*positional, **keywords)
        return [(name, np.array(array(one))) for name, one in flat(found)], left_out(found)


def in_torch(
    entry: Entry, built: Built, inputs: Sequence[ModuleInput], sizes: Mapping[str, int]
) -> tuple[tuple[int, ...], list[str], dict[int, Calls], list[str]]:
    """The batch sizes that the module runs at, the names of its outputs, those of each call by batch size, and notes.

    Raises:
        StudyError: it does not run, stays in training mode, draws random numbers or keeps a state.
    """
    if training := next((name for name, one in built.network.named_modules() if one.training), None):
        raise StudyError(f"{entry.name}: {training or 'it'} stays in training mode, although eval() was called")
    wanted = BATCHES if any(BATCH in one.shape for one in inputs) else BATCHES[:1]
    versions_before = {name: (one, one._version) for name, one in built.network.named_buffers()}
    names: list[str] = []
    notes: list[str] = []
    results: dict[int, Calls] = {}
    for batch in wanted:
        outputs: list[list[NDArray[Any]]] = []
        try:
            for given in draw(inputs, sizes, batch, INPUT_SEED, CALLS):
                with Drawn() as drawn:
                    named, caches = outputs_of(built, given)
                if not results and not outputs:
                    names = [name for name, _ in named]
                    notes += [f"its output {name} is left out: the file keeps no cache" for name in caches]
                    _check_repeats(entry, built, given, named, drawn, versions_before)
                outputs.append([one for _, one in named])
        except StudyError as error:
            raise StudyError(f"{entry.name}: {error}") from None
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            if not results or batch == 1:
                words = " ".join(map(str, inputs))
                raise StudyError(
                    f"{entry.name} does not run with {words} at batch {batch} ({failure(error)})"
                ) from None
            notes.append(f"the module itself does not run at batch {batch} ({one_line(error, 80)})")
            return (1,), names, {1: results[1]}, notes
        if [name for name, _ in named] != names:
            raise StudyError(f"{entry.name}: expected the outputs {', '.join(names)}, found others at batch {batch}")
        results[batch] = outputs
    return wanted, names, results, notes


def _check_repeats(
    entry: Entry,
    built: Built,
    given: Mapping[str, Tensor],
    first: Named,
    drawn: Drawn,
    before: Mapping[str, tuple[Tensor, int]],
) -> None:
    """Check that a second call with the same inputs gives the same outputs."""
    again, _ = outputs_of(built, given)
    if len(first) == len(again) and all(_same(one, two) for (_, one), (_, two) in zip(first, again, strict=True)):
        return
    after = dict(built.network.named_buffers())
    changed = [name for name, (one, version) in before.items() if after.get(name) is not one or one._version != version]
    if drawn.dropout:
        reason = f"drops out{drawn.dropout}; write F.dropout(x, p, training=self.training), or use nn.Dropout"
    elif drawn.other:
        reason = f"draws random numbers, {drawn.other}; take them as an input instead"
    elif changed:
        reason = f"changes its buffer {changed[0]!r}; take it as an input and return it instead"
    else:
        reason = "keeps a state or draws random numbers; take them as an input instead"
    raise StudyError(f"expected the same outputs for the same inputs, but in evaluation mode it {reason}")


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    left, right = one.astype(np.float64), other.astype(np.float64)
    largest = float(np.abs(np.nan_to_num(left)).max(initial=0))
    return np.allclose(left, right, rtol=0, atol=NOISE * largest, equal_nan=True)


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


def prove(
    entry: Entry, names: Sequence[str], expected: Mapping[int, Calls], found: Mapping[int, Calls]
) -> tuple[OutputParity, ...]:
    """The comparison of each output.

    Raises:
        ModuleParityError: one differs.
    """
    limit = Limit(8 * 2**-23, entry.tolerance or 1e-3)
    results: dict[str, OutputParity] = {}
    for batch, calls in expected.items():
        for one in differences(names, calls, found[batch], batch):
            if not one.holds(limit):
                raise ModuleParityError(f"{entry.name}, batch {batch}: {one.sentence('torch', limit)}")
            array = np.asarray(calls[0][names.index(one.name)])
            earlier = results.get(one.name)
            results[one.name] = OutputParity(
                name=one.name,
                dtype=array.dtype.name,
                shape=array.shape,
                values=one.values + (earlier.values if earlier else 0),
                max_abs_difference=max(one.largest, earlier.max_abs_difference if earlier else 0),
                max_rel_difference=one.largest / one.scale if one.scale else 0.0,
                limit_abs=limit.absolute,
                limit_rel=limit.relative,
            )
    return tuple(results.values())
