"""The inputs and the expected outputs of a pack: what PyTorch computes, from the weights themselves."""

from pathlib import Path

from export.module_reference import outputs_of
from export.pack.files import Arrays
from export.pack.subjects import IMAGES, Packed
from export.parity import run_torch
from study import checkpoints
from study.artifacts import RunFiles
from study.data import tensors
from study.entry import Entry
from study.errors import StudyError
from study.evaluation import batches
from study.modules.building import draw, rebuild
from study.modules.outputs import array
from study.modules.words import parse_inputs
from study.parity import CALLS
from study.records.module import ModuleRecord

Calls = list[tuple[Arrays, Arrays]]
"""Inputs and expected outputs of each call."""


def calls_of(packed: Packed, data: Path) -> Calls:
    """The calls of a model with the images that lie below `data`, or of a module.

    Raises:
        StudyError: the checkpoint, or the module's code, is not the one that was exported; or it does not run.
    """
    if isinstance(packed.source, ModuleRecord):
        return _of_module(packed.source)
    return _of_run(packed.entry, packed.source, data)


def _of_run(entry: Entry, files: RunFiles, data: Path) -> Calls:
    images = tensors.load(data, train=False, dataset=entry.dataset)[0][:IMAGES]
    expected = run_torch(checkpoints.load(entry, files), images)
    return [((batch.numpy(),), (expected,)) for batch in batches(images, IMAGES)]


def _of_module(record: ModuleRecord) -> Calls:
    built = rebuild(record)
    calls: Calls = []
    for batch in record.batches:
        for given in draw(parse_inputs(record.inputs), record.sizes, batch, record.input_seed, CALLS):
            outputs, _ = outputs_of(built, given)
            if len(outputs) != len(record.parity):
                raise StudyError(f"{record.name}: expected {len(record.parity)} outputs, found {len(outputs)}")
            calls.append(([array(one) for one in given.values()], [one for _, one in outputs]))
    return calls
