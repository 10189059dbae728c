"""Convert a torch module with inputs in words to an ONNX model, with as many of its named dimensions free as can be."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.nn.utils import parametrize

from export.conversion import reason
from study.errors import StudyError
from study.modules.building import Built, Flat, draw
from study.modules.words import ModuleInput, batches_of
from study.onnx_inputs import BATCH
from study.variants import OPSET

EXAMPLES = 2
"""Items in the exporter's example: with one, the batch could become a constant."""
HOPELESS = ("data-dependent control flow", "ONNX has no operator")
"""Reasons for which no other choice of dimensions helps."""


@dataclass(frozen=True)
class Exported:
    """The output of torch's exporter, whose weights are still those of the module."""

    model: ir.Model
    fixed: dict[str, int]
    """The named dimensions that are not free, with the size that they have in the graph."""
    traced: ExportedProgram
    """The graph of torch's operators that the model was made from."""


@dataclass(frozen=True)
class _Task:
    built: Built
    inputs: Sequence[ModuleInput]
    sizes: Mapping[str, int]
    outputs: Sequence[str]


def from_torch(
    name: str,
    built: Built,
    inputs: Sequence[ModuleInput],
    sizes: Mapping[str, int],
    outputs: Sequence[str],
    batch_is_free: bool = True,
) -> Exported:
    """The output of torch's exporter, in the standard opset.

    Named dimensions are free where torch can keep them so: it follows the module's operators first, then its code
    (`strict`), and then leaves to torch which are free. The batch is fixed at 1 if there is no other way.
    The module is used up: its parametrised weights are fixed.

    Args:
        name: of the module, for messages.
        outputs: names of the outputs in the file.
        batch_is_free: otherwise it is 1.

    Raises:
        StudyError: it fails; one line says why, and where in the module's code.
    """
    for module in list(built.network.modules()):
        for weight in list(getattr(module, "parametrizations", {})):  # computed once, under its own name
            parametrize.remove_parametrizations(module, weight, leave_parametrized=True)
    task = _Task(built, inputs, sizes, outputs)
    named = [BATCH, *sizes] if batch_is_free and any(BATCH in one.shape for one in inputs) else list(sizes)
    first: StudyError | None = None
    for strict in (False, True):
        dimensions = {one: torch.export.Dim(one, **({"min": 2} if strict else {})) for one in named}
        try:
            exported = _export(task, dimensions, strict)
        except StudyError as error:
            first = first or error
            if any(words in str(error) for words in HOPELESS):
                break
            continue
        if not exported.fixed.keys() & set(named):
            return exported
    if first is None or not any(words in str(first) for words in HOPELESS):
        auto = dict.fromkeys(named, torch.export.Dim.AUTO)
        with contextlib.suppress(StudyError):
            exported = _export(task, auto)
            if BATCH not in exported.fixed or BATCH not in named:
                return exported
        if BATCH in named:
            del auto[BATCH]
            with contextlib.suppress(StudyError):
                return _export(task, auto)
        with contextlib.suppress(StudyError):
            return _export(task, {})
    raise StudyError(f"{name} cannot be exported: {first}") from None


def _export(task: _Task, dimensions: Mapping[str, Any], strict: bool = False) -> Exported:
    batch = EXAMPLES if BATCH in dimensions else batches_of(task.inputs, task.sizes, (1,))[0]
    example = tuple(draw(task.inputs, task.sizes, batch, 0, 1)[0].values())
    shapes = tuple(
        {axis: dimensions[str(size)] for axis, size in enumerate(one.shape) if size in dimensions}
        for one in task.inputs
    )
    names = [one.name for one in task.inputs]
    given: Any = Flat(task.built, names)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")  # deprecations inside torch
            logging.disable()  # torch prints its graphs
            if strict:
                given = torch.export.export(given, example, dynamic_shapes=(shapes,), strict=True)
            program = torch.onnx.export(
                given,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=names,
                output_names=list(task.outputs),
                dynamic_shapes=(shapes,),
                external_data=False,
                verbose=False,
            )
    except (Exception, SystemExit) as error:  # of any kind: it runs the module's code
        raise StudyError(reason(error, "inputs")) from None
    finally:
        logging.disable(logging.NOTSET)
    assert program is not None
    assert program.exported_program is not None
    model: ir.Model = program.model
    return Exported(model, _name_dimensions(model, task, batch), program.exported_program)


def _name_dimensions(model: ir.Model, task: _Task, batch: int) -> dict[str, int]:
    """Give the free dimensions their names where torch has symbols of its own; the fixed ones with their size."""
    sizes = {**task.sizes, BATCH: batch}
    fixed: dict[str, int] = {}
    symbols: dict[str, str] = {}
    for value, one in zip(model.graph.inputs, task.inputs, strict=True):
        assert value.shape is not None
        for axis, size in enumerate(one.shape):
            if not isinstance(size, str):
                continue
            found = value.shape[axis]
            text = str(found if isinstance(found, int) else found.value)
            if re.fullmatch("[0-9]+", text):
                fixed[size] = sizes[size]
            else:
                symbols.setdefault(text, size)
    for value in (*model.graph.inputs, *model.graph.outputs, *(v for n in model.graph for v in n.outputs)):
        if value.shape is not None:
            value.shape = ir.Shape([_named(one, symbols) for one in value.shape])
    return fixed


def _named(dimension: int | ir.SymbolicDim, symbols: Mapping[str, str]) -> int | ir.SymbolicDim:
    if isinstance(dimension, int):
        return dimension
    text = str(dimension.value)
    if re.fullmatch("[0-9]+", text):
        return int(text)
    return ir.SymbolicDim(re.sub(r"[A-Za-z_]\w*", lambda found: symbols.get(found[0], found[0]), text))
