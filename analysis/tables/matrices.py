"""The tables of weights as pictures: filters of the first convolution, and fully-connected matrices in cells."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import numpy_helper

from analysis.inputs.modules import Module
from analysis.inputs.runs import Run
from analysis.inputs.study import Study
from analysis.tables.columns import Column, frame, plain
from analysis.tables.pictured import MODELS
from analysis.weights.quantisation import Scale

LAYERS = 4
"""Layers of a model, the first ones."""
CELLS = 40
"""Cells on a side of a matrix at most."""
LARGEST = 2**22
"""Weights of a layer at most: larger ones have no picture."""
FILTERS = 16
"""Filters of a model at most, with one or three channels."""

FILTER = (
    *plain("model", "seed"),
    Column("filter", "output channel of the first convolution, from 0"),
    Column("row"),
    Column("column"),
    Column("value", "weight; the mean of the input channels"),
)
MATRICES = (
    Column("model"),
    Column("seed", "of the first run; empty for a module", whole=True),
    Column("layer"),
    Column("out", "first output of the cell, from 0"),
    Column("in", "first input of the cell"),
    Column("rms", "root of the mean square of the weights in the cell, four digits"),
    Column("exact_zeros", "fraction of them that is exactly zero"),
)


def filters(study: Study) -> pd.DataFrame:
    """The filters of the first convolution of the first run of each model."""
    rows: list[dict[str, object]] = []
    for run in _firsts(study):
        if isinstance(run, Run) and (weight := first_convolution(run.files.onnx)) is not None:
            for (n, i, j), value in np.ndenumerate(weight[:FILTERS].mean(axis=1)):
                rows.append({"model": run.model, "seed": run.seed, "filter": n, "row": i, "column": j, "value": value})
    return frame(FILTER, rows)


def first_convolution(path: Path) -> NDArray[np.float32] | None:
    """The weight [out, in, height, width] of the first 2-D convolution with stored weights; None without one."""
    graph = onnx.load(path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) > 1 and node.input[1] in stored:
            weight = numpy_helper.to_array(stored[node.input[1]])
            return weight if weight.ndim == 4 and weight.dtype == np.float32 else None
    return None


def matrices(study: Study) -> pd.DataFrame:
    """The fully-connected layers of the first run of each model, as a grid of cells."""
    return frame(MATRICES, _matrices(study))


def _matrices(study: Study) -> Iterator[dict[str, object]]:
    for file in _firsts(study):
        known = [layer for layer in file.layers if layer.weight.scale is Scale.KNOWN]
        for layer in [layer for layer in known if 0 < layer.weight.size <= LARGEST][:LAYERS]:
            weight = layer.weight.load().astype(np.float64)
            starts = [_starts(size) for size in weight.shape]
            counts = _summed(np.ones(weight.shape), starts)
            rms = np.sqrt(_summed(np.square(weight), starts) / counts)
            zeros = _summed(weight == 0, starts) / counts
            for i, j in np.ndindex(rms.shape):
                place = {"model": file.model, "seed": getattr(file, "seed", None), "layer": layer.name}
                cell = {
                    "out": starts[0][i],
                    "in": starts[1][j],
                    "rms": _short(float(rms[i, j])),
                    "exact_zeros": _short(float(zeros[i, j])),
                }
                yield place | cell


def _short(value: float) -> float:
    """Four digits, which a picture can show; exactly 0 and 1 stay so, and nothing else becomes 1."""
    rounded = float(f"{value:.4g}")
    return value if rounded == 1 else rounded


def _firsts(study: Study) -> list[Run | Module]:
    """The first run or the module of each of the first models."""
    firsts = {file.model: file for file in reversed(study.files)}
    return [firsts[model] for model in study.models[:MODELS] if model in firsts]


def _starts(size: int) -> NDArray[np.int64]:
    cells = min(size, CELLS)
    return np.arange(cells) * size // cells


def _summed(values: NDArray[np.generic], starts: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """The sums over the cells that begin there."""
    rows = np.add.reduceat(values.astype(np.float64), starts[0], axis=0)
    return np.asarray(np.add.reduceat(rows, starts[1], axis=1))
