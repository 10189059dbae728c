"""ONNX Runtime: the CPU provider, or the CUDA provider of the package onnxruntime-gpu."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.errors import StudyError, one_line
from study.records.bench import Settings

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PROVIDER_OPTIONS = {"cpu": {}, "cuda": {"use_tf32": "0"}}  # float32, as on the CPU
SPINNING, DENORMAL = "session.intra_op.allow_spinning", "session.set_denormal_as_zero"


class ONNXRuntime(Runtime):
    """The ONNX file; waiting threads do not spin, because they would occupy the cores of the next measurement."""

    devices = ("cpu", "cuda")

    def __init__(self, model: Model, setting: Setting) -> None:
        provider = PROVIDERS[setting.device]
        if provider not in onnxruntime.get_available_providers():
            raise StudyError(f"--device {setting.device}: this onnxruntime has no {provider}; install onnxruntime-gpu")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setting.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry(SPINNING, "0")
        options.add_session_config_entry(DENORMAL, "0")
        try:
            self.session = onnxruntime.InferenceSession(
                model.onnx, options, providers=[(provider, PROVIDER_OPTIONS[setting.device])]
            )
        except Exception as error:  # onnxruntime's exceptions, one for each of its codes, have no common base
            raise StudyError(f"{model.onnx}: ONNX Runtime does not load it: {one_line(error, 300)}") from None
        if self.session.get_providers()[0] != provider:
            raise StudyError(f"--device {setting.device}: {provider} does not start here; measure with --device cpu")
        self.device = setting.device
        self.names = [value.name for value in self.session.get_outputs()]

    def to_native(self, inputs: Inputs) -> Any:
        if self.device == "cpu":
            if not all(array.flags.c_contiguous for array in inputs.values()):
                raise ValueError("arrays that are not contiguous would be copied in every call")
            return dict(inputs)
        binding = self.session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, self.device, 0))
        for name in self.names:
            binding.bind_output(name, self.device)
        return binding

    def run(self, inputs: Any) -> Any:
        if self.device == "cpu":
            return self.session.run(None, inputs)
        self.session.run_with_iobinding(inputs)
        inputs.synchronize_outputs()
        return inputs

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [np.asarray(a) for a in (outputs if self.device == "cpu" else outputs.copy_outputs_to_cpu())]

    def settings(self) -> Settings:
        options = self.session.get_session_options()
        return {
            "threads": options.intra_op_num_threads,
            "interop_threads": options.inter_op_num_threads,
            "device": self.device,
            "provider": self.session.get_providers()[0],
            "spinning": options.get_session_config_entry(SPINNING) != "0",
            "subnormals_flushed": options.get_session_config_entry(DENORMAL) != "0",
        }

    def close(self) -> None:
        del self.session
