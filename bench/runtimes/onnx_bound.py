"""ONNX Runtime with I/O binding: inputs and outputs are bound once, and the outputs' memory is reserved beforehand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.models import Inputs, Model
from bench.runtimes import Setting
from bench.runtimes.onnx_runtime import ONNXRuntime
from study.errors import StudyError, one_line
from study.ort_values import numpy_array, ort_value
from study.records.bench import Settings

Shapes = tuple[tuple[int, ...], ...]


class ONNXRuntimeBound(ONNXRuntime):
    """The same session, called with a binding for each element of the pool.

    The outputs of one signature of inputs share their memory: the next call overwrites them. In mode numpy each call
    binds its inputs, as arrays that come from elsewhere must be.
    """

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        self.name = model.name
        self.outputs: dict[Shapes, list[Any]] = {}

    def to_native(self, inputs: Inputs) -> Any:
        if not all(array.flags.c_contiguous for array in inputs.values()):
            raise ValueError("arrays that are not contiguous would be copied in every call")
        values = {name: ort_value(array, self.device) for name, array in inputs.items()}
        binding = self.session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        shapes = tuple(array.shape for array in inputs.values())
        if shapes not in self.outputs:
            self.outputs[shapes] = self._reserved(inputs)
        for name, value in zip(self.names, self.outputs[shapes], strict=True):
            binding.bind_ortvalue_output(name, value)
        return binding, self.outputs[shapes], values

    def _reserved(self, inputs: Inputs) -> list[Any]:
        """Memory for the outputs, of the shapes that one call gives."""
        values = {name: ort_value(array, "cpu") for name, array in inputs.items()}
        made = self.session.run_with_ort_values(None, values)
        if any(not value.is_tensor() or value.data_type() == "tensor(string)" for value in made):
            raise StudyError(f"{self.name}: an output is no tensor of numbers, for which no memory can be reserved")
        return made if self.device == "cpu" else [ort_value(numpy_array(value), self.device) for value in made]

    def run(self, inputs: Any) -> Any:
        binding, outputs, _ = inputs
        try:
            self.session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime raises exceptions of several types
            raise StudyError(f"{self.name}: it does not run with its outputs bound: {one_line(error)}") from None
        if self.device != "cpu":
            binding.synchronize_outputs()
        return outputs

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [np.array(numpy_array(value)) for value in outputs]

    def settings(self) -> Settings:
        return {**super().settings(), "io_binding": True}
