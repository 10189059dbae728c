"""PyTorch: the network that an ONNX file was made from in eager mode, and compiled by Inductor."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from bench.runtimes.openmp import end_threads
from bench.runtimes.torch_network import network_of
from study.errors import StudyError, one_line
from study.modules.building import flat
from study.records.bench import Settings

Arguments = tuple[tuple[Tensor, ...], dict[str, Tensor]]
"""Positional ones, and keywords."""


class Torch(Runtime):
    """The network in eager PyTorch, in evaluation and inference mode."""

    devices = ("cpu", "cuda")
    needs_checkpoint = True
    profiler = "bench.profile.torch_profiler:TorchSource"

    def __init__(self, model: Model, setting: Setting) -> None:
        if setting.device == "cuda" and not torch.cuda.is_available():
            raise StudyError("--device cuda: torch finds no GPU here; measure with --device cpu")
        torch.set_num_threads(setting.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32, as on the CPU
        self.device = torch.device(setting.device)
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
        smallest = torch.tensor([2.0**-126])
        return {
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "device": self.device.type,
            "subnormals_flushed": (smallest / 2).item() == 0,
        }

    def close(self) -> None:
        torch.set_num_threads(1)
        end_threads()


class TorchCompile(Torch):
    """The same, compiled by `torch.compile` (Inductor); the first call of each batch size compiles."""

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        self.call = torch.compile(self.call, fullgraph=True, dynamic=False)

    def run(self, inputs: Arguments) -> Any:
        try:
            return super().run(inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = one_line(error)
            raise StudyError(f"torch.compile fails here ({reason}); it needs a C++ compiler such as g++") from None

    def close(self) -> None:
        super().close()
        torch.compiler.reset()  # torch keeps a few compiled graphs for each function and refuses to make more


def tensor(values: NDArray[Any]) -> Tensor:
    """The tensor that shares the memory of an array, of bfloat16 too."""
    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def array(values: Tensor) -> NDArray[Any]:
    """The array that shares the memory of a tensor on the CPU, of bfloat16 too."""
    if values.dtype == torch.bfloat16:
        import ml_dtypes

        bits: NDArray[Any] = values.contiguous().view(torch.uint16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    return values.numpy()
