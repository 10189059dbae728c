"""Run ONNX Runtime's quantisers and its optimiser."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

BLOCK = 32
"""Inputs that share a scale."""
Inputs = Mapping[str, NDArray[Any]]


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """Inputs, from which the range of every activation is taken."""

    def __init__(self, samples: Iterable[Inputs]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> Inputs | None:
        return next(self.samples, None)


def in_blocks(before: Path, path: Path, layout: QuantFormat, bits: int = 4, symmetric: bool = False) -> None:
    """Quantise the weights of MatMuls, to MatMulNBits or to DequantizeLinear."""
    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=symmetric, quant_format=layout, bits=bits)
    quantizer = MatMulNBitsQuantizer(onnx.load(before), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(path))


def optimise(before: Path, path: Path, level: str = "ALL") -> None:
    """Write what ONNX Runtime makes of a file when it loads it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(before), options, providers=["CPUExecutionProvider"])
