"""Runs that nobody trained: records, histories, predictions and small ONNX files, each as its stage writes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.artifacts import PREDICTIONS, Artifacts
from study.files import write_text
from tests.support.study import seal_tables, write_run

LAYERS = "48x64,10x48"
IMAGES = 10_000
"""Test images, as Fashion-MNIST has."""


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    models: int
    seeds: int
    epochs: int
    layers: Sequence[tuple[int, ...]]
    """Shape (out, in) of each fully-connected layer."""


def write_runs(artifacts: Artifacts, size: Size) -> list[str]:
    """Write the runs of all models, the weights of each model with a larger share of zeros; returns their names."""
    names = [f"model{number:03d}" for number in range(size.models)]
    for number, name in enumerate(names):
        for seed in range(size.seeds):
            random = np.random.default_rng((number, seed))
            weights = {}
            for i, shape in enumerate(size.layers, 1):
                values = random.uniform(-0.1, 0.1, shape).astype(np.float32)
                values[random.random(shape) < number / size.models] = 0
                weights[f"fc{i}"] = values
            error = (70 + number % 40 + int(random.integers(0, 9))) / 1000
            write_run(artifacts, name, seed, weights, test_error=error, epochs=size.epochs)
            files = artifacts.run(name, seed)
            write_text(files.predictions, predictions(round(error * IMAGES)))
            seal_tables(files.folder)
    return names


def predictions(wrong: int) -> str:
    """Predictions of ten classes in turns, so many of them wrong."""
    rows = (f"{n % 10},{(n + (n < wrong)) % 10}\n" for n in range(IMAGES))
    return f"{','.join(PREDICTIONS)}\n{''.join(rows)}"
