"""The two sides of the proof that an ONNX file computes what its checkpoint computes."""

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.evaluation import batches, logits


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
