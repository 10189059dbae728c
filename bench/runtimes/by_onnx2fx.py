"""PyTorch for ONNX files that the package onnx2fx converts (`pip install onnx2fx`)."""

import onnx2fx
from torch import nn

from bench.models import Model
from bench.runtimes.onnx_to_torch import Converted


class Onnx2FX(Converted):
    """A graph of torch's functions."""

    package = "onnx2fx"

    @staticmethod
    def converted(model: Model) -> nn.Module:
        network: nn.Module = onnx2fx.convert(str(model.onnx))
        return network
