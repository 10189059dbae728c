"""PyTorch: the checkpoint in eager mode, and compiled by Inductor."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from bench.runtimes.openmp import end_threads
from study import checkpoints
from study.errors import StudyError, one_line
from study.records.bench import Settings


class Torch(Runtime):
    """The checkpoint in eager PyTorch, in evaluation and inference mode, with a softmax like the ONNX file's."""

    devices = ("cpu", "cuda")
    needs_checkpoint = True

    def __init__(self, model: Model, setting: Setting) -> None:
        if model.entry is None or model.run is None:
            raise StudyError(
                f"{model.onnx}: torch runs models of the catalogue, not ONNX files; leave it out of --runtimes"
            )
        if setting.device == "cuda" and not torch.cuda.is_available():
            raise StudyError("--device cuda: torch finds no GPU here; measure with --device cpu")
        torch.set_num_threads(setting.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32, as on the CPU
        self.device = torch.device(setting.device)
        self.network = checkpoints.load(model.entry, model.run).to(self.device)
        if any(module.training for module in self.network.modules()):
            raise StudyError(f"{model.entry.network} stays in training mode: its latency would be that of training")
        self.probabilities: Callable[[Tensor], Any] = nn.Sequential(self.network, nn.Softmax(dim=1))

    def to_native(self, inputs: Inputs) -> Tensor:
        (images,) = inputs.values()
        return torch.from_numpy(images).to(self.device)

    def run(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.probabilities(inputs)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return result

    def to_numpy(self, outputs: Tensor) -> list[NDArray[Any]]:
        return [outputs.cpu().numpy()]

    def context(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def settings(self) -> Settings:
        smallest = torch.tensor([2.0**-126])
        return {
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "device": next(self.network.parameters()).device.type,
            "subnormals_flushed": (smallest / 2).item() == 0,
        }

    def close(self) -> None:
        torch.set_num_threads(1)
        end_threads()


class TorchCompile(Torch):
    """The same, compiled by `torch.compile` (Inductor); the first call of each batch size compiles."""

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        self.probabilities = torch.compile(self.probabilities, fullgraph=True, dynamic=False)

    def run(self, inputs: Tensor) -> Tensor:
        try:
            return super().run(inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = one_line(error)
            raise StudyError(f"torch.compile fails here ({reason}); it needs a C++ compiler such as g++") from None

    def close(self) -> None:
        super().close()
        torch.compiler.reset()  # torch keeps a few compiled graphs for each function and refuses to make more
