"""PyTorch in eager mode: the network that an ONNX file was made from, as it is or in channels_last."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from bench.runtimes.openmp import end_threads
from bench.runtimes.torch_network import input_ranks, network_of
from study.errors import StudyError
from study.modules.outputs import array, flat, tensor
from study.records.bench import Settings

Arguments = tuple[tuple[Tensor, ...], dict[str, Tensor]]
"""Positional ones, and keywords."""


class Torch(Runtime):
    """The network in eager PyTorch, in evaluation and inference mode."""

    devices = ("cpu", "cuda")
    needs_checkpoint = True
    profiler = "bench.profile.torch_profiler:TorchSource"

    def __init__(self, model: Model, setting: Setting) -> None:
        self.device = started(setting)
        self.built = network_of(model)
        self.network = self.built.network.to(self.device)
        self.call: Callable[..., Any] = self.network

    def to_native(self, inputs: Inputs) -> Arguments:
        return self.built.arguments({name: tensor(array).to(self.device) for name, array in inputs.items()})

    def run(self, inputs: Arguments) -> Any:
        positional, keywords = inputs
        result = self.call(*positional, **keywords)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return result

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [array(one.cpu()) for _, one in flat(outputs)]

    def context(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def settings(self) -> Settings:
        return torch_settings(self.device)

    def close(self) -> None:
        for name in ("network", "built", "call", "compiled"):
            self.__dict__.pop(name, None)  # the weights, even if someone still holds the engine
        torch.set_num_threads(1)
        end_threads()


class TorchChannelsLast(Torch):
    """The same with weights and 4-D inputs in the layout NHWC, in which oneDNN convolves without reordering them."""

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        if reason := self.refusal(model):
            raise StudyError(reason)
        self.network = self.call = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @staticmethod
    def refusal(model: Model) -> str | None:
        ranks = input_ranks(model)
        if 4 in ranks:
            return None
        found = ", ".join(f"{rank} dimensions" for rank in ranks)
        return f"{model.name}: channels_last orders inputs of 4 dimensions, found {found}"

    def to_native(self, inputs: Inputs) -> Arguments:
        tensors = {name: tensor(array).to(self.device) for name, array in inputs.items()}
        return self.built.arguments({name: channels_last(one) for name, one in tensors.items()})

    def settings(self) -> Settings:
        return {**super().settings(), "memory_format": "channels_last"}


def channels_last(one: Tensor) -> Tensor:
    """The tensor with its channels last in memory if it has 4 dimensions; its shape stays."""
    return one.contiguous(memory_format=torch.channels_last) if one.dim() == 4 else one


def started(setting: Setting) -> torch.device:
    """The device, with torch's threads and float32 arithmetic as they are to be.

    Raises:
        StudyError: it has no such device.
    """
    if setting.device == "cuda" and not torch.cuda.is_available():
        raise StudyError("--device cuda: torch finds no GPU here; measure with --device cpu")
    torch.set_num_threads(setting.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32, as on the CPU
    return torch.device(setting.device)


def torch_settings(device: torch.device) -> Settings:
    """Settings of torch itself, read back."""
    smallest = torch.tensor([2.0**-126])
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "device": device.type,
        "subnormals_flushed": (smallest / 2).item() == 0,
    }
