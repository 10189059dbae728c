"""The proof that an ONNX file computes what its checkpoint computes."""

from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.artifacts import LARGEST_DIFFERENCE
from study.evaluation import batches, logits


@dataclass(frozen=True)
class Parity:
    """How far ONNX Runtime's probabilities are from PyTorch's."""

    images: int
    max_abs_difference: float
    argmax_mismatches: int

    @property
    def holds(self) -> bool:
        return self.max_abs_difference <= LARGEST_DIFFERENCE and self.argmax_mismatches == 0


def run_onnx(model: bytes, images: Tensor) -> NDArray[np.float32]:
    """Probabilities [N, classes] that ONNX Runtime computes, on one thread, for uint8 images [N, C, H, W]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: batch.numpy()})[0] for batch in batches(images)])


def run_torch(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    """Probabilities [N, classes] that PyTorch computes for uint8 images [N, C, H, W]."""
    return torch.softmax(logits(network, images), dim=1).numpy()


def compare(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Parity:
    """Compare two arrays of probabilities [N, classes]; a NaN on either side is an infinite difference."""
    difference = np.abs(expected.astype(np.float64) - found)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    return Parity(len(expected), largest, int((expected.argmax(1) != found.argmax(1)).sum()))
