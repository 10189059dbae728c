"""tract, if it is installed (`pip install tract`)."""

from typing import Any

import tract
from numpy.typing import NDArray

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.errors import StudyError, one_line
from study.records.bench import Settings


class Tract(Runtime):
    """The ONNX file in tract, which runs in the calling thread and cannot use more."""

    def __init__(self, model: Model, setting: Setting) -> None:
        if setting.threads != 1:
            raise StudyError(f"tract runs on one thread, not {setting.threads}; measure it with --threads 1")
        try:
            loaded = tract.onnx().load(model.onnx)
            names = [loaded.input_name(position) for position in range(loaded.input_count())]
            self.runnable = loaded.into_model().into_runnable()
        except tract.TractError as error:
            without_backtrace = tract.TractError(str(error).partition("\n\nStack backtrace")[0])
            reason = one_line(without_backtrace, 300)
            raise StudyError(f"{model.onnx}: tract does not load it: {reason}") from None
        self.names = names

    def to_native(self, inputs: Inputs) -> Any:
        return [tract.Tensor.from_numpy(inputs[name]) for name in self.names]

    def run(self, inputs: Any) -> Any:
        return self.runnable.run(inputs)

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        return [output.to_numpy() for output in outputs]

    def settings(self) -> Settings:
        return {"threads": 1, "device": "cpu", "version": tract.version()}

    def close(self) -> None:
        del self.runnable
