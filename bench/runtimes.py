"""The engines whose latency is measured: each loads a trained model and shows it as one callable.

What is timed is the call alone, in the engine's native types: a torch tensor in and out for `torch`, numpy arrays for
`onnxruntime`. Both take images in 0..1 and give probabilities, so both do the normalisation and the softmax.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.artifacts import RunFiles
from study.catalogue import Entry
from study.errors import StudyError


@dataclass(frozen=True)
class Loaded:
    """A model in an engine, ready to be called."""

    call: Callable[[Any], Any]
    """One inference: a native batch of images to native probabilities [batch, classes]."""
    to_native: Callable[[NDArray[np.float32]], Any]
    """A C-contiguous batch float32 [batch, C, H, W] to what `call` takes; never timed."""
    to_numpy: Callable[[Any], NDArray[np.float32]]
    """What `call` returns to float32 [batch, classes]; never timed."""
    threads: int
    """Threads a single operator may use, as the engine itself tells."""
    context: AbstractContextManager[Any] = field(default_factory=nullcontext)
    """Entered once around all calls."""


def load_torch(entry: Entry, files: RunFiles, threads: int) -> Loaded:
    """The checkpoint in eager PyTorch, in evaluation and inference mode."""
    import torch

    from study import checkpoints

    torch.set_num_threads(threads)
    network = checkpoints.load(entry, files)
    if any(module.training for module in network.modules()):
        raise StudyError(f"{entry.network} does not go into evaluation mode: its latency would be that of training")

    def call(images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(network(images), dim=1)

    return Loaded(call, torch.from_numpy, lambda t: t.numpy(), torch.get_num_threads(), torch.inference_mode())


def load_onnxruntime(entry: Entry, files: RunFiles, threads: int) -> Loaded:
    """The ONNX file in ONNX Runtime's CPU provider, without idle threads that spin."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(files.onnx, options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())

    def call(images: NDArray[np.float32]) -> Any:
        return session.run(None, {name: images})

    used = session.get_session_options().intra_op_num_threads
    return Loaded(call, lambda images: images, lambda outputs: outputs[0], used)


RUNTIMES: dict[str, Callable[[Entry, RunFiles, int], Loaded]] = {
    "torch": load_torch,
    "onnxruntime": load_onnxruntime,
}
