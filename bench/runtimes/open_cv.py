"""OpenCV's DNN module, if it is installed (`pip install opencv-python-headless`)."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.models import Inputs, Model
from bench.runtimes import Runtime, Setting
from study.errors import in_one_line
from study.records.bench import Settings


class OpenCV(Runtime):
    """The ONNX file in OpenCV's own CPU backend, whose number of threads is global to the process."""

    def __init__(self, model: Model, setting: Setting) -> None:
        cv2.setNumThreads(setting.threads)
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it also raises what it logs
        with in_one_line(f"{model.onnx}: OpenCV does not load it"):
            self.net = cv2.dnn.readNetFromONNX(str(model.onnx))
        self.names = self.net.getUnconnectedOutLayersNames()

    def run(self, inputs: Inputs) -> Any:
        for name, array in inputs.items():
            self.net.setInput(array, name)
        return self.net.forward(self.names)

    def to_numpy(self, outputs: Any) -> list[NDArray[Any]]:
        empty = np.zeros(0, np.float32)
        return [empty if output is None else np.array(output) for output in outputs]  # None is an array without values

    def settings(self) -> Settings:
        return {"threads": cv2.getNumThreads(), "device": "cpu", "version": cv2.__version__}

    def close(self) -> None:
        del self.net
        cv2.setNumThreads(1)  # ends the other threads
