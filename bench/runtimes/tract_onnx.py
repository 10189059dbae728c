"""tract, if it is installed (`pip install tract`)."""

from typing import Any

import tract
from numpy.typing import NDArray

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.errors import StudyError, in_one_line
from study.records.bench import Settings


class Tract(Runtime):
    """The ONNX file in tract, which runs in the calling thread and cannot use more."""

    def __init__(self, model: Model, setting: Setting) -> None:
        if setting.threads != 1:
            raise StudyError(f"tract runs on one thread, not {setting.threads}; measure it with --threads 1")
        with in_one_line(f"{model.onnx}: tract does not load it"):
            loaded = tract.onnx().load(model.onnx)
            names = [loaded.input_name(position) for position in range(loaded.input_count())]
            self.runnable = loaded.into_model().into_runnable()
        self.names = names

    def to_native(self, inputs: Inputs) -> Any:
        return [tract.Tensor.from_numpy(inputs[name]) for name in self.names]

    def run(self, inputs: Any) -> Any:
        return self.runnable.run(inputs)

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [_array(output) for output in outputs]

    def settings(self) -> Settings:
        return {"threads": 1, "device": "cpu", "version": tract.version()}

    def close(self) -> None:
        del self.runnable


def _array(tensor: Any) -> NDArray[Any]:
    try:
        array: NDArray[Any] = tensor.to_numpy()
    except tract.TractError:  # int64 that it takes for a size, in a type of its own
        array = tensor.convert_to(tract.DatumType.I64).to_numpy()
    return array
