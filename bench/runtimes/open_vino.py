"""OpenVINO, if it is installed (`pip install openvino`)."""

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import properties

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.errors import in_one_line
from study.records.bench import Settings


class OpenVINO(Runtime):
    """The ONNX file in OpenVINO's CPU plugin, in float32: by default it uses bfloat16 if the processor supports it."""

    takes_options = True
    profiler = "bench.profile.open_vino:OpenVINOSource"

    def __init__(self, model: Model, setting: Setting) -> None:
        core = openvino.Core()
        with in_one_line(f"{model.onnx}: OpenVINO does not load it"):
            self.compiled = core.compile_model(
                str(model.onnx),
                "CPU",
                {
                    properties.inference_num_threads: setting.threads,
                    properties.num_streams: 1,
                    properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
                    properties.hint.inference_precision: openvino.Type.f32,
                    properties.hint.enable_cpu_pinning: False,
                    **setting.options,
                },
            )
        self.given = setting.options
        self.request = self.compiled.create_infer_request()

    def run(self, inputs: Inputs) -> Any:
        return self.request.infer(inputs, share_inputs=True, share_outputs=True)

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [np.array(outputs[port]) for port in self.compiled.outputs]

    def settings(self) -> Settings:
        return {
            "threads": self.compiled.get_property(properties.inference_num_threads),
            "streams": self.compiled.get_property(properties.num_streams),
            "device": "cpu",
            "precision": self.compiled.get_property(properties.hint.inference_precision).to_string(),
            **{name: _word(self.compiled.get_property(name)) for name in self.given},
        }

    def close(self) -> None:
        del self.request, self.compiled


def _word(value: Any) -> str:
    """The value of a property as it is written when it is set."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    return str(value.to_string() if hasattr(value, "to_string") else getattr(value, "name", value))
