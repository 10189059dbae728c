"""Proof that a matrix read from a file is the one that its layer multiplies with: ONNX Runtime runs the model.

A matrix that is square looks the same whichever way it is turned, and a scale or zero point has no shape to check at
all. So the model runs in memory with the input x and the product y of each layer as outputs, and y = x W^T must hold
for random inputs. Bias, activation and requantisation are left out of the copy of the layer that this looks at (see
`analysis.weights.proof.probe`), the rest of the model computes what it always does.

The file may be from anywhere: the inputs made for it are bounded, and whatever ONNX Runtime says of it becomes a
reason. But to run it is to trust ONNX Runtime with it, with time and memory too: it is done only for who asks for it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from analysis.weights.layers import Layer
from analysis.weights.proof.probe import Probe, expose
from analysis.weights.proof.residual import Proof, Sample, enough, judge, sample
from study.errors import StudyError, one_line
from study.onnx_inputs import Input, Shapes, batch_sizes, generate, resolve, signature

Inputs = dict[str, NDArray[Any]]

MOST_FILE_BYTES = 2**31 - 1
MOST_INPUT_BYTES = 256 * 2**20
SIZES = ((4, 8), (1, 8), (1, 32), (1, 224))
"""Tried in turn until the model runs: the batch, and every other dimension that neither the file nor the user gives."""
VALUES = ((1, 0), (2, -1), (20, -10), (255, 0), (1 / 8, 0), (2000, -1000))
"""Floating-point inputs are a u + b, u uniform in 0..1, with a run for each (a, b)."""
RUNS = 2
"""All make so many; further ones are for layers that nothing but zeros have reached, or nothing at all."""
CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
"""What comes before the message in one of ONNX Runtime's."""


class _FailedError(Exception):
    """What ONNX Runtime said."""


def verify(path: Path, layers: Sequence[Layer], shapes: Shapes | None = None) -> list[Proof]:
    """A proof for each of the layers that were read from `path`, its inputs of the user's `shapes`.

    Raises:
        StudyError: `shapes` do not fit the model's inputs.
    """
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise StudyError("it has more than 2 GiB in one file, which can be run only as that file")
        inputs = signature(onnx.load(path, format="protobuf", load_external_data=False).graph, shapes or {})
    except Exception as error:  # it was read before, so what is wrong with it now is rare, and of any kind
        return _untried(layers, f"the model cannot be run: {one_line(error)}")
    resolve(inputs, shapes or {})
    model = _Model(path, inputs, shapes or {})
    try:
        return model.prove(layers)
    except _FailedError as failed:
        try:
            model.prove([])  # is it the model, or are it the outputs that were added?
        except _FailedError:
            return _untried(layers, f"ONNX Runtime cannot run the model: {failed}")
        return _apart(model, layers, failed)


def _untried(layers: Sequence[Layer], reason: str) -> list[Proof]:
    return [Proof(None, None, reason)] * len(layers)


def _apart(model: "_Model", layers: Sequence[Layer], failed: _FailedError) -> list[Proof]:
    """Halves, and halves of those that fail, until what fails is one layer."""
    if len(layers) == 1:
        return _untried(layers, f"ONNX Runtime cannot run the model with its values as outputs: {failed}")
    proofs = []
    for half in (layers[: len(layers) // 2], layers[len(layers) // 2 :]):
        try:
            proofs += model.prove(half)
        except _FailedError as error:
            proofs += _apart(model, half, error)
    return proofs


@dataclass(frozen=True)
class _Model:
    path: Path
    inputs: tuple[Input, ...]
    shapes: Shapes

    def prove(self, layers: Sequence[Layer]) -> list[Proof]:
        """
        Raises:
            _FailedError: ONNX Runtime does not run the model with the values of these layers as outputs.
        """
        probes, content = self._copy(layers)
        session = _session(content, self.path.parent)
        del content
        tried = {number: probe for number, probe in enumerate(probes) if not isinstance(probe, str)}
        samples: dict[int, list[Sample]] = {number: [] for number in tried}
        missing = tried
        for run, values in enumerate(self._runs(session, [name for p in tried.values() for name in (p.x, p.y)])):
            for number, probe in missing.items():
                samples[number] += sample(layers[number], probe, values[probe.x], values[probe.y])
            missing = {n: p for n, p in missing.items() if run + 1 < RUNS or not enough(layers[n], samples[n])}
            if not missing:
                break
        return [
            Proof(None, None, probe) if isinstance(probe, str) else judge(layer, samples[number])
            for number, (layer, probe) in enumerate(zip(layers, probes, strict=True))
        ]

    def _copy(self, layers: Sequence[Layer]) -> tuple[list[Probe | str], bytes]:
        """For each layer where it leaves the copy of the model, or why it does not; and the copy."""
        model = onnx.load(self.path, format="protobuf", load_external_data=False)
        probes: list[Probe | str] = []
        for number, layer in enumerate(layers):
            try:
                probes.append(expose(model, layer, number))
            except Exception as error:  # NotExposableError, or whatever a malformed node leads to
                probes.append(one_line(error))
        try:
            return probes, model.SerializeToString()
        except Exception as error:  # protobuf's own: it has become larger than 2 GiB
            raise _FailedError(one_line(error)) from None

    def _runs(self, session: Any, names: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """The values of these outputs, run by run, in the first shapes that the model runs with."""
        errors = []
        for shapes in self._sizes():
            for seed, (factor, offset) in enumerate(VALUES):
                try:
                    values = session.run(list(names), self._random(shapes, seed, factor, offset))
                except Exception as error:  # onnxruntime has one for each of its codes, without a common one
                    if seed == 0:
                        errors.append(CODE.sub("", one_line(error)))
                        break
                    continue
                yield dict(zip(names, values, strict=False))  # no names are all the model's outputs
            else:
                return
        given = all(isinstance(size, int) for shape in resolve(self.inputs, self.shapes, 1).values() for size in shape)
        raise _FailedError(errors[0] + ("" if given else "; its inputs' shapes were guessed: give them with --shape"))

    def _sizes(self) -> Iterator[dict[str, tuple[int, ...]]]:
        seen = []
        for batch, other in SIZES:
            resolved = resolve(self.inputs, self.shapes, batch).items()
            shapes = {name: tuple(n if isinstance(n, int) else other for n in shape) for name, shape in resolved}
            if shapes not in seen:
                seen.append(shapes)
                yield shapes

    def _random(self, shapes: Shapes, seed: int, factor: float, offset: float) -> Inputs:
        size = sum(value.dtype.itemsize * prod(shapes[value.name]) for value in self.inputs)
        if size > MOST_INPUT_BYTES:
            raise StudyError(f"its inputs take {size} bytes, more than {MOST_INPUT_BYTES}; give others with --shape")
        [inputs] = generate(self.inputs, shapes, batch_sizes(self.inputs, shapes, [1])[0], seed, 1)
        return {
            name: array if array.dtype.kind in "iub" else np.asarray(array * factor + offset, array.dtype)
            for name, array in inputs.items()
        }


def _session(content: bytes, folder: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise _FailedError("it is not installed here (pip install onnxruntime)") from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # what it logs of an error is in the exception too
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder.resolve()))
    try:
        return onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # which would print, and try the same again
        )
    except Exception as error:
        raise _FailedError(CODE.sub("", one_line(error))) from None
