"""The two sides of the proof that an ONNX file computes what its checkpoint computes, and how many images it takes."""

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from study.errors import StudyError, one_line
from study.evaluation import BATCH, batches, logits

WORK = {"torch": 20e9, "onnxruntime": 50e9}
"""Multiply-accumulates that an engine may spend on one proof: some two seconds of one thread of a server of 2024."""
LEAST = 256
"""Images that a proof is over, however large the network."""


def images_for(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """How many of the uint8 images [N, C, H, W] PyTorch and ONNX Runtime can compute within their `WORK`; else `LEAST`.

    It depends on the network and on N alone. The networks of the size of LeNet-5 get all 10,000.
    """
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(images[:1].float())
    macs = max(1, counter.get_total_flops() // 2)
    fit = {engine: min(len(images), max(LEAST, int(work // macs))) for engine, work in WORK.items()}
    return fit["torch"], fit["onnxruntime"]


def run_onnx(model: bytes, images: Tensor, batch: int = BATCH) -> NDArray[np.float32]:
    """Probabilities [N, classes] that ONNX Runtime computes, on one thread, for uint8 images [N, C, H, W].

    Args:
        batch: images a call.

    Raises:
        StudyError: it does not load the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds have nothing in common
        raise StudyError(f"ONNX Runtime {onnxruntime.__version__} does not load it ({one_line(error)})") from None
    (given,) = session.get_inputs()
    parts = torch.split(images, batch) if given.type == "tensor(uint8)" else batches(images, batch)
    return np.concatenate([session.run(None, {given.name: part.numpy()})[0] for part in parts])


def run_torch(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    """Probabilities [N, classes] that PyTorch computes for uint8 images [N, C, H, W]."""
    return torch.softmax(logits(network, images), dim=1).numpy()
