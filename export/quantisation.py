"""Quantise a float ONNX model: its matrix products in 8-bit integers, by ONNX Runtime's quantiser.

Static: the ranges of the activations are calibrated on training images and stored as QuantizeLinear and
DequantizeLinear around otherwise ordinary operators. Dynamic: every call measures the ranges over its whole batch, so
the result for an image depends on the other images of its batch; the products are ConvInteger and MatMulInteger. Both
use operators of ai.onnx alone, from opset 13 or older. docs/portability.md lists the runtimes that compute them.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import QuantType
from torch import Tensor

from export.portable.edits import unique, value_names
from study.data import tensors
from study.errors import StudyError, one_line
from study.evaluation import batches

CALIBRATION_IMAGES = 512
"""The first training images. With 512 to 2,048 of them, and with every calibration method, the test error is within
0.2 points of the float model's."""
PRODUCTS = ("Conv", "Gemm", "MatMul")
PASSED_THROUGH = ("Relu", "MaxPool", "Flatten")
"""Operators between two products that take integers as well. All others stay in float32, the softmax above all: tract
0.23 silently computes something else around a quantised one."""
QUANTISERS = {"QuantizeLinear", "DynamicQuantizeLinear"}
PREPARED = "onnx.quant.pre_process"
"""Metadata key without which the quantiser warns about missing preprocessing; the exporter has folded all constants."""


def calibration_images(data: Path, dataset: str) -> Tensor:
    """The training images of a data set for static quantisation, uint8 [N, C, H, W]."""
    return tensors.load(data, train=True, dataset=dataset)[0][:CALIBRATION_IMAGES]


def quantise(model: ModelProto, calibration: Tensor | None, method: Literal["static", "dynamic"]) -> ModelProto:
    """The same network in 8-bit integers; the same model and images give the same bytes.

    Static weights are signed and symmetric, one scale per output channel, in 7 bits (-64 to 64): without an instruction
    for sums of 8-bit products, a processor's 16-bit sums saturate silently with 8-bit weights. Dynamic weights are
    unsigned, one scale per tensor, which is all that older ONNX Runtimes support in ConvInteger.

    Args:
        model: float32, with images in 0..1 as its only input; not changed.
        calibration: the first training images, uint8 [N, C, H, W]; may be None for "dynamic".

    Raises:
        StudyError: the quantiser fails, or the model has no products.
    """
    with tempfile.TemporaryDirectory() as folder:  # the quantiser writes next to its input
        given, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        prepared = ModelProto()
        prepared.CopyFrom(model)
        if method == "dynamic":
            _separate(prepared.graph)
        onnx.helper.set_model_props(prepared, {PREPARED: "onnxruntime.quant"})
        given.write_bytes(prepared.SerializeToString())
        handlers = logging.root.handlers[:]
        try:
            if method == "static":
                assert calibration is not None
                quantization.quantize_static(
                    given,
                    made,
                    _Images(model.graph.input[0].name, calibration),
                    op_types_to_quantize=[*PRODUCTS, *PASSED_THROUGH],
                    per_channel=True,
                    reduce_range=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                )
            else:
                quantization.quantize_dynamic(
                    given, made, op_types_to_quantize=list(PRODUCTS), reduce_range=True, weight_type=QuantType.QUInt8
                )
        except Exception as error:  # of any kind, for anything it does not support in this graph
            raise StudyError(f"ONNX Runtime's quantiser fails: {one_line(error, 300)}") from None
        finally:
            logging.root.handlers[:] = handlers  # its messages, though not shown, install a root handler
        result = onnx.load(made, load_external_data=False)
    if not any(node.op_type in QUANTISERS for node in result.graph.node):
        raise StudyError(f"expected a model with {', '.join(PRODUCTS)} to quantise, found none of them")
    _describe(result, model, method, 0 if calibration is None else len(calibration))
    return result


def _separate(graph: GraphProto) -> None:
    """Give each product a weight of its own: the dynamic quantiser fails, or goes wrong, where several share one."""
    tensors, used = {tensor.name: tensor for tensor in graph.initializer}, set()
    taken = value_names(graph)
    for node in graph.node:
        for position, name in enumerate(node.input if node.op_type in PRODUCTS else ()):
            if name in used:
                graph.initializer.add().CopyFrom(tensors[name])
                graph.initializer[-1].name = node.input[position] = unique(name, taken)
            elif name in tensors:
                used.add(name)


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Feeds images to the model in batches."""

    def __init__(self, name: str, images: Tensor) -> None:
        self.inputs: Iterator[dict[str, NDArray[np.float32]]] = ({name: b.numpy()} for b in batches(images))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self.inputs, None)


def _describe(result: ModelProto, model: ModelProto, method: str, images: int) -> None:
    """Copy metadata and producer from `model`, and add how it was quantised; drop the quantiser's own notes."""
    description = {
        "static": f"static, QDQ, activations uint8, weights int8 of 7 bits a channel, calibrated on the first {images}"
        " training images",
        "dynamic": "dynamic, activations uint8 with the range of each batch, weights uint8 of 7 bits a tensor",
    }
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    del result.metadata_props[:]
    props = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(result, {**props, "int8": description[method]})
    del result.graph.value_info[:]  # shapes of the float model; runtimes infer them
