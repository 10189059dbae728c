"""Read any ONNX file whole, make another one of it, and prove on seeded inputs that both compute the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from export.compact.removal import noted, refuse_larger, refuse_nothing, refuse_useless, remove_dead_units
from export.compact.sparse import store_sparsely
from study.difference import Difference, Limit
from study.environment import environment
from study.errors import StudyError, in_one_line, one_line
from study.files import sha256, write_bytes
from study.onnx_data import beside, extent
from study.onnx_given import Given
from study.onnx_graph import NO_MODEL, check_calls, checked_size, tensors
from study.onnx_inputs import batch_sizes, signature
from study.onnx_values import generate
from study.ort_values import session_on_one_thread
from study.parity import differences, held
from study.record_files import write_record
from study.records.compact import CompactRecord, RemovedUnits, SparseTensor
from study.variants import Variant

MOST_BYTES = 2**31 - 2**20
"""Bytes of a model with its weights, the most that one protobuf message holds."""
EXACT = 1e-6
"""Largest difference of two outputs / the largest magnitude."""
CALLS = 4
BATCHES = (1, 3)
INPUT_SEED = 0


class UnprovenError(StudyError):
    """The new file computes something else."""


def load(path: Path) -> ModelProto:
    """The model with all its weights in memory.

    Raises:
        StudyError: it is no ONNX model, too large, or its weights lie where they may not; the message names it.
    """
    try:
        size = checked_size(path)
        model = onnx.load(path, format="protobuf", load_external_data=False)
        if model.ir_version < 1 or not model.graph.node:
            raise StudyError("expected an ONNX model, found a file without IR version or nodes")
        check_calls(model)
        for tensor in tensors(model):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                location, offset, length = extent(tensor)
                size += length
                if size > MOST_BYTES:
                    raise StudyError(f"expected at most {MOST_BYTES} bytes of weights, found more")
                tensor.raw_data = beside(path, location).place(offset, length).read(0, length).tobytes()
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
        return model
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from None
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from None
    except DecodeError:
        raise StudyError(f"{path}: {NO_MODEL}") from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise StudyError(f"{path}: expected an ONNX model, found a malformed file ({one_line(error)})") from None


def compact(path: Path, target: Path, variant: Variant, given: Given) -> CompactRecord:
    """Write `target` and, beside it, its record; nothing is written unless both files compute the same.

    A quantised file cannot compute the same; how far it is off is in the record.

    Raises:
        NothingError: nothing of what was asked for applies, or the new file would be no smaller.
        StudyError: the file cannot be read or run.
        UnprovenError: the outputs differ, or have no finite value.
    """
    model = load(path)
    original = model.SerializeToString(deterministic=True)
    removed: tuple[RemovedUnits, ...] = ()
    stored: tuple[SparseTensor, ...] = ()
    nothing: list[str] = []
    with in_one_line(str(path)):
        if variant.remove_dead:
            with noted(nothing):
                removed = remove_dead_units(model)
                refuse_nothing(removed)
        if variant.sparse:
            with noted(nothing):
                stored = store_sparsely(model)
        refuse_useless(variant, nothing)
        if variant.int8:
            from export.quantisation import quantise

            model = quantise(model, None, variant.int8)
    content = model.SerializeToString(deterministic=True)
    if not variant.int8:
        refuse_larger(len(original), len(content))
    calls, largest, doubts = prove(path, original, content, given, exact=variant.int8 is None)
    write_bytes(target, content)
    record = CompactRecord(
        source=path.name,
        source_sha256=sha256(path),
        onnx_sha256=sha256(target),
        variant=variant,
        source_bytes=len(original),
        bytes=len(content),
        removed=removed,
        sparse=stored,
        calls=calls,
        max_rel_difference=largest,
        environment=environment(),
        notes=(*nothing, *doubts),
    )
    write_record(target.with_suffix(".json"), record)
    return record


def prove(
    path: Path, original: bytes, content: bytes, given: Given, exact: bool = True
) -> tuple[int, float, tuple[str, ...]]:
    """Run both models in ONNX Runtime; gives the number of calls, the largest relative difference, and notes.

    Raises:
        StudyError: one does not run, or the original differs from itself.
        UnprovenError: the outputs differ by more than `EXACT`, or, unless `exact`, in shape or finiteness; or an output
            has no finite value in any call, so that nothing was compared.
    """
    model = onnx.ModelProto.FromString(original)
    inputs = signature(model.graph, given)
    names = [value.name for value in model.graph.output]
    largest, calls = 0.0, 0
    limit = Limit(0.0, EXACT)
    compared: dict[str, list[Difference]] = {name: [] for name in names}
    for batch in batch_sizes(inputs, given.shapes, BATCHES):
        pool = generate(inputs, given, batch, INPUT_SEED, CALLS)
        expected, found = (_run(each, pool, path) for each in (original, content))
        for one in differences(names, expected, found, batch):
            compared[one.name].append(one)
            if one.scale and one.largest < float("inf"):
                largest = max(largest, one.largest / one.scale)
            if exact and not one.holds(limit):
                if any(
                    not same.holds(limit) for same in differences(names, expected, _run(original, pool, path), batch)
                ):
                    raise StudyError(f"{path} gives other outputs for the same input: it is random or keeps a state")
                raise UnprovenError(
                    f"{path}: the new file differs, nothing is written: {one.sentence('the old', limit)}"
                )
        calls += len(pool)
    for name, several in compared.items():
        if several and all(one.nothing_compared for one in several):
            raise UnprovenError(
                f"{path}: output {name!r} has no finite value for these inputs, in neither file, so nothing was "
                "compared and nothing is written; give the inputs another range, such as --input x=0..1"
            )
    notes = (
        f"output {name!r} is 0 throughout, so its proof says little: the last layer's weights may be 0"
        for name, several in compared.items()
        if all(one.zero_throughout for one in several)
    )
    return calls, largest, tuple(notes)


def _run(content: bytes, pool: Sequence[Any], path: Path) -> list[list[Any]]:
    with in_one_line(f"{path}: ONNX Runtime {onnxruntime.__version__} does not run it"):
        session = session_on_one_thread(content)
        return [[held(one) for one in session.run(None, dict(inputs))] for inputs in pool]
