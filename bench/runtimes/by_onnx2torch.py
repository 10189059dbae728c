"""PyTorch for ONNX files that the package onnx2torch converts (`pip install onnx2torch`)."""

import re

import onnx
from torch import nn

from bench.models import Model
from bench.runtimes.onnx_to_torch import Converted
from study.data.tensors import import_torchvision
from study.onnx_graph import STANDARD

import_torchvision()  # which onnx2torch imports, and which may be built for another torch
import onnx2torch  # noqa: E402

NO_CONVERTER = re.compile(r"OperationDescription\(domain='(.*)', operation_type='(\w+)', version=(\d+)\)")
"""The operator in onnx2torch's message on one that it does not know."""


class Onnx2Torch(Converted):
    """The modules of onnx2torch."""

    package = "onnx2torch"

    @staticmethod
    def converted(model: Model) -> nn.Module:
        network: nn.Module = onnx2torch.convert(with_initializers(onnx.load(model.onnx)))
        return network

    @staticmethod
    def reason(error: Exception) -> str:
        if not (found := NO_CONVERTER.search(str(error))):
            return Converted.reason(error)
        domain = f" of {found[1]}" if found[1] else ""
        return f"it has no {found[2]}{domain} of version {found[3]}"


def with_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the tensors of its Constant nodes as initializers: onnx2torch takes weights from these alone."""
    kept = []
    for node in model.graph.node:
        value = next((one.t for one in node.attribute if one.name == "value"), None)
        if node.op_type == "Constant" and node.domain in STANDARD and value is not None:
            held = model.graph.initializer.add()
            held.CopyFrom(value)
            held.name = node.output[0]
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model
