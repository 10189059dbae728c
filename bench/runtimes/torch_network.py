"""The torch network that an ONNX file was made from: a checkpoint of the catalogue, or a module of the user."""

from torch import nn

from bench.models import Model
from study import checkpoints
from study.errors import StudyError
from study.modules.building import Built, rebuild
from study.modules.files import current_module


def network_of(model: Model) -> Built:
    """The network with what its ONNX file computes, in evaluation mode; a checkpoint's has the file's final softmax.

    Raises:
        StudyError: the model is an ONNX file alone, its checkpoint or module is not the one it was exported from, or
            it stays in training mode.
    """
    if model.module:
        built = rebuild(current_module(model.module))
    elif model.entry and model.run:
        network = checkpoints.load(model.entry, model.run)
        built = Built(nn.Sequential(network, nn.Softmax(dim=1)).eval(), by_position=True)
    else:
        raise StudyError(f"{model.onnx}: torch has no network of an ONNX file; leave it out of --runtimes")
    if any(one.training for one in built.network.modules()):
        raise StudyError(f"{model.name} stays in training mode: its latency would be that of training")
    return built
