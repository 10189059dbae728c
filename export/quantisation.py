"""A float ONNX model with its products in 8-bit integers, by ONNX Runtime's quantiser.

Static: the ranges of the activations are found beforehand on training images, and written as QuantizeLinear and
DequantizeLinear around what remains ordinary operators. Dynamic: each call finds them anew over its whole batch, so
what is computed for an image depends on those beside it; its products are ConvInteger and MatMulInteger. Both are
operators of ai.onnx alone, of opset 13 or older. docs/portability.md says which runtimes compute them.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import QuantType
from torch import Tensor

from study.errors import StudyError, one_line
from study.evaluation import batches

CALIBRATION_IMAGES = 512
"""The first training images; with 512 to 2,048 of them, and in whichever way the ranges are found, the test error is
within 0.2 points of the float model's."""
PRODUCTS = ("Conv", "Gemm", "MatMul")
PASSED_THROUGH = ("Relu", "MaxPool", "Flatten")
"""Between two products these take integers as well. All else remains in float32, the softmax above all: around that
tract 0.23 computes something else without a word."""
QUANTISED = {"QuantizeLinear", "DynamicQuantizeLinear"}
PREPARED = "onnx.quant.pre_process"
"""Without this entry in its metadata the quantiser writes a warning; the exporter has folded what can be."""


def quantise(model: ModelProto, calibration: Tensor | None, method: Literal["static", "dynamic"]) -> ModelProto:
    """The same network in 8-bit integers; the same model and images give the same bytes.

    Weights are signed and symmetric, one scale an output channel, and of 7 bits (-64 to 64): where a processor has no
    instruction for sums of 8-bit products, those of 8 bits overflow 16 without a word and another result comes out.
    (Dynamic: unsigned, one scale a tensor, which is all that older ONNX Runtimes have for ConvInteger.)

    Args:
        model: float32, images in 0..1 as its one input; is not changed.
        calibration: the first training images, uint8 [N, C, H, W]; None will do for "dynamic".

    Raises:
        StudyError: the quantiser fails, or finds nothing to quantise.
    """
    with tempfile.TemporaryDirectory() as folder:  # it writes beside the file that it reads
        given, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        prepared = ModelProto()
        prepared.CopyFrom(model)
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
        except Exception as error:  # whatever it has against this graph
            raise StudyError(f"ONNX Runtime's quantiser fails: {one_line(error, 300)}") from None
        finally:
            logging.root.handlers[:] = handlers  # its messages, though nobody sees them, set up logging
        result = onnx.load(made, load_external_data=False)
    if not any(node.op_type in QUANTISED for node in result.graph.node):
        raise StudyError(f"expected a model with {', '.join(PRODUCTS)} to quantise, found none of them")
    _restore(result, model, method, 0 if calibration is None else len(calibration))
    return result


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Images as the model takes them, in batches."""

    def __init__(self, name: str, images: Tensor) -> None:
        self.inputs: Iterator[dict[str, NDArray[np.float32]]] = ({name: b.numpy()} for b in batches(images))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self.inputs, None)


def _restore(result: ModelProto, model: ModelProto, method: str, images: int) -> None:
    """Metadata and producer of `model`, with what has been done; the quantiser's own notes are dropped."""
    told = {
        "static": f"static, QDQ, activations uint8, weights int8 of 7 bits a channel, calibrated on the first {images}"
        " training images",
        "dynamic": "dynamic, activations uint8 with the range of each batch, weights uint8 of 7 bits a tensor",
    }
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    del result.metadata_props[:]
    props = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(result, {**props, "int8": told[method]})
    del result.graph.value_info[:]  # of the float model; runtimes infer them
