"""The engines whose latency is measured, each a class with the same few methods.

A runtime of your own is a class like those here, named on the command line as `package.module:Class`. Its constructor
gets the model, the number of threads and the device, and loads the model. Mode `native` times `run` alone; mode `numpy`
times `to_native`, `run` and `to_numpy` together, from numpy arrays to numpy arrays.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from bench.models import Inputs, Model
from study.errors import StudyError
from study.records.bench import Settings

RUNTIMES = {
    "torch": "bench.runtimes.pytorch:Torch",
    "torch-channels-last": "bench.runtimes.pytorch:TorchChannelsLast",
    "torch-compile": "bench.runtimes.torch_compiled:TorchCompile",
    "torch-aoti": "bench.runtimes.torch_aoti:TorchAOTI",
    "torch-jit": "bench.runtimes.torch_compiled:TorchJit",
    "torch-sparse": "bench.runtimes.pytorch_sparse:TorchSparse",
    "onnxruntime": "bench.runtimes.onnx_runtime:ONNXRuntime",
    "onnxruntime-iobinding": "bench.runtimes.onnx_bound:ONNXRuntimeBound",
    "onnxruntime-spinning": "bench.runtimes.onnx_runtime:ONNXRuntimeSpinning",
    "onnx2fx": "bench.runtimes.by_onnx2fx:Onnx2FX",
    "onnx2torch": "bench.runtimes.by_onnx2torch:Onnx2Torch",
    "openvino": "bench.runtimes.open_vino:OpenVINO",
    "opencv": "bench.runtimes.open_cv:OpenCV",
    "tract": "bench.runtimes.tract_onnx:Tract",
    "ncnn": "bench.runtimes.ncnn_pnnx:NCNN",
    "reference": "bench.runtimes.reference:Reference",
}
PACKAGES = {"cv2": "opencv-python-headless"}
"""Packages whose name differs from that of their module."""
DEFAULT = ("torch", "onnxruntime")
DEVICES = ("cpu", "cuda")
PARTS = ("devices", "needs_checkpoint", "run", "settings", "to_native", "to_numpy", "context", "close")
"""The attributes that every runtime must have, whether or not it derives from `Runtime`."""


@dataclass(frozen=True)
class Setting:
    """How to run a model."""

    threads: int
    """Intra-op threads; operators run one at a time."""
    device: str = "cpu"
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the engine by name, for one that takes any; `settings` reports each as it was read back."""
    batch: int | None = None
    """Number of items of every call, for an engine that compiles for it; None: not known."""


class Runtime(ABC):
    """A model in an engine, ready to be called."""

    devices: Sequence[str] = ("cpu",)
    """The members of DEVICES that it supports."""
    needs_checkpoint = False
    """Whether it runs the torch network that an ONNX file was made from, and so no other ONNX files."""
    compiles = False
    """Whether its first call at a batch size compiles, and that takes seconds. The bench makes that call before its
    clock starts; what is compiled serves all later loads of the process or of the session."""
    takes_options = False
    """Whether it sets `Setting.options` and reports them by the same names in `settings`."""
    profiler = ""
    """Where `--profile` finds the class that records its operators (bench/profile): "package.module:Class"."""

    @abstractmethod
    def __init__(self, model: Model, setting: Setting) -> None:
        """Load `model.onnx`, or the checkpoint of `model.run`, and set the threads.

        Raises:
            StudyError: the model cannot be loaded; the message gives the cause and a remedy.
        """

    @abstractmethod
    def run(self, inputs: Any) -> Any:
        """One inference, from native inputs to native outputs, which are complete when it returns."""

    @abstractmethod
    def settings(self) -> Settings:
        """Settings that the engine reports: at least `threads`; strings, numbers and booleans."""

    @staticmethod  # noqa: B027  # most engines load a file as it is
    def prepare(model: Model) -> Any:
        """Do once a session what users do before they load a model, such as converting it; it is in no measurement."""

    @staticmethod
    def refusal(model: Model) -> str | None:
        """Why it runs no model such as this one, in a sentence; None if it does. Such a model is left out."""
        return None

    def to_native(self, inputs: Inputs) -> Any:
        """Convert C-contiguous arrays, by the names of the model's inputs, to the argument of `run`, on the device."""
        return inputs

    def to_numpy(self, outputs: Any) -> list[Any]:
        """Convert the result of `run` to arrays, in the order of the model's outputs.

        A sequence is a list of these, a map a dictionary, an optional that is empty None.
        """
        return list(outputs)

    def context(self) -> AbstractContextManager[Any]:
        """A context around the calls; it is entered repeatedly, outside the timing."""
        return nullcontext()

    def close(self) -> None:  # noqa: B027  # most engines hold nothing but memory
        """Release all resources, above all threads; `run` is not called again."""


def find(name: str) -> type[Runtime]:
    """The runtime called `name` in RUNTIMES, or the class at the import path `package.module:Class`.

    Raises:
        StudyError: there is no such runtime, or it cannot be imported; the message gives the remedy.
    """
    path = RUNTIMES.get(name, name)
    if ":" not in path:
        raise StudyError(
            f"no runtime is called {name!r}; there are: {', '.join(RUNTIMES)}, and your own as package.module:Class"
        )
    try:
        runtime: type[Runtime] = pkgutil.resolve_name(path)
    except Exception as error:  # a user's module may fail in any way
        package = ""
        if isinstance(error, ModuleNotFoundError) and name != path:
            package = f"; run `pip install {PACKAGES.get(str(error.name), error.name)}`"
        raise StudyError(f"the runtime {name} cannot be imported: {error}{package}") from None
    missing = [part for part in PARTS if not hasattr(runtime, part)]
    if missing:
        raise StudyError(f"the runtime {name} has no {', '.join(missing)}; see bench/runtimes/__init__.py")
    return runtime


def checked_options(name: str, runtime: type[Runtime], setting: Setting) -> None:
    """Refuse options of an engine that takes none.

    Raises:
        StudyError: there are such options.
    """
    if setting.options and not getattr(runtime, "takes_options", False):
        raise StudyError(f"{name} takes no options, found {', '.join(setting.options)}")
