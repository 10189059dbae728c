"""ONNX Runtime: the CPU provider, or the CUDA provider of the package onnxruntime-gpu."""

import mmap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.errors import StudyError, in_one_line
from study.ort_values import needs_values, numpy_array, ort_value
from study.records.bench import Settings

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PROVIDER_OPTIONS = {"cpu": {}, "cuda": {"use_tf32": "0"}}  # float32, as on the CPU
SPINNING, DENORMAL = "session.intra_op.allow_spinning", "session.set_denormal_as_zero"
LEVELS = {"disable": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED"}
LEVELS |= {"layout": "ORT_ENABLE_LAYOUT", "all": "ORT_ENABLE_ALL"}
MOST_THREADS = 1024
SWITCHES = {"0": False, "1": True}


class ONNXRuntime(Runtime):
    """The ONNX file; waiting threads do not spin, because they would occupy the cores of the next measurement."""

    devices = ("cpu", "cuda")
    takes_options = True
    profiler = "bench.profile.onnx_runtime:ONNXRuntimeSource"
    spinning = "0"

    def __init__(self, model: Model, setting: Setting) -> None:
        provider = PROVIDERS[setting.device]
        if provider not in onnxruntime.get_available_providers():
            raise StudyError(f"--device {setting.device}: this onnxruntime has no {provider}; install onnxruntime-gpu")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setting.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry(SPINNING, self.spinning)
        options.add_session_config_entry(DENORMAL, "0")
        self.given = setting.options
        for name, value in self.given.items():
            _set(options, name, value)
        self.configure(options)
        with in_one_line(f"{model.onnx}: ONNX Runtime does not load it"):
            self.session = onnxruntime.InferenceSession(
                model.onnx, options, providers=[(provider, PROVIDER_OPTIONS[setting.device])]
            )
        if self.session.get_providers()[0] != provider:
            raise StudyError(f"--device {setting.device}: {provider} does not start here; measure with --device cpu")
        self.device = setting.device
        self.names = [value.name for value in self.session.get_outputs()]
        self.without_numpy = needs_values(self.session)

    def configure(self, options: Any) -> None:
        """Further options of the session, for a class derived from this one."""

    def to_native(self, inputs: Inputs) -> Any:
        if self.device == "cpu":
            if not all(array.flags.c_contiguous for array in inputs.values()):
                raise ValueError("arrays that are not contiguous would be copied in every call")
            return {name: ort_value(array) for name, array in inputs.items()} if self.without_numpy else dict(inputs)
        binding = self.session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, self.device, 0))
        for name in self.names:
            binding.bind_output(name, self.device)
        return binding

    def run(self, inputs: Any) -> Any:
        if self.device == "cpu":
            run = self.session.run_with_ort_values if self.without_numpy else self.session.run
            return run(None, inputs)
        self.session.run_with_iobinding(inputs)
        inputs.synchronize_outputs()
        return inputs

    def to_numpy(self, outputs: Any) -> list[Any]:
        if self.device != "cpu":
            return list(outputs.copy_outputs_to_cpu())
        return [numpy_array(value) for value in outputs] if self.without_numpy else list(outputs)

    def settings(self) -> Settings:
        options = self.session.get_session_options()
        return {
            "threads": options.intra_op_num_threads,
            "interop_threads": options.inter_op_num_threads,
            "device": self.device,
            "provider": self.session.get_providers()[0],
            "spinning": options.get_session_config_entry(SPINNING) != "0",
            "subnormals_flushed": options.get_session_config_entry(DENORMAL) != "0",
            **{name: _read_back(options, name) for name in self.given},
        }

    def close(self) -> None:
        del self.session


def _set(options: Any, name: str, value: str) -> None:
    """Set an option of a session: an attribute of SessionOptions, or an entry of its configuration.

    Raises:
        StudyError: this ONNX Runtime has no such option, which it would accept without a word, or no such value.
    """
    if "." in name:
        if not _has_entry(name):
            raise StudyError(f"onnxruntime {onnxruntime.__version__} has no session configuration entry {name!r}")
        options.add_session_config_entry(name, value)
        return
    values = _values()
    if name not in values:
        raise StudyError(f"expected an option {', '.join(values)} or session.NAME, found {name!r}")
    if value not in values[name]:
        some = f"1 to {MOST_THREADS}" if len(values[name]) > 10 else " or ".join(values[name])
        raise StudyError(f"option {name}: expected {some}, found {value!r}")
    setattr(options, name, values[name][value])


def _read_back(options: Any, name: str) -> str:
    if "." in name:
        return str(options.get_session_config_entry(name))
    found = getattr(options, name)
    return next((word for word, value in _values()[name].items() if value == found), str(found))


def _values() -> dict[str, Mapping[str, Any]]:
    """The attributes of SessionOptions that a user may set, each with the values of its words."""
    levels = onnxruntime.GraphOptimizationLevel
    modes = onnxruntime.ExecutionMode
    return {
        "graph_optimization_level": {w: getattr(levels, name) for w, name in LEVELS.items() if hasattr(levels, name)},
        "inter_op_num_threads": {str(number): number for number in range(1, MOST_THREADS + 1)},
        "execution_mode": {"sequential": modes.ORT_SEQUENTIAL, "parallel": modes.ORT_PARALLEL},
        "enable_mem_pattern": SWITCHES,
        "enable_mem_reuse": SWITCHES,
        "enable_cpu_mem_arena": SWITCHES,
    }


@cache
def _has_entry(name: str) -> bool:
    """Whether the library of ONNX Runtime contains this name, and so may look it up; True where no library is found.

    The search takes 7 ms, twice as long as loading a small model.
    """
    folder = Path(onnxruntime.__file__).parent / "capi"
    libraries = [file for file in folder.iterdir() if {".so", ".pyd", ".dll", ".dylib"} & set(file.suffixes)]
    for library in libraries:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(name.encode() + b"\0") >= 0:
                return True
    return not libraries


class ONNXRuntimeSpinning(ONNXRuntime):
    """The same as ONNX Runtime is by default: waiting threads spin, so with one thread nothing differs."""

    spinning = "1"
