"""A network whose weights of smallest magnitude are set to zero in its ONNX model, run in ONNX Runtime.

Only what depends on a weight that may be cut is run for every cut. The rest, the convolutions of a LeNet and with them
nine tenths of its arithmetic, gives the same for each of them and is run once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.utils import Extractor

from study.errors import StudyError
from study.onnx_graph import has_subgraph

BATCH = 100
"""Images, whose activations in a LeNet stay in the cache."""


@dataclass(frozen=True)
class Images:
    """Images and their classes."""

    pixels: NDArray[np.float32]
    """[N, C, H, W], 0..1."""
    labels: NDArray[np.uint8]
    """[N]"""


class Batch(NamedTuple):
    """`BATCH` images or fewer, as far as the network has computed them: the values by name, and the classes."""

    values: dict[str, NDArray[Any]]
    labels: NDArray[np.uint8]


class Network:
    """An ONNX model with the initializers `tensors`, the weights that may be cut.

    It takes images and gives a number [N, classes] for each class.

    Raises:
        StudyError: the model has no initializer of a name in `tensors`, or one that is not finite.
    """

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str]) -> None:
        self.tensors = tensors
        self.weights = list(_weights(model, tensors))
        self._magnitudes = np.abs(np.concatenate([weight.ravel() for weight in self.weights]))
        self._ascending = np.argsort(self._magnitudes, kind="stable")
        self._input = model.graph.input[0].name
        model = onnx.shape_inference.infer_shapes(model)
        boundary = _boundary(model, tensors)
        outputs = [output.name for output in model.graph.output[:1]]
        self._convolutions = _part(model, [self._input], boundary) if boundary != [self._input] else None
        self._rest = _part(model, boundary, outputs)

    @property
    def size(self) -> int:
        """How many weights may be cut."""
        return len(self._magnitudes)

    def compute(self, images: Images) -> list[Batch]:
        """Run what does not depend on a weight that may be cut."""
        session = None if self._convolutions is None else _session(self._convolutions)
        batches = []
        for first in range(0, len(images.labels), BATCH):
            values = {self._input: images.pixels[first : first + BATCH]}
            if session:
                names = [output.name for output in session.get_outputs()]
                values = dict(zip(names, session.run(names, values), strict=True))
            batches.append(Batch(values, images.labels[first : first + BATCH]))
        return batches

    def cut(self, share: int) -> tuple[onnx.ModelProto, float]:
        """The part of the model that depends on the weights, with `share` per cent of them set to zero.

        These are the ones of smallest magnitude in all tensors together, rounded down to whole weights; among equal
        ones, those that come first.

        Returns:
            The part, and the largest magnitude that was cut (0 where nothing was).
        """
        smallest = self._ascending[: self.size * share // 100]
        kept = np.ones(self.size, bool)
        kept[smallest] = False
        part = onnx.ModelProto()
        part.CopyFrom(self._rest)
        stored = {tensor.name: tensor for tensor in part.graph.initializer}
        ends = accumulate(weight.size for weight in self.weights)
        for name, weight, end in zip(self.tensors, self.weights, ends, strict=True):
            mask = kept[end - weight.size : end].reshape(weight.shape)
            stored[name].CopyFrom(numpy_helper.from_array(np.where(mask, weight, weight.dtype.type(0)), name))
        return part, float(self._magnitudes[smallest[-1]]) if smallest.size else 0.0


def errors(part: onnx.ModelProto, batches: Sequence[Batch]) -> int:
    """How many images `part`, the result of `Network.cut`, misclassifies; on one thread of the processor."""
    session = _session(part)
    wrong = 0
    for values, labels in batches:
        (scores,) = session.run(None, values)
        wrong += int((scores.argmax(1) != labels).sum())
    return wrong


def _session(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _weights(model: onnx.ModelProto, tensors: Sequence[str]) -> Iterator[NDArray[Any]]:
    """The initializers `tensors` as they are stored."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in tensors:
        if name not in stored:
            raise StudyError(f"expected the weight {name!r} among the initializers, where exported files have it")
        weight = numpy_helper.to_array(stored[name])
        if not np.isfinite(weight).all():
            raise StudyError(f"expected finite weights, found others in {name!r}")
        yield weight


def _boundary(model: onnx.ModelProto, tensors: Sequence[str]) -> list[str]:
    """The values at which `model` is divided: what nodes that depend on `tensors` take from those that do not.

    The input, so that all of it is run for every cut, where shapes are unknown or nodes hold graphs of their own.
    """
    graph = model.graph
    (image, *_) = (value.name for value in graph.input)
    known = {image, *(value.name for value in graph.value_info)}
    stored, dependent = {tensor.name for tensor in graph.initializer}, set(tensors)
    taken: dict[str, None] = {}
    for node in graph.node:
        if not dependent.isdisjoint(node.input):
            taken.update(dict.fromkeys(name for name in node.input if name and name not in stored | dependent))
            dependent.update(node.output)
    divided = taken.keys() <= known - {image} and graph.output[0].name in dependent
    return list(taken) if divided and not any(map(has_subgraph, graph.node)) else [image]


def _part(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    return Extractor(model).extract_model(inputs, outputs)
