"""Other forms of an ONNX file, as ONNX Runtime's tools write them: in float16, quantised, and optimised."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.transformers import float16

from study.errors import one_line
from tests.support.quantisers import Inputs, Samples, in_blocks, optimise

Write = Callable[[Path, Path, Sequence[Inputs]], None]
"""Write a form of the first file to the second; a static quantisation takes its ranges from the inputs."""


def half(source: Path, target: Path, pool: Sequence[Inputs]) -> None:
    onnx.save(float16.convert_float_to_float16(onnx.load(source)), target)


def dynamic(per_channel: bool) -> Write:
    def make(source: Path, target: Path, pool: Sequence[Inputs]) -> None:
        quantization.quantize_dynamic(source, target, per_channel=per_channel)

    return make


def static(form: quantization.QuantFormat) -> Write:
    def make(source: Path, target: Path, pool: Sequence[Inputs]) -> None:
        [opset] = [each.version for each in onnx.load(source).opset_import if each.domain in ("", "ai.onnx")]
        channels = opset >= 13  # DequantizeLinear has an axis since then
        quantization.quantize_static(source, target, Samples(pool), quant_format=form, per_channel=channels)

    return make


def blocks(form: quantization.QuantFormat, first: Write | None = None) -> Write:
    """Four bits in blocks of 32, of the file as it is or in its `first` form."""

    def make(source: Path, target: Path, pool: Sequence[Inputs]) -> None:
        if first is not None:
            first(source, target, pool)
        in_blocks(target if first is not None else source, target, form)

    return make


def optimised(level: str) -> Write:
    def make(source: Path, target: Path, pool: Sequence[Inputs]) -> None:
        optimise(source, target, level)

    return make


@dataclass(frozen=True)
class Form:
    """How a form is made of a file, and how far its weights may lie from the file's.

    `tolerance` is a share of the largest weight of a matrix; with `folded` each row may have a factor of its own, which
    the optimiser takes from a batch normalisation. Unless it `keeps` them, it writes convolutions as operators that are
    named and not read: of integers, or in a layout for one processor.
    """

    write: Write
    tolerance: float
    folded: bool = False
    keeps: bool = True

    def distance(self, weight: NDArray[Any], original: NDArray[Any], relative: bool) -> float:
        """How far `weight` lies from the original; where it is `relative`, it lacks one positive factor."""
        if relative:
            weight = weight * (np.abs(original).max(initial=0) / np.abs(weight).max(initial=0))
        if self.folded:
            weight, original = _scaled(weight), _scaled(original)
        largest = float(np.abs(original).max(initial=0)) or 1.0
        return float(np.abs(weight - original).max(initial=0)) / largest


def _scaled(weight: NDArray[Any]) -> NDArray[np.float64]:
    """Each row divided by its weight of the largest magnitude."""
    exact = weight.astype(np.float64)
    largest = np.take_along_axis(exact, np.abs(exact).argmax(axis=1, keepdims=True), axis=1)
    return exact / np.where(largest == 0, 1, largest)


QDQ, OPERATORS = quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator
FORMS: Mapping[str, Form] = {
    "float16": Form(half, 1e-3),
    "dynamic": Form(dynamic(False), 0.02, keeps=False),
    "dynamic-channels": Form(dynamic(True), 0.02, keeps=False),
    "static-qdq": Form(static(QDQ), 0.02),
    "static-operators": Form(static(OPERATORS), 0.02, keeps=False),
    "4bits": Form(blocks(OPERATORS), 0.2),
    "4bits-qdq": Form(blocks(QDQ), 0.2),
    "float16-4bits-qdq": Form(blocks(QDQ, half), 0.2),
    "basic": Form(optimised("BASIC"), 1e-5, folded=True),
    "extended": Form(optimised("EXTENDED"), 1e-5, folded=True),
    "all": Form(optimised("ALL"), 1e-5, folded=True, keeps=False),
}


def make(source: Path, pool: Sequence[Inputs]) -> Iterator[tuple[str, Path | str]]:
    """Each form with its file beside `source`, or the reason why ONNX Runtime cannot make it, or load what it made."""
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(4)
    for name, form in FORMS.items():
        target = source.with_name(f"{source.stem}.{name}.onnx")
        if not target.is_file():
            try:
                form.write(source, target, pool)
                onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
            except Exception as error:  # the tools raise exceptions of any type
                target.unlink(missing_ok=True)
                yield name, f"not made: {type(error).__name__}: {one_line(error, 100)}"
                continue
        yield name, target
