"""The engines whose latency is measured, each a class with the same few methods.

A runtime of the user's own is a class like those here, named on the command line as `package.module:Class`. It is told
the model, the number of threads and the device when it is made, and loads then. What is timed is `run` alone in mode
`native`, and in mode `numpy` the way from numpy arrays to numpy arrays: `to_native`, `run`, `to_numpy`.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bench.models import Inputs, Model
from study.errors import StudyError

RUNTIMES = {
    "torch": "bench.runtimes.pytorch:Torch",
    "torch-compile": "bench.runtimes.pytorch:TorchCompile",
    "onnxruntime": "bench.runtimes.onnx_runtime:ONNXRuntime",
    "openvino": "bench.runtimes.open_vino:OpenVINO",
    "opencv": "bench.runtimes.open_cv:OpenCV",
    "tract": "bench.runtimes.tract_onnx:Tract",
    "ncnn": "bench.runtimes.ncnn_pnnx:NCNN",
    "reference": "bench.runtimes.reference:Reference",
}
PACKAGES = {"cv2": "opencv-python-headless"}
"""Those that are not called as the module in them is."""
DEFAULT = ("torch", "onnxruntime")
DEVICES = ("cpu", "cuda")
PARTS = ("devices", "needs_checkpoint", "run", "settings", "to_native", "to_numpy", "context", "close")
"""What every runtime has, also one that is not derived from `Runtime`."""


@dataclass(frozen=True)
class Setting:
    """How a model is to be run."""

    threads: int
    """That one operator may use; there is one operator at a time."""
    device: str = "cpu"


class Runtime(ABC):
    """A model in an engine, ready to be called."""

    devices: Sequence[str] = ("cpu",)
    """Of DEVICES, those it knows to use."""
    needs_checkpoint = False
    """Whether it runs a model of the catalogue from its checkpoint, and so no ONNX file of the user's."""

    @abstractmethod
    def __init__(self, model: Model, setting: Setting) -> None:
        """Load `model.onnx`, or the checkpoint of `model.run`, and set the threads.

        Raises:
            StudyError: it cannot be loaded so; the message says why and what to do.
        """

    @abstractmethod
    def run(self, inputs: Any) -> Any:
        """One inference, native inputs to native outputs; when it returns, the outputs are there."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the engine itself says it uses: at least `threads`; strings, numbers and booleans."""

    def to_native(self, inputs: Inputs) -> Any:
        """C-contiguous arrays by the names of the model's inputs to what `run` takes, on the device."""
        return inputs

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        """What `run` gives to arrays, in the order of the model's outputs."""
        return list(outputs)

    def context(self) -> AbstractContextManager[Any]:
        """Entered around the calls, again and again, and never timed."""
        return nullcontext()

    def close(self) -> None:  # noqa: B027  # most have nothing to give back but memory
        """Give back what it holds, its threads above all; `run` is not called any more."""


def find(name: str) -> type[Runtime]:
    """The runtime called `name` in RUNTIMES, or the class at the import path `package.module:Class`.

    Raises:
        StudyError: there is none; the message lists those there are.
    """
    path = RUNTIMES.get(name, name)
    if ":" not in path:
        raise StudyError(
            f"no runtime is called {name!r}; there are: {', '.join(RUNTIMES)}, and your own as package.module:Class"
        )
    try:
        found: type[Runtime] = pkgutil.resolve_name(path)
    except Exception as error:  # a user's module may fail in any way
        package = ""
        if isinstance(error, ModuleNotFoundError) and name != path:
            package = f"; run `pip install {PACKAGES.get(str(error.name), error.name)}`"
        raise StudyError(f"the runtime {name} cannot be imported: {error}{package}") from None
    missing = [part for part in PARTS if not hasattr(found, part)]
    if missing:
        raise StudyError(f"the runtime {name} has no {', '.join(missing)}; see bench/runtimes/__init__.py")
    return found
