"""Export any torch module to ONNX, and prove that both compute the same."""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto
from torch import Tensor

from study.artifacts import sha256, write_bytes, write_record
from study.entry import Entry
from study.environment import environment
from study.errors import StudyError, in_one_line
from study.modules.building import SEED, Built, Flat, build, flat, source_sha256
from study.modules.files import ModuleFiles
from study.modules.words import ModuleInput, as_onnx, checked_sizes, parse_inputs, parse_sizes
from study.onnx_inputs import BATCH
from study.onnx_values import generate
from study.parity import Calls, Limit, differences
from study.records.module import ModuleRecord, OutputParity
from study.soundness import failure
from study.variants import OPSET

BATCHES = (1, 2, 7)
"""Batch sizes of the proof."""
CALLS = 2
"""Seeded inputs of each batch size."""
INPUT_SEED = 0
EXAMPLES = 2
"""Items in the exporter's example: with one, the batch could become a constant."""


class ModuleParityError(StudyError):
    """An output differs."""


def export_module(entry: Entry, files: ModuleFiles) -> ModuleRecord:
    """Write the ONNX file of a module and its record.

    Raises:
        StudyError: the module cannot be built, called or exported, or its inputs are not as described.
        ModuleParityError: ONNX Runtime computes something else.
    """
    inputs, sizes = parse_inputs(entry.inputs), parse_sizes(entry.sizes)
    checked_sizes(inputs, sizes)
    weights = Path(entry.weights) if entry.weights else None
    built = build(entry.network, entry.arguments, weights, inputs)
    calls = {batch: pool(inputs, sizes, batch) for batch in BATCHES}
    names, expected = in_torch(entry, built, calls)
    model = convert(entry, built, inputs, sizes, names)
    content = model.SerializeToString(deterministic=True)
    found = in_onnxruntime(content, calls)
    parity = prove(entry, names, expected, found)
    tensors = [*built.network.parameters(), *built.network.buffers()]
    write_bytes(files.onnx, content)
    record = ModuleRecord(
        name=entry.name,
        factory=entry.network,
        arguments=entry.arguments,
        inputs=tuple(map(str, inputs)),
        sizes=sizes,
        by_position=built.by_position,
        weights=entry.weights or None,
        weights_sha256=sha256(weights) if weights else None,
        seed=None if weights else SEED,
        source_sha256=source_sha256(entry.network),
        parameters=sum(one.numel() for one in built.network.parameters() if one.requires_grad),
        weight_bytes=sum(one.nbytes for one in tensors),
        onnx_sha256=sha256(files.onnx),
        data_sha256=None,
        bytes=len(content),
        opset=model.opset_import[0].version,
        ir_version=model.ir_version,
        batches=BATCHES,
        input_seed=INPUT_SEED,
        parity=parity,
        notes=() if weights else ("its weights are random",),
        environment=environment(),
    )
    write_record(files.record, record)
    return record


def pool(inputs: Sequence[ModuleInput], sizes: Mapping[str, int], batch: int) -> list[dict[str, Tensor]]:
    """Seeded inputs of a batch size."""
    taken, given = as_onnx(inputs, sizes)
    arrays = generate(taken, given, batch, INPUT_SEED, CALLS)
    return [{name: torch.from_numpy(array) for name, array in one.items()} for one in arrays]


def in_torch(
    entry: Entry, built: Built, calls: Mapping[int, Sequence[Mapping[str, Tensor]]]
) -> tuple[list[str], dict[int, Calls]]:
    """The names of the outputs, and the outputs of each call by batch size."""
    names: list[str] = []
    results: dict[int, Calls] = {}
    for batch, several in calls.items():
        outputs = []
        for given in several:
            positional, keywords = built.arguments(given)
            try:
                with torch.inference_mode():
                    named = flat(built.network(*positional, **keywords))
            except StudyError as error:
                raise StudyError(f"{entry.name}: {error}") from None
            except Exception as error:  # a user's module may raise anything
                raise StudyError(f"{entry.name} does not run at batch {batch} ({failure(error)})") from None
            names = [name for name, _ in named]
            outputs.append([tensor.numpy() for _, tensor in named])
        results[batch] = outputs
    return names, results


def convert(
    entry: Entry, built: Built, inputs: Sequence[ModuleInput], sizes: Mapping[str, int], names: Sequence[str]
) -> ModelProto:
    """The output of torch's exporter, with all named dimensions free.

    Raises:
        StudyError: it fails.
    """
    example = tuple(pool(inputs, sizes, EXAMPLES)[0].values())
    dimensions = {name: torch.export.Dim(name) for name in (BATCH, *sizes)}
    shapes = tuple(
        {axis: dimensions[size] for axis, size in enumerate(one.shape) if isinstance(size, str)} for one in inputs
    )
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # deprecations inside torch
            logging.disable()  # torch prints its graphs
            given: Any = Flat(built, [one.name for one in inputs])
            program = torch.onnx.export(
                given,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=[one.name for one in inputs],
                output_names=list(names),
                dynamic_shapes=(shapes,),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # of any kind: it runs the module's code
        raise StudyError(f"{entry.name} cannot be exported: {failure(error)}") from None
    finally:
        logging.disable(logging.NOTSET)
    assert program is not None
    model: ModelProto = program.model_proto
    return model


def in_onnxruntime(content: bytes, calls: Mapping[int, Sequence[Mapping[str, Tensor]]]) -> dict[int, Calls]:
    """The outputs of each call by batch size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with in_one_line(f"ONNX Runtime {onnxruntime.__version__} does not run it"):
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return {
            batch: [session.run(None, {name: one.numpy() for name, one in given.items()}) for given in several]
            for batch, several in calls.items()
        }


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
