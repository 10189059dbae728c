"""Both sides of the parity proof, PyTorch and ONNX Runtime on the same images, and the number of images it takes."""

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from study.errors import in_one_line
from study.evaluation import BATCH, batches, logits
from study.ort_values import session_on_one_thread

WORK = {"torch": 20e9, "onnxruntime": 50e9}
"""Multiply-accumulates of each engine for one proof: about two seconds on one thread of a server of 2024."""
LEAST = 256
"""Minimum number of images of a proof, however large the network."""


def images_for(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """How many of the uint8 images [N, C, H, W] PyTorch and ONNX Runtime compute within `WORK`, at least `LEAST`.

    It depends on the network and on N alone. Networks of the size of LeNet-5 get all 10,000.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:  # inference mode fails with parametrised weights
        network(next(batches(images[:1])))
    macs = max(1, counter.get_total_flops() // 2)
    fit = {engine: min(len(images), max(LEAST, int(work // macs))) for engine, work in WORK.items()}
    return fit["torch"], fit["onnxruntime"]


def run_onnx(model: bytes, images: Tensor, batch: int = BATCH) -> NDArray[np.float32]:
    """Probabilities [N, classes] of uint8 images [N, C, H, W] in ONNX Runtime, on one thread, `batch` images a call.

    Raises:
        StudyError: ONNX Runtime does not load or run the model.
    """
    with in_one_line(f"ONNX Runtime {onnxruntime.__version__} does not run it"):
        session = session_on_one_thread(model)
        (given,) = session.get_inputs()
        parts = torch.split(images, batch) if given.type == "tensor(uint8)" else batches(images, batch)
        return np.concatenate([session.run(None, {given.name: part.numpy()})[0] for part in parts])


def run_torch(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    """Probabilities [N, classes] of uint8 images [N, C, H, W] in PyTorch."""
    return torch.softmax(logits(network, images).float(), dim=1).numpy()
