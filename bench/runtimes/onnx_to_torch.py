"""PyTorch for any ONNX file that a converter turns into a torch module: what its runtimes have in common."""

from abc import abstractmethod
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from bench.runtimes.openmp import end_threads
from study.errors import StudyError, one_line
from study.modules.outputs import array, tensor
from study.records.bench import Settings


class Converted(Runtime):
    """The network that a converter makes of an ONNX file, in eager PyTorch: its modules are not those of the author."""

    package = ""
    """Name of the converter."""

    devices = ("cpu", "cuda")

    def __init__(self, model: Model, setting: Setting) -> None:
        if setting.device == "cuda" and not torch.cuda.is_available():
            raise StudyError("--device cuda: torch finds no GPU here; measure with --device cpu")
        torch.set_num_threads(setting.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32, as on the CPU
        self.device = torch.device(setting.device)
        self.names = [one.name for one in model.facts.inputs]
        try:
            self.network = self.converted(model).eval().to(self.device)
        except Exception as error:  # of any kind: it has converters of its own for each operator
            raise StudyError(f"{model.onnx}: {self.package} does not convert it: {self.reason(error)}") from None

    @staticmethod
    @abstractmethod
    def converted(model: Model) -> nn.Module:
        """The network of an ONNX file, which takes its inputs by position."""

    @staticmethod
    def reason(error: Exception) -> str:
        """Why a file is not converted, in one line."""
        return f"{type(error).__name__}: {one_line(error)}"

    def to_native(self, inputs: Inputs) -> list[Tensor]:
        return [tensor(inputs[name]).to(self.device) for name in self.names]

    def run(self, inputs: list[Tensor]) -> Any:
        result = self.network(*inputs)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return result

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [array(one.cpu()) for one in ([outputs] if isinstance(outputs, Tensor) else outputs)]

    def context(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def settings(self) -> Settings:
        return {"threads": torch.get_num_threads(), "device": self.device.type, self.package: version(self.package)}

    def close(self) -> None:
        torch.set_num_threads(1)
        end_threads()
