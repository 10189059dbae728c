"""The torch network that an ONNX file was made from: a checkpoint of the catalogue, or a module of the user."""

from torch import nn

from bench.models import Model
from study import checkpoints
from study.errors import StudyError
from study.files import sha256
from study.modules.building import Built, rebuild
from study.modules.words import parse_inputs
from study.record_files import read_record
from study.records.training import RunRecord
from study.verified import verified_module


def network_of(model: Model) -> Built:
    """The network with what its ONNX file computes, in evaluation mode; a checkpoint's has the file's final softmax.

    Raises:
        StudyError: the model is an ONNX file alone, its checkpoint or module is not the one it was exported from, or
            it stays in training mode.
    """
    if model.module:
        built = rebuild(verified_module(model.module))
    elif model.entry and model.run:
        network = checkpoints.load(model.entry, model.run)
        built = Built(nn.Sequential(network, nn.Softmax(dim=1)).eval(), by_position=True)
    else:
        raise StudyError(f"{model.onnx}: torch has no network of an ONNX file; leave it out of --runtimes")
    if any(one.training for one in built.network.modules()):
        raise StudyError(f"{model.name} stays in training mode: its latency would be that of training")
    return built


def input_ranks(model: Model) -> list[int]:
    """The number of dimensions of each input; a model of the catalogue takes one image [batch, C, H, W]."""
    return [len(one.shape) for one in parse_inputs(verified_module(model.module).inputs)] if model.module else [4]


def input_names(model: Model) -> tuple[str, ...]:
    """The names of the inputs, in the order of the ONNX file's."""
    return tuple(one.name for one in parse_inputs(verified_module(model.module).inputs)) if model.module else ("image",)


def identity(model: Model) -> str:
    """A word for the network with its weights and the sizes of its inputs: equal words mean that these are equal."""
    if model.run:
        return read_record(model.run.record, RunRecord, "").checkpoint_sha256
    return sha256(model.module.record) if model.module else model.onnx_sha256
